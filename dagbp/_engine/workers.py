"""A pool of threads for kernels that run without the GIL.

A call takes as many idle workers as it needs and makes new ones if there are too few. So calls from
several Python threads never wait for each other's workers. This matters because kernels wait at
barriers: a worker that waited in a queue would block its team forever.
"""

import os
from _thread import allocate_lock
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from dagbp._locks import Stage, at_fork

Call = Callable[[], object]

PERIOD = 0.1  # seconds between two calls of `watch`


class _Job:
    """One call for a worker, which runs it once, however often it is started.

    A plain lock signals the end. A `threading.Event` would not do: an interrupt inside its Python
    code can leave the event's own lock acquired, and the worker would wait for it forever.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._begun = self._ended = False
        self._running = allocate_lock()
        self._running.acquire()
        self._error: BaseException | None = None

    def run(self) -> None:
        if self._begun:
            return
        self._begun = True
        try:
            self._call()
        except BaseException as error:  # raised in the thread that waits
            self._error = error
        self._ended = True
        self._running.release()

    def wait(self, seconds: float) -> bool:
        """Return whether the call has ended; raise what it raised."""
        if not self._ended:
            self._running.acquire(timeout=seconds)  # succeeds once, when the call has ended
        if not self._ended:
            return False
        if self._error is not None:
            raise self._error
        return True

    @property
    def failed(self) -> bool:
        """Whether the call has raised."""
        return self._error is not None

    def outlast(self) -> None:
        """Wait for the end of the call and ignore its exception."""
        while not self._ended:
            self._running.acquire(timeout=1.0)


class _Worker:
    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        Thread(target=self._work, name="dagbp", daemon=True).start()

    def _work(self) -> None:
        while True:
            self._jobs.get().run()

    def start(self, job: _Job) -> None:
        self._jobs.put(job)


_idle: list[_Worker] = []
at_fork(Stage.WORKERS, after_in_child=_idle.clear)  # a child has none of its parent's threads


def _take() -> _Worker:
    try:
        return _idle.pop()
    except IndexError:
        return _Worker()


def run_together(
    calls: Sequence[Call],
    stop: Callable[[bool], object] = lambda failed: None,
    watch: Call | None = None,
) -> None:
    """Run all calls at once, each on a thread of its own, and return when all have ended.

    An exception in a call, or in this thread (an interrupt, for example), calls `stop(failed)`,
    where `failed` says that a call raised it. Then all calls are waited for, as they share buffers,
    and the exception is raised. `watch` is called every `PERIOD` seconds.
    """
    workers: list[_Worker] = []
    jobs = [_Job(call) for call in calls]
    try:
        for _ in calls:
            workers.append(_take())
        for worker, job in zip(workers, jobs, strict=True):
            worker.start(job)
        waiting = list(jobs)
        while waiting:
            waiting[0].wait(PERIOD)
            waiting = [job for job in waiting if not job.wait(0)]  # raises an exception of a call
            if watch is not None:
                watch()
    except BaseException:
        _end(workers, jobs, stop)
        raise
    finally:
        _idle.extend(workers)


def _end(workers: Sequence[_Worker], jobs: Sequence[_Job], stop: Callable[[bool], object]) -> None:
    """Stop all jobs and wait for their end, whatever is raised meanwhile."""
    if len(workers) < len(jobs):
        return  # a thread could not be started, so no call has begun
    while True:
        try:
            stop(any(job.failed for job in jobs))
            # An interrupt may have come between two starts. Calls that run then wait at a barrier
            # for calls that have not begun.
            for worker, job in zip(workers, jobs, strict=True):
                worker.start(job)
            for job in jobs:
                job.outlast()
            return
        except BaseException:  # another interrupt, or a signal handler of the user
            continue


def available_cores() -> int:
    """Return the number of cores that the affinity and the container's quota allow."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max"
        return cores
