"""Hooks around `fork`: their order, and forks while other threads import modules."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from dagbp import _locks
from dagbp._locks import RobustLock, Stage, at_fork

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def exit_code(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_hooks_run_by_stage_in_any_order_of_adding(monkeypatch):
    seen = []
    monkeypatch.setattr(_locks, "_hooks", {})
    for stage in (Stage.COMPILER, Stage.WORKERS, Stage.ENGINES):
        at_fork(
            stage,
            before=lambda stage=stage: seen.append(stage),
            after_in_parent=lambda stage=stage: seen.append(-stage),
            after_in_child=lambda stage=stage: seen.append(-stage),
        )
    child = os.fork()
    stages = [Stage.ENGINES, Stage.COMPILER, Stage.WORKERS]
    right = seen == stages + [-stage for stage in reversed(stages)]
    if child == 0:
        os._exit(0 if right else 1)
    assert exit_code(child) == 0
    assert right


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_hook_that_fails_leaves_the_other_stages(monkeypatch):
    seen = []
    monkeypatch.setattr(_locks, "_hooks", {})
    at_fork(Stage.ENGINES, before=lambda: 1 / 0)
    at_fork(Stage.COMPILER, before=lambda: seen.append("compiler"))
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert exit_code(child) == 0
    assert seen == ["compiler"]


def test_a_child_gets_a_new_lock():
    lock, acquired, go_on = RobustLock(), threading.Event(), threading.Event()

    def hold():
        with lock:
            acquired.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    acquired.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if lock.holder is None else 1)
    go_on.set()
    thread.join()
    assert exit_code(child) == 0


SLOW = """
import threading, {name}_started
{name}_started.begun.set()
{name}_started.go_on.wait({seconds})
value = 1
"""


@pytest.fixture
def slow_import(tmp_path, monkeypatch):
    """Start a thread that imports a module for some seconds; return its name and a stopper."""
    threads = []
    monkeypatch.syspath_prepend(tmp_path)

    def start(name, seconds):
        (tmp_path / f"{name}_started.py").write_text(
            "import threading\nbegun, go_on = threading.Event(), threading.Event()\n"
        )
        (tmp_path / f"{name}.py").write_text(SLOW.format(name=name, seconds=seconds))
        started = __import__(f"{name}_started")
        threads.append((threading.Thread(target=__import__, args=[name]), started))
        threads[-1][0].start()
        started.begun.wait()

    yield start
    for thread, started in threads:
        started.go_on.set()
        thread.join()


def test_a_fork_waits_for_the_imports_of_other_threads(slow_import):
    slow_import("slow_to_import", 0.3)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(__import__("slow_to_import").value - 1)
    assert exit_code(child) == 0


def test_a_fork_waits_once_for_an_import_that_does_not_end(slow_import, monkeypatch):
    monkeypatch.setattr(_locks, "_given_up", set())
    slow_import("never_imported", 60)
    for least, most in ((0.2, 30), (0, 0.2)):
        begun = time.monotonic()
        _locks._wait_for_imports(0.2)
        assert least <= time.monotonic() - begun <= most


def test_a_thread_does_not_wait_for_its_own_imports(tmp_path, monkeypatch):
    (tmp_path / "forks_when_imported.py").write_text(
        "from dagbp import _locks\nothers = _locks._imports_of_others()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert __import__("forks_when_imported").others == set()


FIRST_USE = """
import os, sys, threading, time
import numpy as np
import dagbp

def fit():
    net = dagbp.compile(dagbp.layered([3, 4, 2], seed=0), seed=0, n_threads=1)
    net.fit(np.ones((9, 3)), np.ones((9, 2)), epochs=1, verbose=0)

thread = threading.Thread(target=fit)
thread.start()
time.sleep(float(sys.argv[1]))
child = os.fork()
fit()
if child == 0:
    os._exit(0)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def fork_after(delay, seconds, **environment):
    """Fork `delay` seconds after another thread's first use of the package."""
    command = [sys.executable, "-W", "ignore", "-c", FIRST_USE, str(delay)]
    process = subprocess.Popen(command, start_new_session=True, env={**os.environ, **environment})
    try:
        assert process.wait(timeout=seconds) == 0
    finally:  # the child, too
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize("delay", [0.005, 0.01, 0.02, 0.04, 0.1])
def test_a_fork_while_another_thread_uses_the_package_first(delay):
    """The thread imports modules and loads compiled code, and a child that inherits a lock hangs.

    Without the wait for imports, each of the children at 5 to 40 ms did.
    """
    fork_after(delay, 60)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.02, 0.3, 1.0, 2.0, 4.0])
def test_a_fork_while_another_thread_compiles(delay, tmp_path):
    fork_after(delay, 120, NUMBA_CACHE_DIR=str(tmp_path))
