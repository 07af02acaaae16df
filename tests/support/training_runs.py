"""Training runs to interrupt, save and resume."""

from functools import partial

import numpy as np
from networks import CASE
from networks import network as compiled
from strategies import random_samples

from dagbp import Penalty
from dagbp.callbacks import (
    Callback,
    CosineDecay,
    EarlyStopping,
    ModelCheckpoint,
    ReduceOnPlateau,
    WarmUp,
)
from dagbp.optimizers import SGD

network = partial(compiled, CASE)
X, Y = random_samples(0, CASE, 23)
V = random_samples(1, CASE, 9)
SGD_OPTIONS = {
    "optimizer": SGD(learning_rate=0.02),
    "batch_size": 5,
    "shuffle": False,
    "verbose": 0,
}
STEPS = 5  # of an epoch


class Break(Callback):
    """Interrupts after a step, as Ctrl-C would."""

    def __init__(self, at):
        self.every = at

    def on_step_end(self, progress):
        raise KeyboardInterrupt


def hooks(path=None, every=1):
    """Return callbacks with a state of every kind."""
    some = [
        WarmUp(1.5),
        CosineDecay(9),
        ReduceOnPlateau(patience=1, rate=0.5),
        EarlyStopping(patience=4),
    ]
    if path is None:
        return some
    return [ModelCheckpoint(path, every_epochs=None, every_steps=every), *some]


OPTIONS = {
    "epochs": 6,
    "batch_size": 5,
    "seed": 3,
    "verbose": 0,
    "dropout": 0.2,
    "input_dropout": 0.1,
    "penalties": [Penalty(l1=1e-4, l2=1e-3)],
    "max_norm": 3.0,
    "validation_data": V,
}


def assert_same_run(one, other, histories):
    """Assert that two networks and their two histories are equal."""
    assert np.array_equal(one.parameters, other.parameters)
    for name in ("loss", "val_loss", "n_updates", "stopped"):
        assert getattr(histories[0], name) == getattr(histories[1], name), name


class Recorder(Callback):
    """Records every call."""

    def __init__(self, every=1):
        self.every = every
        self.calls = []

    def note(self, name, progress):
        self.calls.append((name, progress.epoch, progress.step, progress.n_updates))

    def on_train_begin(self, progress):
        self.note("begin", progress)

    def on_step_end(self, progress):
        self.note("step", progress)

    def on_epoch_end(self, progress):
        self.note("epoch", progress)

    def on_train_end(self, progress):
        self.note("end", progress)


def monitored(values):
    """Return a monitor that returns these values, one after the other."""
    values = iter(values)
    return lambda progress: next(values)
