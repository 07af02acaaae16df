"""Elementary functions of vectors, for float32 and float64, as wide as their argument.

NaN gives NaN, infinities give limits, subnormals keep their digits. An error is the largest seen
against exact values, in units in the last place of the result, with fused multiply-adds and, in
brackets where it differs, without; `tests/test_math.py` holds each function to its bound.

Each is an exact reduction of the argument to a small interval and a polynomial there. The
coefficients are minimax: Remez exchange in 60 digits, weighted for relative error of the function,
then rounded to the precision.
"""

from dagbp._jit import EXACT, jit
from dagbp._kernels.vector import (
    MAGIC,
    copysign,
    exponent,
    fabs,
    fma,
    leading_half,
    negate_if_odd,
    polynomial,
    power_of_two,
    select,
    significand,
)

INFINITY, NAN = float("inf"), float("nan")

# --- exponentials --------------------------------------------------------------------------------

LOG2_E = 1.4426950408889634
SHIFT = 64  # keeps powers of two normal while the result may not be
UP, DOWN = 2.0**SHIFT, 2.0**-SHIFT

# ln 2 = LN2_HIGH + LN2_LOW; n LN2_HIGH is exact for |n| < 2^9, 2^11.
LN2_HIGH = polynomial(float32=[0.693145751953125], float64=[0.6931471805601177])
LN2_LOW = polynomial(float32=[1.4286068203094173e-06], float64=[-1.7239444525614835e-13])
# Where exp leaves the range of numbers, and a little beyond.
EXP_LOWEST = polynomial(float32=[-104.5], float64=[-746.0])
EXP_HIGHEST = polynomial(float32=[89.0], float64=[710.0])

# (e^r - 1 - r) / r^2 on |r| < 1.02 ln(2)/2, to 5e-9 and 2e-19 of e^r.
_exp_series = polynomial(
    float32=[0.0013948475, 0.008367918, 0.041666254, 0.16666533, 0.5],
    float64=[
        2.092639628965546e-09,
        2.511133581062382e-08,
        2.7557236353539065e-07,
        2.7557238023987864e-06,
        2.4801587368148797e-05,
        0.0001984126989179455,
        0.0013888888888862949,
        0.008333333333319615,
        0.041666666666666706,
        0.1666666666666668,
        0.5,
    ],
)


@jit(fastmath=EXACT)
def _reduce(x):
    """Return t = n + MAGIC and r with x = n ln(2) + r, |r| <= ln(2)/2."""
    t = fma(x, LOG2_E, MAGIC(x))
    n = t - MAGIC(x)
    return t, fma(n, -LN2_LOW(x), fma(n, -LN2_HIGH(x), x))


@jit(fastmath=EXACT)
def _expm1_series(r):
    """e^r - 1 = r + r^2 q(r) for small r."""
    return fma(r * r, _exp_series(r), r)


@jit(fastmath=EXACT)
def exp(x):
    """e^x = 2^n e^r, the power of two in two factors: both are normal. Error < 1.1 ulp."""
    x = select(x < EXP_LOWEST(x), EXP_LOWEST(x), select(x > EXP_HIGHEST(x), EXP_HIGHEST(x), x))
    t, r = _reduce(x)
    near = power_of_two(t + select(x < 0, SHIFT, -SHIFT)) * (_expm1_series(r) + 1)
    return near * select(x < 0, DOWN, UP)


@jit(fastmath=EXACT)
def exp_falling(x, dx):
    """e^(x + dx) for x <= 0 and |dx| < 1/8, a correction below the rounding of x."""
    x = select(x < EXP_LOWEST(x), EXP_LOWEST(x), x)
    t, r = _reduce(x)
    return power_of_two(t + SHIFT) * (_expm1_series(r + dx) + 1) * DOWN


@jit(fastmath=EXACT)
def expm1(x):
    """e^x - 1 = 2^n (e^r - 1) + (2^n - 1) for x <= 0."""
    x = select(x < -40, -40, x)  # -1 from there on
    t, r = _reduce(x)
    scale = power_of_two(t)
    return fma(scale, _expm1_series(r), scale - 1)


@jit(fastmath=EXACT)
def gaussian(x):
    """e^(-x^2) with x = h + l, the square of h exact: e^(-h^2 - l (x + h))."""
    x = select(fabs(x) > 30, 30, x)
    h = leading_half(x)
    return exp_falling(-h * h, -(x - h) * (x + h))


@jit(fastmath=EXACT)
def sigmoid(x):
    """1 / (1 + e^-x), from e^-|x|: no overflow, and all digits in the left tail."""
    e = exp_falling(-fabs(x), 0)
    return select(x < 0, e, 1) / (1 + e)


@jit(fastmath=EXACT)
def tanh(x):
    """tanh |x| = -m / (2 + m), m = e^(-2|x|) - 1: all digits near 0."""
    m = expm1(-2 * fabs(x))
    return copysign(-m / (2 + m), x)


# --- logarithms ----------------------------------------------------------------------------------

SQRT2_MINUS_1 = 0.4142135623730951
SMALLEST_NORMAL = polynomial(float32=[2.0**-126], float64=[2.0**-1022])

# (2 atanh(s) - 2 s) / s^3, in z = s^2 <= 0.03, to 2e-11 and 5e-18 of 2 atanh(s).
_log_series = polynomial(
    float32=[0.23355304, 0.28549883, 0.40000132, 0.6666667],
    float64=[
        0.14644970993029188,
        0.1532937990378142,
        0.18182960687435115,
        0.22222210135807988,
        0.28571428632210394,
        0.39999999999885466,
        0.6666666666666671,
    ],
)


@jit(fastmath=EXACT)
def _log(e, f):
    """e ln(2) + log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1].

    log(1 + f) = 2 atanh(s), s = f / (2 + f), = f - s (f - R), R = 2 atanh(s)/s - 2.
    """
    s = f / (2 + f)
    z = s * s
    bend = s * (f - z * _log_series(z))
    return fma(e, LN2_HIGH(e), f - (bend - e * LN2_LOW(e)))


@jit(fastmath=EXACT)
def log(x):
    """log(2^e m) = e ln(2) + log(m), m in [sqrt(1/2), sqrt(2)]; -inf at 0, NaN below."""
    tiny = x < SMALLEST_NORMAL(x)
    normal = select(tiny, x * UP, x)
    e = exponent(normal) - select(tiny, SHIFT, 0 * x)
    positive = select(x < INFINITY, _log(e, significand(normal) - 1), x)
    return select(x > 0, positive, select(x == 0, -INFINITY, 0 * x + NAN))


@jit(fastmath=EXACT)
def log1p(x):
    """log(1 + x) for 0 <= x <= 1: x itself, or 1 + x = 2 (1 + (x - 1)/2), is near enough to 1."""
    far = x > SQRT2_MINUS_1
    return _log(select(far, 1, 0 * x), select(far, (x - 1) * 0.5, x))


@jit(fastmath=EXACT)
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    return select(x > 0, x, 0) + log1p(exp_falling(-fabs(x), 0))
