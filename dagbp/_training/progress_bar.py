"""The progress bar of a run, drawn by tqdm on a terminal."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


class ProgressBar:
    """A bar that appears after a second, on a terminal only.

    Elsewhere no tqdm object is made: an interrupt could leave its locks behind. `total` is the
    number of steps of the run; None if it is not known.
    """

    def __init__(self, total: int | None, shown: bool) -> None:
        self._total = total
        self._shown = shown and sys.stderr is not None and sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "ProgressBar":
        if self._shown:
            from tqdm import tqdm

            self._bar = tqdm(total=self._total, unit="step", delay=1.0, leave=False)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(*exception)

    def show(self, updates: int, epoch: int, loss: float) -> None:
        """Move the bar to so many steps."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"epoch {epoch:,}, loss {loss:.4g}", refresh=False)
            self._bar.update(updates - self._bar.n)
