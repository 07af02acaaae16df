"""The built-in activations, as formulas of vectors: x = theta(s), and `*_slope`: theta'(s).

A slope reads x alone where that will do, so that kernels need not keep s. It has an error of some
ulp of the largest slope: back-propagation multiplies and adds it, and has no use for more digits
of its small values. At a kink it is the smaller of the two. NaN gives NaN, infinities give limits,
in all of them.
"""

from dagbp._kernels.formulas import math
from dagbp._kernels.vectors.arithmetic import (
    fabs,
    fma,
    inlined,
    select,
)

LEAK = 0.01
# Klambauer et al. (2017), "Self-normalizing neural networks".
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@inlined
def _step(inside, slope, x):
    """Return `slope` where the mask `inside` is true, else 0; NaN where x is."""
    return select(inside, slope, select(x == x, 0, x))


@inlined
def identity(s):
    """theta(s) = s."""
    return s


@inlined
def identity_slope(s, x):
    """theta'(s) = 1."""
    return _step(x == x, 1, x)


@inlined
def relu(s):
    """theta(s) = max(s, 0)."""
    return select(s < 0, 0, s)


@inlined
def relu_slope(s, x):
    """theta'(s) = 1 where s > 0, as x is, else 0."""
    return _step(x > 0, 1, x)


@inlined
def leaky_relu(s):
    """theta(s) = s where s > 0, else s / 100."""
    return select(s > 0, s, LEAK * s)


@inlined
def leaky_relu_slope(s, x):
    """theta'(s) = 1 where s > 0, as x is, else 1 / 100."""
    return select(x > 0, 1, select(x == x, LEAK, x))


@inlined
def elu(s):
    """theta(s) = s where s > 0, else e^s - 1."""
    return select(s > 0, s, math.expm1(s))


@inlined
def elu_slope(s, x):
    """theta'(s) = 1 where s > 0, as x is, else e^s = x + 1."""
    return select(x > 0, 1, x + 1)


@inlined
def selu(s):
    """theta(s) = SCALE s where s > 0, else SCALE ALPHA (e^s - 1)."""
    return SELU_SCALE * select(s > 0, s, SELU_ALPHA * math.expm1(s))


@inlined
def selu_slope(s, x):
    """theta'(s) = SCALE where s > 0, as x is, else SCALE ALPHA e^s = x + SCALE ALPHA."""
    return select(x > 0, SELU_SCALE, x + SELU_SCALE * SELU_ALPHA)


@inlined
def sigmoid(s):
    """theta(s) = 1 / (1 + e^-s)."""
    return math.sigmoid(s)


@inlined
def sigmoid_slope(s, x):
    """theta'(s) = x (1 - x)."""
    return x * (1 - x)


@inlined
def tanh(s):
    """theta(s) = tanh(s)."""
    return math.tanh(s)


@inlined
def tanh_slope(s, x):
    """theta'(s) = 1 - x^2 = (1 - x) (1 + x)."""
    return (1 - x) * (1 + x)


@inlined
def softplus(s):
    """theta(s) = log(1 + e^s)."""
    return math.softplus(s)


@inlined
def softplus_slope(s, x):
    """theta'(s) = 1 / (1 + e^-s) = 1 - e^-x."""
    return -math.expm1(-x)


@inlined
def softsign(s):
    """theta(s) = s / (1 + |s|)."""
    s = select(s > 1e30, 1e30, select(s < -1e30, -1e30, s))  # 1 from there on, -1 to there
    return s / (1 + fabs(s))


@inlined
def softsign_slope(s, x):
    """theta'(s) = 1 / (1 + |s|)^2 = (1 - |x|)^2."""
    q = 1 - fabs(x)
    return q * q


@inlined
def gelu(s):
    """theta(s) = s P(Z < s), Z standard normal."""
    p, _ = math.normal(s)
    return select(s < -40, -40, s) * p


@inlined
def gelu_slope(s, x):
    """theta'(s) = P(Z < s) + s p(s), p the density of Z."""
    p, density = math.normal(s)
    return fma(select(fabs(s) > 40, 40, s), density, p)


@inlined
def silu(s):
    """theta(s) = s / (1 + e^-s)."""
    return select(s < -800, -800, s) * math.sigmoid(s)


@inlined
def silu_slope(s, x):
    """theta'(s) = p + s p q, p = 1 / (1 + e^-s), q = 1 - p."""
    p, q = math.sigmoids(s)
    return fma(select(fabs(s) > 800, 800, s), p * q, p)


@inlined
def sin(s):
    """theta(s) = sin(s)."""
    return math.sin(s)


@inlined
def sin_slope(s, x):
    """theta'(s) = cos(s)."""
    return math.cos(s)


@inlined
def gaussian(s):
    """theta(s) = e^(-s^2)."""
    return math.gaussian(s, 1)


@inlined
def gaussian_slope(s, x):
    """theta'(s) = -2 s x."""
    return -2 * select(fabs(s) > 40, 40, s) * x


@inlined
def hard_sigmoid(s):
    """theta(s) = s/6 + 1/2 = (s + 3)/6, clipped to [0, 1]."""
    x = (s + 3) * (1 / 6)
    return select(x < 0, 0, select(x > 1, 1, x))


@inlined
def hard_sigmoid_slope(s, x):
    """theta'(s) = 1/6 where |s| < 3, which is 0 < x < 1, else 0."""
    return _step(fabs(x - 0.5) < 0.5, 1 / 6, x)


@inlined
def hard_tanh(s):
    """theta(s) = s, clipped to [-1, 1]."""
    return select(s < -1, -1, select(s > 1, 1, s))


@inlined
def hard_tanh_slope(s, x):
    """theta'(s) = 1 where |s| < 1, as |x| is, else 0."""
    return _step(fabs(x) < 1, 1, x)
