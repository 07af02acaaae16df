"""One caller at a time: a network's engine, and who may use it meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread, get_ident

from dagbp._engine import Engine
from dagbp._errors import OptionError
from dagbp._forking import ForkSafeLock


class Turn(ForkSafeLock):
    """Gives the engine to one caller at a time: its buffers and parameters are shared.

    Other threads wait. The thread that has it may not come again, as a signal handler would, unless
    it is lent in the midst of a run.

    Attributes
    ----------
    training : bool
        Whether a run is under way.
    fetcher : Thread or None
        The last one that fetched batches.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine, self.training = engine, False
        self.fetcher: Thread | None = None
        self._denied: set[int] = set()

    def __enter__(self) -> Engine:
        if self._denied and get_ident() in self._denied:
            raise OptionError("what makes batches must not use the network that they train")
        self._lock.acquire()
        if self.busy:
            self._lock.release()
            raise OptionError(
                "the network is at work in this thread already; a signal handler must not use "
                "it, but can set a flag for later"
            )
        self.busy = True
        return self._engine

    def __exit__(self, *error: object) -> None:
        self.busy = False
        self._lock.release()

    @contextmanager
    def for_a_run(self) -> Iterator[Engine]:
        """Give the engine to a training run; its callbacks must not begin another."""
        with self as engine:
            if self.training:
                raise OptionError("a callback must not train the network that calls it")
            self.training = True
            try:
                yield engine
            finally:
                self.training = False

    @contextmanager
    def denied(self) -> Iterator[None]:
        """Refuse this thread, for which a run waits, the engine."""
        thread = get_ident()
        self._denied.add(thread)
        try:
            yield
        finally:
            self._denied.discard(thread)

    def renew(self) -> None:
        """Forget the runs of the process that this one was forked from."""
        super().renew()
        self.training, self._denied, self.fetcher = False, set(), None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let the callbacks of a run use the engine, in the thread that has it."""
        self.busy = False
        try:
            yield
        finally:
            self.busy = True
