"""Libraries that dagbp is compared with: the interface of a peer, the list, and the check.

A peer is a class in a module of this folder, with

- ``name``, its name in tables, and ``package``, the package it needs (None: NumPy and SciPy);
- ``__init__(case, parameters, threads)``: a `networks.Case`; flat float32 parameters: weights in
  the order of the case's edges, then biases of the computed nodes, ascending;
- ``set_batch(X, Y)``: the batch of all steps;
- ``step()``: one training step, finished on return: forward, squared error (summed over outputs,
  averaged over samples, without ½), backward, the gradient of every weight and bias, and plain SGD
  at `LEARNING_RATE`;
- ``gradient()``: that gradient, flat, in the order of the parameters;
- ``raw_gradient()``: that gradient in the peer's own layout;
- ``predict(X)``: the outputs.

It may have ``steps(count)`` if its users take several steps in one call; ``activation = "sigmoid"``
if it has no other; ``forward_only = True`` if it has ``predict`` alone; and ``exact = False`` if it
computes in less than float32: its gradients are then reported and not checked.

A peer with a missing package is left out, and a line says so.
"""

import importlib
import time

import numpy as np

LAYERS = (
    "dagbp_.Dagbp",
    "dagbp_.DagbpDense",
    "torch_layers.TorchDense",
    "torch_layers.TorchBfloat16",
    "torch_layers.TorchMasked",
    "torch_layers.TorchCSR",
    "torch_expert.TorchExpert",
    "sparselab_.TorchComposite",
    "sparselab_.SparseLab",
    "jax_layers.JaxDense",
    "jax_layers.JaxBCOO",
    "scipy_layers.ScipyLayers",
)
DAGS = (
    "dagbp_.Dagbp",
    "torch_levels.TorchExpertLevels",
    "torch_levels.TorchEagerLevels",
    "jax_levels.JaxUnrolledLevels",
    "jax_levels.JaxScanLevels",
    "scipy_levels.ScipyLevels",
    "numpy_nodes.NumpyNodes",
    "connex_.Connex",
    "neat_.NeatPython",
    "ffnet_.Ffnet",
)

# Updates are computed, and parameters keep their values. A small rate is no substitute: 1e-9
# changes last bits, which can move a signal across a kink of relu; 1e-15 leaves tiny numbers in the
# absent weights of dense layers, and their products are subnormal: at 1 % density PyTorch's step
# then takes three times as long on an Intel.
LEARNING_RATE = 0.0
TOLERANCE = 2e-5  # of the largest entry of the gradient
MANY, RARE = 10_000_000, 100


def find(place):
    """Return the class at "module.Class"; raise ImportError if a package is missing."""
    module, name = place.split(".")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def load(places, only=()):
    """Return the classes at these places by name, and the reasons of missing ones by place.

    Parameters
    ----------
    places : sequence of str
        "module.Class" each, such as `LAYERS`.
    only : sequence of str
        If not empty: only places that contain one of these, in lower case.
    """
    found, left_out = {}, {}
    for place in places:
        if only and not any(part in place.lower() for part in only):
            continue
        try:
            peer = find(place)
        except ImportError as error:
            left_out[place] = str(error)
            print(f"left out: {place} ({error})")
        else:
            found[peer.name] = peer
    return found, left_out


def difference(gradient, reference):
    """Return the largest difference as a share of the largest entry.

    From `MANY` entries on, the largest differences are left out, one entry in `RARE`: among
    millions of ReLUs some signals lie so near the kink that a rounding decides on their derivative,
    in every library.
    """
    gaps = np.abs(gradient - reference)
    if len(gaps) >= MANY:
        last = len(gaps) - 1 - len(gaps) // RARE
        gaps = np.partition(gaps, last)[: last + 1]
    return float(gaps.max() / np.abs(reference).max())


def check(peer, reference_gradient):
    """Return the difference of a peer's gradient; raise `WrongGradientError` if too large."""
    gap = difference(peer.gradient(), reference_gradient)
    if getattr(peer, "exact", True) and not gap < TOLERANCE:
        raise WrongGradientError(f"wrong gradients: {gap:.2g} of the largest")
    return gap


def take_steps(peer, count):
    """Take so many training steps."""
    if hasattr(peer, "steps"):
        peer.steps(count)
    else:
        for _ in range(count):
            peer.step()


def steps_lasting(peer, seconds):
    """Return the number of steps for which one call, warm, takes at least so long."""
    take_steps(peer, 1)
    count = 1
    while True:
        start = time.perf_counter()
        take_steps(peer, count)
        took = time.perf_counter() - start
        if took >= seconds:
            return count
        count = max(count + 1, min(10 * count, int(1.2 * count * seconds / took)))


class WrongGradientError(Exception):
    """A peer's gradient differs from the reference. Such a peer is shown, never timed."""
