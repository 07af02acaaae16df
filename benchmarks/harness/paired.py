"""Statistics of paired times: the median ratio, and its confidence interval."""

import math
import statistics

TOLERANCE = 0.03  # ratios in 1 ± TOLERANCE count as equal
LEAST = 6  # values of which the whole range is a 95 % interval of the median


def interval(values, confidence=0.95):
    """Return a confidence interval of the median, from order statistics.

    It assumes nothing about the distribution: the number of values below the median is binomial.
    Fewer than `LEAST` values give the whole range, with less confidence.
    """
    values, n = sorted(values), len(values)
    below, cut = 0.0, 0  # values cut off at either end
    while 2 * cut < n - 1:
        below += math.comb(n, cut) / 2**n
        if below > (1 - confidence) / 2:
            break
        cut += 1
    first = max(cut - 1, 0)
    return values[first], values[n - 1 - first]


def summary(ratios_by_start):
    """Return the statistics of ratios new/old, given as a list for each start of the processes.

    Each start counts once, with its median. Ratios of one start are not independent: they share the
    addresses of arrays and code, and these move times by some percent.
    """
    ratios = [ratio for ratios in ratios_by_start for ratio in ratios]
    starts = [statistics.median(ratios) for ratios in ratios_by_start]
    low, high = interval(starts)
    quartiles = statistics.quantiles(ratios, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {
        "ratio": statistics.median(starts),
        "low": low,
        "high": high,
        "quartiles": (quartiles[0], quartiles[2]),
        "verdict": verdict(low, high) if len(starts) >= LEAST else "too few starts",
    }


def verdict(low, high):
    """Return a word on a ratio's interval."""
    if high < 1 - TOLERANCE:
        return "faster"
    if low > 1 + TOLERANCE:
        return "slower"
    if 1 - TOLERANCE <= low and high <= 1 + TOLERANCE:
        return f"within {TOLERANCE:.0%}"
    return "unclear"
