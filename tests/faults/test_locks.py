"""The lock that is free when the function that acquired it has ended."""

import sys
import threading

import pytest

from dagbp._locks import RobustLock


def in_thread(function):
    """Return the result of `function` in another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    return found[0]


def test_one_thread_at_a_time():
    lock, inside, most = RobustLock(), [0], [0]

    def enter():
        for _ in range(2000):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                if inside[0] > 1:
                    return
                inside[0] -= 1

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=enter) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert most == [1]
    assert lock.holder is None
    assert not lock.waiting


def test_a_function_that_ends_frees_the_lock():
    lock = RobustLock()

    def interrupted():
        lock.acquire(sys._getframe())  # an interrupt before __exit__ leaves it so
        assert in_thread(lambda: lock.acquire(sys._getframe(), seconds=0.01)) is None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert in_thread(lambda: lock.acquire(sys._getframe(), seconds=5)) is not None


def test_a_thread_that_ends_frees_the_lock():
    lock = RobustLock()
    frames = []

    def acquire():
        frames.append(sys._getframe())
        return lock.acquire(frames[0])

    assert in_thread(acquire) is not None
    assert lock.acquire(sys._getframe(), seconds=5) is not None


def test_an_inner_function_of_the_same_thread_passes():
    lock = RobustLock()

    def inner():
        with lock as claim:
            assert claim is None

    with lock as claim:
        inner()
        assert lock.holder is claim
    assert lock.holder is None


def test_waiting():
    lock, done = RobustLock(), []

    def wait():
        with lock:
            done.append(1)

    with lock:
        thread = threading.Thread(target=wait)
        thread.start()
        while not lock.waiting:
            pass
        assert not done
    thread.join(10)
    assert done
    assert not lock.waiting


def test_a_long_chain_of_claims_is_freed():
    lock = RobustLock()
    first = lock._last
    for _ in range(200_000):
        with lock:
            pass
    del first  # the claims are freed one after the other, without recursion
    assert lock.holder is None
