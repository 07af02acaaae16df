"""Callbacks: objects that `fit` calls between the steps and epochs of a training run.

A callback is a subclass of `Callback` that overrides some of its methods; `fit` calls them with a
`Progress`. Whole epochs run in compiled code with any callbacks, unless a callback overrides
`Callback.on_step_end`.

>>> import dagbp
>>> from dagbp.callbacks import CosineDecay, EarlyStopping, WarmUp
>>> net = dagbp.compile(dagbp.layered([2, 8, 1], seed=0), seed=0)
>>> X, Y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
>>> history = net.fit(
...     X, Y, epochs=500, seed=0, learning_rate=0.05,
...     callbacks=[WarmUp(5), CosineDecay(), EarlyStopping("loss", patience=20, min_delta=1e-3)],
... )
>>> history.stopped
'loss has not improved for 20 epochs'
"""

# May import `_history`, `_files` and the packages below them.
from dagbp.callbacks._base import Callback, Progress
from dagbp.callbacks._files import CSVLogger, JSONLogger, ModelCheckpoint
from dagbp.callbacks._schedules import (
    CosineDecay,
    ExponentialDecay,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmUp,
)
from dagbp.callbacks._stopping import EarlyStopping, TerminateOnNaN, TimeLimit

__all__ = [
    "CSVLogger",
    "Callback",
    "CosineDecay",
    "EarlyStopping",
    "ExponentialDecay",
    "JSONLogger",
    "ModelCheckpoint",
    "OneCycle",
    "Progress",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "TerminateOnNaN",
    "TimeLimit",
    "WarmUp",
]
