"""The built-in activations as vector formulas: theta(s), and its slope theta'(s).

An activation is a pair of formulas with its initialisation, stated once here:

    @activation(init="glorot")
    def tanh(s):
        ...

    @tanh.slope
    def tanh_slope(x):
        ...

A slope takes x = theta(s), or (s, x) if it needs s. Kernels keep s only for slopes that take it.
The first line of each docstring is the entry in the table of `dagbp.activations`.

A slope has an error of some ulp of the *largest* slope. More digits of small slopes would be
useless: back-propagation multiplies and adds them. At a kink the slope is that of one
side: for relu, leaky_relu, hard_sigmoid and hard_tanh the smaller one, for selu the left one.
NaN gives NaN, infinities give limits.
"""

import inspect
from functools import cached_property

from dagbp._kernels.formulas import math
from dagbp._kernels.vectors.arithmetic import fabs, fma, inlined, select

LEAK = 0.01
# Klambauer et al. (2017), "Self-normalizing neural networks".
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

FORMULAS: dict[str, "ActivationFormula"] = {}  # by name, in the order of definition


class ActivationFormula:
    """A built-in activation: theta(s) as `f`, and theta'(s) as `df`, a function of (s, x).

    init: the default initialisation of weights into its nodes. probability: whether it is a sigmoid
    from 0 to 1. reads_signal: whether the slope needs s. text, slope_text: both formulas for the
    documentation.
    """

    def __init__(self, f, init, probability):
        self.name, self.init, self.probability, self._f = f.__name__, init, probability, f
        self.text = _first_line(f)

    def slope(self, df):
        """Decorate the slope, a function of x or of (s, x)."""
        self._df, self.slope_text = df, _first_line(df)
        self.reads_signal = "s" in inspect.signature(df).parameters
        FORMULAS[self.name] = self
        return df

    # Both are made when they are needed: all of them would add 3 ms to the import.

    @cached_property
    def f(self):
        return inlined(self._f)

    @cached_property
    def df(self):
        formula = inlined(self._df)
        return formula if self.reads_signal else inlined(lambda s, x: formula(x))


def activation(init, probability=False):
    """Return a decorator for the formula of a built-in activation; its slope completes it."""
    return lambda f: ActivationFormula(f, init, probability)


def _first_line(formula):
    text = (formula.__doc__ or "").split("\n")[0]  # none under python -OO
    return text.partition("(s) = ")[2].rstrip(".")


@inlined
def _step(inside, slope, x):
    """Return `slope` where the mask `inside` is true, else 0; NaN where x is."""
    return select(inside, slope, select(x == x, 0, x))


@activation(init="glorot")
def identity(s):
    """theta(s) = s."""
    return s


@identity.slope
def identity_slope(x):
    """theta'(s) = 1."""
    return _step(x == x, 1, x)


@activation(init="he")
def relu(s):
    """theta(s) = max(s, 0)."""
    return select(s < 0, 0, s)


@relu.slope
def relu_slope(x):
    """theta'(s) = 1 where s > 0, else 0."""
    return _step(x > 0, 1, x)  # s > 0 where x > 0


@activation(init="he")
def leaky_relu(s):
    """theta(s) = s where s > 0, else s/100."""
    return select(s > 0, s, LEAK * s)


@leaky_relu.slope
def leaky_relu_slope(x):
    """theta'(s) = 1 where s > 0, else 1/100."""
    return select(x > 0, 1, select(x == x, LEAK, x))  # s > 0 where x > 0


@activation(init="he")
def elu(s):
    """theta(s) = s where s > 0, else e^s - 1."""
    return select(s > 0, s, math.expm1(s))


@elu.slope
def elu_slope(x):
    """theta'(s) = 1 where s > 0, else e^s."""
    return select(x > 0, 1, x + 1)  # s > 0 where x > 0, and e^s = x + 1 elsewhere


@activation(init="lecun")
def selu(s):
    """theta(s) = 1.0507 s where s > 0, else 1.7581 (e^s - 1)."""
    return SELU_SCALE * select(s > 0, s, SELU_ALPHA * math.expm1(s))


@selu.slope
def selu_slope(x):
    """theta'(s) = 1.0507 where s > 0, else 1.7581 e^s."""
    # s > 0 where x > 0, and 1.7581 e^s = x + 1.7581 elsewhere; 1.7581 = SELU_SCALE SELU_ALPHA.
    return select(x > 0, SELU_SCALE, x + SELU_SCALE * SELU_ALPHA)


@activation(init="glorot", probability=True)
def sigmoid(s):
    """theta(s) = 1 / (1 + e^-s)."""
    return math.sigmoid(s)


@sigmoid.slope
def sigmoid_slope(x):
    """theta'(s) = x (1 - x)."""
    return x * (1 - x)


@activation(init="glorot")
def tanh(s):
    """theta(s) = tanh(s)."""
    return math.tanh(s)


@tanh.slope
def tanh_slope(x):
    """theta'(s) = 1 - x^2."""
    return (1 - x) * (1 + x)


@activation(init="he")
def softplus(s):
    """theta(s) = log(1 + e^s)."""
    return math.softplus(s)


@softplus.slope
def softplus_slope(x):
    """theta'(s) = 1 / (1 + e^-s)."""
    return -math.expm1(-x)  # 1 - e^-x


@activation(init="glorot")
def softsign(s):
    """theta(s) = s / (1 + abs(s))."""
    s = select(s > 1e30, 1e30, select(s < -1e30, -1e30, s))  # 1 above, -1 below
    return s / (1 + fabs(s))


@softsign.slope
def softsign_slope(x):
    """theta'(s) = 1 / (1 + abs(s))^2."""
    q = 1 - fabs(x)  # 1 / (1 + abs(s))
    return q * q


@activation(init="he")
def gelu(s):
    """theta(s) = s P(Z < s), Z standard normal, exact."""
    p, _ = math.normal(s)
    return select(s < -40, -40, s) * p


@gelu.slope
def gelu_slope(s, x):
    """theta'(s) = P(Z < s) + s exp(-s^2/2)/sqrt(2 pi)."""
    p, density = math.normal(s)
    return fma(select(fabs(s) > 40, 40, s), density, p)


@activation(init="he")
def silu(s):
    """theta(s) = s / (1 + e^-s)."""
    return select(s < -800, -800, s) * math.sigmoid(s)


@silu.slope
def silu_slope(s, x):
    """theta'(s) = p + s p (1 - p), p = 1 / (1 + e^-s)."""
    p, q = math.sigmoids(s)
    return fma(select(fabs(s) > 800, 800, s), p * q, p)


@activation(init="glorot")
def sin(s):
    """theta(s) = sin(s)."""
    return math.sin(s)


@sin.slope
def sin_slope(s, x):
    """theta'(s) = cos(s)."""
    return math.cos(s)


@activation(init="glorot")
def gaussian(s):
    """theta(s) = e^(-s^2)."""
    return math.gaussian(s, 1)


@gaussian.slope
def gaussian_slope(s, x):
    """theta'(s) = -2 s x."""
    return -2 * select(fabs(s) > 40, 40, s) * x


@activation(init="glorot", probability=True)
def hard_sigmoid(s):
    """theta(s) = s/6 + 1/2, clipped to [0, 1]."""
    x = (s + 3) * (1 / 6)
    return select(x < 0, 0, select(x > 1, 1, x))


@hard_sigmoid.slope
def hard_sigmoid_slope(x):
    """theta'(s) = 1/6 where abs(s) < 3, else 0."""
    return _step(fabs(x - 0.5) < 0.5, 1 / 6, x)  # abs(s) < 3 where 0 < x < 1


@activation(init="glorot")
def hard_tanh(s):
    """theta(s) = s, clipped to [-1, 1]."""
    return select(s < -1, -1, select(s > 1, 1, s))


@hard_tanh.slope
def hard_tanh_slope(x):
    """theta'(s) = 1 where abs(s) < 1, else 0."""
    return _step(fabs(x) < 1, 1, x)  # abs(s) < 1 where abs(x) < 1
