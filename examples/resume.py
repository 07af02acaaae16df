"""A failed training run continues from its file, and ends with the same bits as without a failure.

A sparse network learns handwritten digits with a checkpoint after each epoch and early stopping:
training ends when the validation loss has not improved for ten epochs, and restores the parameters
of the best epoch. The first run has no failure. The second one fails in the middle of an epoch, and
its network in memory is discarded. Then `dagbp.load` reads the last checkpoint, and
``fit(resume=True)`` with the same arguments continues from there. The states of the optimizer, the
shuffle and early stopping come from the file.

Run it with `python examples/resume.py`, or quickly with `--fail-after 100 --epochs 5`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import dagbp
from dagbp.callbacks import Callback, EarlyStopping, ModelCheckpoint


class Fail(Callback):
    """Raise an error after some steps, like a power cut."""

    def __init__(self, n_steps):
        self.every = n_steps

    def on_step_end(self, progress):
        """Fail."""
        raise OSError(f"the power went after step {progress.n_updates}")


def new_network():
    """Return an untrained network."""
    return dagbp.compile(dagbp.layered([64, 100, 100, 10], density=0.2, seed=0), seed=0)


def train(net, data, epochs, path, *more, resume=False):
    """Train a network; all runs have the same arguments, except additional callbacks."""
    X, X_test, y, y_test = data
    stopping = EarlyStopping(patience=10)
    history = net.fit(
        X,
        y,
        loss="softmax_cross_entropy",
        epochs=epochs,
        batch_size=32,
        validation_data=(X_test, y_test),
        callbacks=[stopping, ModelCheckpoint(path), *more],
        resume=resume,
        seed=0,
    )
    return history, stopping.best_epoch


def main():
    """Train without and with a failure, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fail-after", type=int, default=1000, help="steps of the run that fails")
    parser.add_argument("--epochs", type=int, default=200, help="most epochs of a run")
    options = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X / 16, y, test_size=0.25, stratify=y, random_state=0)

    with tempfile.TemporaryDirectory() as folder:
        whole, path = new_network(), Path(folder, "digits.dagbp")
        history, best = train(whole, data, options.epochs, Path(folder, "whole.dagbp"))
        print(f"without a break: {len(history.loss)} epochs, ended as {history.stopped or 'asked'}")
        print(f"  best epoch {best}, validation loss {history.val_loss[best - 1]:.6f}")

        try:
            train(new_network(), data, options.epochs, path, Fail(options.fail_after))
        except dagbp.CallbackError as error:
            print(f"\nwith a break: {error}")
        net = dagbp.load(path)
        print(f"  {path.name} has {path.stat().st_size:,} bytes, {len(net.history.loss)} epochs")
        resumed, resumed_best = train(net, data, options.epochs, path, resume=True)

    print(f"  resumed: {len(resumed.loss)} epochs, ended as {resumed.stopped or 'asked'}")
    print(f"  best epoch {resumed_best}, validation loss {resumed.val_loss[resumed_best - 1]:.6f}")
    same_losses = resumed.loss == history.loss and resumed.val_loss == history.val_loss
    same_bits = np.array_equal(net.parameters, whole.parameters)
    print(f"\nsame losses in all epochs: {same_losses}; same bits in all parameters: {same_bits}")
    accuracy = np.mean(net.predict(data[1]).argmax(axis=1) == data[3])
    print(f"validation accuracy of the resumed network: {accuracy:.2%}")


if __name__ == "__main__":
    main()
