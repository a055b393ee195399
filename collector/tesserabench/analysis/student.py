"""Student's t and Fisher's F distribution; t is the normal one with endless degrees of freedom.

`scipy.special` is imported when it is first needed: it takes most of a second, and whoever only reads results never
needs it. `scipy.stats` would take 2.5 s.
"""

import math
from functools import lru_cache


@lru_cache(maxsize=4096)
def quantile(probability: float, degrees: float) -> float:
    """The value that a t variable stays below with this probability.

    Args:
        probability: Between 0 and 1, both excluded.
        degrees: Degrees of freedom, above 0; infinity gives the normal distribution.
    """
    from scipy.special import ndtri, stdtrit  # noqa: PLC0415 - see the module's docstring

    return float(ndtri(probability) if math.isinf(degrees) else stdtrit(degrees, probability))


def exceedance(value: float, degrees: float) -> float:
    """The probability that a t variable is larger than `value`.

    Args:
        value: Any number, infinities included.
        degrees: Degrees of freedom, above 0; infinity gives the normal distribution.
    """
    from scipy.special import ndtr, stdtr  # noqa: PLC0415 - see the module's docstring

    if math.isinf(value):
        return 0.0 if value > 0 else 1.0
    return float(ndtr(-value) if math.isinf(degrees) else stdtr(degrees, -value))


@lru_cache(maxsize=4096)
def variance_ratio_quantile(probability: float, above: float, below: float) -> float:
    """The value that the ratio of two estimates of one variance stays below with this probability (Fisher's F).

    Args:
        probability: Between 0 and 1, both excluded.
        above: Degrees of freedom of the numerator.
        below: Degrees of freedom of the denominator.
    """
    from scipy.special import fdtri  # noqa: PLC0415 - see the module's docstring

    return float(fdtri(above, below, probability))
