"""What dagbp is measured against: what a peer is, which there are, and whether one is right.

A peer is a class in a module here, with

- ``name``, what tables call it, and ``package``, what must be installed (None: NumPy and SciPy);
- ``__init__(case, parameters, threads)``: a `networks.Case`; flat float32 parameters, weights in
  the order of the case's edges, then the computed nodes' biases, ascending;
- ``set_batch(X, Y)``: what the steps train on;
- ``step()``: one training step, done when it returns: forward, squared error (summed over outputs,
  averaged over samples, no ½), backward, the gradient of every weight and bias, and plain SGD at
  `LEARNING_RATE`;
- ``gradient()``: that gradient, flat, in the order of the parameters;
- ``raw_gradient()``: that gradient, left in whatever layout the peer has it;
- ``predict(X)``: the outputs.

It may have ``steps(count)`` where several steps in one call are what its users do;
``activation = "sigmoid"`` where it has nothing else; ``forward_only = True`` where ``predict`` is
all that it has; and ``exact = False`` where its arithmetic is less than float32, so that its
gradients are told and not required.

A module that does not import, for want of its package, leaves its peers out, which is told.
"""

import importlib
import time
import warnings

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

# Updates are computed, and parameters stay. A small rate does not do: 1e-9 moves last bits, by
# which a signal may pass a kink, and 1e-15 leaves in the absent weights of dense layers what
# becomes subnormal in products: at 1 % PyTorch's step then takes an Intel three times as long.
LEARNING_RATE = 0.0
TOLERANCE = 2e-5  # of the largest entry of the gradient
MANY, RARE = 10_000_000, 100

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


def load(places, only=()):
    """Return the classes at these places by name, and why others are left out, by place.

    Parameters
    ----------
    places : sequence of str
        "module.Class" each, such as `LAYERS`.
    only : sequence of str
        If any: only places that contain one of these, in lower case.
    """
    found, left_out = {}, {}
    for place in places:
        if only and not any(part in place.lower() for part in only):
            continue
        module, name = place.split(".")
        try:
            peer = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        except ImportError as error:
            left_out[place] = str(error)
            print(f"left out: {place} ({error})")
        else:
            found[peer.name] = peer
    return found, left_out


def difference(gradient, reference):
    """Return the largest difference as a share of the largest entry.

    Of very many entries the one in `RARE` that are off most are left out: among millions of ReLUs
    some stand so near their kink that a rounding decides whether they pass anything back, for the
    best peer as for the worst.
    """
    gaps = np.abs(gradient - reference)
    if len(gaps) >= MANY:
        last = len(gaps) - 1 - len(gaps) // RARE
        gaps = np.partition(gaps, last)[: last + 1]
    return float(gaps.max() / np.abs(reference).max())


def check(peer, reference_gradient):
    """Return how far a peer's gradient is off; raise `WrongGradientError` if that is too far."""
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
    """Return how many steps, taken in one call, last so long, warm."""
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
    """A peer's gradients are not those of the problem: it is shown, never timed."""
