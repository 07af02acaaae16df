"""Elementary functions of vectors of any width, in float32 and float64.

NaN gives NaN, infinities give limits, and subnormal numbers keep their digits. Each docstring gives
the largest error over millions of numbers in both precisions, with and without FMA, in units in the
last place of the result (ulp). `tests/kernels/test_math.py` reads these limits and tests them.

Each function reduces its argument exactly to a small interval and evaluates a polynomial there. The
coefficients are minimax: by the Remez algorithm in 60 digits, weighted for the relative error of
the function, and then rounded to the precision.

All functions are copied into their callers. These must be compiled with the flags EXACT.
"""

from dagbp._kernels.vectors.arithmetic import (
    any_lane,
    copysign,
    fabs,
    fma,
    inlined,
    libm_cos,
    libm_sin,
    select,
)
from dagbp._kernels.vectors.bits import (
    MAGIC,
    exponent,
    leading_half,
    negate_if_odd,
    polynomial,
    power_of_two,
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
# A little beyond the arguments where exp becomes 0 or infinite.
EXP_LOWEST = polynomial(float32=[-104.5], float64=[-746.0])
EXP_HIGHEST = polynomial(float32=[89.0], float64=[710.0])

# (e^r - 1 - r) / r^2 on |r| < 1.02 ln(2)/2, to 5e-9 and 2e-19 of e^r.
_exp_series = polynomial(
    float32=[0.0013948475, 0.008367918, 0.041666254, 0.16666533, 0.5],
    float64=[
        2.092639628965546e-09, 2.511133581062382e-08, 2.7557236353539065e-07,
        2.7557238023987864e-06, 2.4801587368148797e-05, 0.0001984126989179455,
        0.0013888888888862949, 0.008333333333319615, 0.041666666666666706, 0.1666666666666668, 0.5,
    ],
)  # fmt: skip


@inlined
def _reduce(x, dx):
    """Return t = n + MAGIC and r with x + dx = n ln(2) + r, |r| <= ln(2)/2."""
    t = fma(x + dx, LOG2_E, MAGIC(x))
    n = t - MAGIC(x)
    return t, fma(n, -LN2_LOW(x), fma(n, -LN2_HIGH(x), x)) + dx


@inlined
def _expm1_series(r):
    """e^r - 1 = r + r^2 q(r) for small r."""
    return fma(r * r, _exp_series(r), r)


@inlined
def exp(x):
    """e^x = 2^n e^r, the power of two in two factors: both are normal. Error < 1.1 ulp."""
    x = select(x < EXP_LOWEST(x), EXP_LOWEST(x), select(x > EXP_HIGHEST(x), EXP_HIGHEST(x), x))
    t, r = _reduce(x, 0)
    near = power_of_two(select(x < 0, t + SHIFT, t - SHIFT)) * (_expm1_series(r) + 1)
    return select(x < 0, near * DOWN, near * UP)


@inlined
def exp_falling(x, dx):
    """e^(x + dx) for x <= 0 and a correction dx, |dx| < 1/8."""
    x = select(x < EXP_LOWEST(x), EXP_LOWEST(x), x)
    t, r = _reduce(x, dx)
    return power_of_two(t + SHIFT) * (_expm1_series(r) + 1) * DOWN


@inlined
def expm1(x):
    """e^x - 1 = 2^n (e^r - 1) + (2^n - 1) for x <= 0. Error < 1.2 ulp."""
    x = select(x < -40, -40, x)  # the result is -1 below
    t, r = _reduce(x, 0)
    scale = power_of_two(t)
    return fma(scale, _expm1_series(r), scale - 1)


@inlined
def gaussian(x, c):
    """e^(-c x^2), c = 1 or 1/2. Error < 1.3 ulp.

    With x = h + l, the square of h exact: e^(-c h^2 - c l (x + h)).
    """
    x = select(fabs(x) > 40, 40, x)  # the result is 0 beyond
    h = leading_half(x)
    return exp_falling(-c * (h * h), -c * ((x - h) * (x + h)))


@inlined
def sigmoid(x):
    """1 / (1 + e^-x), from e^-|x|: accurate in the left tail, too. Error < 2.5 ulp."""
    e = exp_falling(-fabs(x), 0)
    return select(x < 0, e, 1) / (1 + e)


@inlined
def sigmoids(x):
    """1 / (1 + e^-x) and 1 / (1 + e^x), both accurate in both tails."""
    e = exp_falling(-fabs(x), 0)
    near = 1 / (1 + e)
    return select(x < 0, e * near, near), select(x < 0, near, e * near)


@inlined
def tanh(x):
    """tanh(|x|) = -m / (2 + m), m = e^(-2|x|) - 1: accurate near 0, too. Error < 2.6 ulp."""
    m = expm1(-2 * fabs(x))
    return copysign(-m / (2 + m), x)


# --- logarithms ----------------------------------------------------------------------------------

SQRT2_MINUS_1 = 0.4142135623730951
SMALLEST_NORMAL = polynomial(float32=[2.0**-126], float64=[2.0**-1022])

# (2 atanh(s) - 2 s) / s^3, in z = s^2 <= 0.03, to 2e-11 and 5e-18 of 2 atanh(s).
_log_series = polynomial(
    float32=[0.23355304, 0.28549883, 0.40000132, 0.6666667],
    float64=[
        0.14644970993029188, 0.1532937990378142, 0.18182960687435115, 0.22222210135807988,
        0.28571428632210394, 0.39999999999885466, 0.6666666666666671,
    ],
)  # fmt: skip


@inlined
def _log(e, f):
    """Return e ln(2) + log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1].

    log(1 + f) = 2 atanh(s), s = f / (2 + f), = f - s (f - R), R = 2 atanh(s)/s - 2.
    """
    s = f / (2 + f)
    z = s * s
    bend = s * (f - z * _log_series(z))
    return fma(e, LN2_HIGH(e), f - (bend - e * LN2_LOW(e)))


@inlined
def log(x):
    """log(2^e m) = e ln(2) + log(m), m in [sqrt(1/2), sqrt(2)]. Error < 1.1 ulp.

    -inf at 0, NaN below.
    """
    tiny = x < SMALLEST_NORMAL(x)
    normal = select(tiny, x * UP, x)
    e = exponent(normal) - select(tiny, SHIFT, 0 * x)
    positive = select(x < INFINITY, _log(e, significand(normal) - 1), x)
    return select(x > 0, positive, select(x == 0, -INFINITY, 0 * x + NAN))


@inlined
def log1p(x):
    """log(1 + x) for 0 <= x <= 1, with 1 + x = 2 (1 + (x - 1)/2) for the larger x.

    Error < 1.7 ulp.
    """
    far = x > SQRT2_MINUS_1
    return _log(select(far, 1, 0 * x), select(far, (x - 1) * 0.5, x))


@inlined
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|). Error < 1.9 ulp."""
    return select(x > 0, x, 0) + log1p(exp_falling(-fabs(x), 0))


# --- the normal distribution ---------------------------------------------------------------------

INVERSE_SQRT_2PI = 0.3989422804014327

# (t + 5) Q(t) e^(t^2/2) in y = 2 t/(t + 5) - 1, 0 <= t < 14.5 or 39, to 1e-8 and 1.4e-17 of itself.
_tail_series = polynomial(
    float32=[
        0.0004050041, -0.0009715415, -0.0029613944, 0.020876592, -0.06911593, 0.16500673,
        -0.31353396, 0.4953064, -0.6653825, 0.76919305,
    ],
    float64=[
        2.0138417282060216e-09, 7.181781304571702e-09, -1.0210818079360023e-08,
        -6.531930620452063e-08, 4.361247764817175e-08, 4.3268582270729594e-07,
        -3.377434422460277e-07, -2.7690548250438266e-06, 3.981491498752591e-06,
        1.6681144694235958e-05, -4.976301035615674e-05, -5.937571124992753e-05,
        0.0005448991058998424, -0.0007978694014845912, -0.0029933767757008194, 0.020795066800242838,
        -0.06911863870595157, 0.1650203661703615, -0.31353315667131576, 0.495305615969977,
        -0.6653825028900566, 0.769193049750063,
    ],
)  # fmt: skip


@inlined
def normal(x):
    """Return P(Z < x) and the density at x of the standard normal Z. Error < 4.7 ulp.

    Q(t) = P(Z > t) = e^(-t^2/2) p(y) / (t + 5) for t >= 0: accurate in the left tail, too.
    """
    t = select(fabs(x) > 40, 40, fabs(x))  # the result is 0 beyond
    q = 1 / (t + 5)
    bell = gaussian(t, 0.5)
    tail = bell * (q * _tail_series(fma(t + t, q, -1)))
    return select(x < 0, tail, 1 - tail), bell * INVERSE_SQRT_2PI


# --- trigonometry --------------------------------------------------------------------------------

INVERSE_PI = 0.3183098861837907

# pi in three parts; n times the first two is exact for multiples n of 1/2 up to FAR / pi.
PI_1 = polynomial(float32=[3.141571044921875], float64=[3.1415926535883045])
PI_2 = polynomial(float32=[2.1608546376228333e-05], float64=[1.4887094960968781e-12])
PI_3 = polynomial(float32=[1.2154201013012384e-10], float64=[4.464828201491624e-25])
FAR = polynomial(float32=[200.0], float64=[6000.0])

# (sin(r) - r) / r^3 in r^2, |r| < 1.01 pi/2, to 5e-9 and 3e-19 of sin(r).
_sin_series = polynomial(
    float32=[2.606061e-06, -0.00019809912, 0.008333073, -0.1666666],
    float64=[
        2.7204986680442606e-15, -7.642935170591483e-13, 1.6058937875836e-10,
        -2.5052106843730917e-08, 2.7557319210908674e-06, -0.00019841269841208465,
        0.008333333333333194, -0.16666666666666666,
    ],
)  # fmt: skip


@inlined
def _sin_from(x, n):
    """sin(x - n pi), for n pi near x."""
    r = fma(n, -PI_3(x), fma(n, -PI_2(x), fma(n, -PI_1(x), x)))
    z = r * r
    return fma(r * z, _sin_series(z), r)


@inlined
def sin(x):
    """sin(x) = (-1)^n sin(x - n pi), n = round(x / pi). Error < 2.2 ulp.

    If any |x| of a chunk exceeds FAR, the C library computes the chunk.
    """
    t = fma(x, INVERSE_PI, MAGIC(x))
    y = negate_if_odd(t, _sin_from(x, t - MAGIC(x)))
    if any_lane(fabs(x) > FAR(x)):
        y = libm_sin(x)
    return y


@inlined
def cos(x):
    """cos(x) = -(-1)^n sin(x - (n + 1/2) pi), n = round(x / pi - 1/2). Error < 2.2 ulp.

    If any |x| of a chunk exceeds FAR, the C library computes the chunk.
    """
    t = fma(x, INVERSE_PI, -0.5) + MAGIC(x)
    y = negate_if_odd(t, -_sin_from(x, t - MAGIC(x) + 0.5))
    if any_lane(fabs(x) > FAR(x)):
        y = libm_cos(x)
    return y
