"""Student's t distribution with whole degrees of freedom, in closed form.

The distribution function is a finite sum for whole degrees (Abramowitz and Stegun, 26.7.3 and 26.7.4), so that a
comparison on a GPU host needs nothing but Python; `analysis.student` serves fractional degrees with SciPy.
"""

import math
from functools import lru_cache


def two_sided_p(value: float, degrees: int) -> float:
    """The probability that a t variable is further from zero than `value`.

    Args:
        value: Any number, infinities included.
        degrees: Degrees of freedom, 1 or more.
    """
    if degrees < 1:
        raise ValueError(f"degrees must be 1 or more, not {degrees}")
    if math.isinf(value):
        return 0.0
    angle = math.atan(abs(value) / math.sqrt(degrees))
    within = _within_odd(angle, degrees) if degrees % 2 else _within_even(angle, degrees)
    return min(1.0, max(0.0, 1.0 - within))


@lru_cache(maxsize=1024)
def half_width(confidence: float, degrees: int) -> float:
    """How many standard errors an interval of this confidence reaches to either side.

    Args:
        confidence: Between 0 and 1, both excluded.
        degrees: Degrees of freedom, 1 or more.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence}")
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > 1 - confidence:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if two_sided_p(middle, degrees) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _within_odd(angle: float, degrees: int) -> float:
    term = total = math.cos(angle) if degrees > 1 else 0.0
    for step in range(3, degrees - 1, 2):
        term *= math.cos(angle) ** 2 * (step - 1) / step
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total)


def _within_even(angle: float, degrees: int) -> float:
    term = total = 1.0
    for step in range(2, degrees - 1, 2):
        term *= math.cos(angle) ** 2 * (step - 1) / step
        total += term
    return math.sin(angle) * total
