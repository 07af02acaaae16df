"""The options of a training run, checked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dagbp._checks import check_whole, is_whole
from dagbp._errors import OptionError
from dagbp._history import MAX_EPOCHS
from dagbp._training.regularisation import Regularisation
from dagbp.callbacks import Callback
from dagbp.losses import Loss


@dataclass(frozen=True)
class Options:
    """The options that optimizers and solvers share, as `Network.fit` describes them."""

    epochs: int
    loss: Loss
    regularisation: Regularisation
    callbacks: Sequence[Callback] = ()
    resume: bool | str = False
    verbose: int = 0

    def __post_init__(self) -> None:
        """Check the options that are not checked elsewhere."""
        check_whole("epochs", self.epochs, 0, MAX_EPOCHS)
        if not (is_whole(self.verbose) or isinstance(self.verbose, (bool, np.bool_))):
            raise OptionError(f"verbose must be a whole number, got {self.verbose!r}")
        if not isinstance(self.callbacks, (list, tuple)):
            raise OptionError(f"callbacks must be a list of callbacks, got {self.callbacks!r}")
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise OptionError(
                    f"callbacks must be of dagbp.callbacks.Callback, got {callback!r} in the list"
                )
            if callback.every is not None:
                check_whole(f"{type(callback).__name__}.every", callback.every, 1)
        if not (isinstance(self.resume, (bool, np.bool_)) or self.resume == "optimizer"):
            raise OptionError(f"resume must be True, False or 'optimizer', got {self.resume!r}")
