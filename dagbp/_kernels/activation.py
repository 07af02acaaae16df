"""The built-in activations as formulas of vectors: x = theta(s), and theta'(s) by s and x."""

from dagbp._jit import EXACT, jit
from dagbp._kernels import math
from dagbp._kernels.vector import select


@jit(fastmath=EXACT)
def identity(s):
    """theta(s) = s."""
    return s


@jit(fastmath=EXACT)
def identity_slope(s, x):
    """theta'(s) = 1."""
    return select(s == s, 1, s)


@jit(fastmath=EXACT)
def relu(s):
    """theta(s) = max(s, 0)."""
    return select(s < 0, 0, s)


@jit(fastmath=EXACT)
def relu_slope(s, x):
    """theta'(s) = 1 where s > 0, else 0."""
    return select(s > 0, 1, select(s == s, 0, s))


@jit(fastmath=EXACT)
def tanh(s):
    """theta(s) = tanh(s)."""
    return math.tanh(s)


@jit(fastmath=EXACT)
def tanh_slope(s, x):
    """theta'(s) = 1 - x^2 = (1 - x) (1 + x)."""
    return (1 - x) * (1 + x)


@jit(fastmath=EXACT)
def sigmoid(s):
    """theta(s) = 1 / (1 + e^-s)."""
    return math.sigmoid(s)


@jit(fastmath=EXACT)
def sigmoid_slope(s, x):
    """theta'(s) = x (1 - x)."""
    return x * (1 - x)
