"""One number for what was measured in one place at one time, with how well it is known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_TRIMMED_FROM = 10
"""Fewer values are too few to leave any out."""
_TRIM = 0.1
"""Share that is left out at either end: the mean of the rest holds against spikes, and its interval stays short (Yuen
1974)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level in log units."""

    value: float
    variance: float = 0.0
    """Squared standard error of `value`, from the values it stands on; 0 when there is only one."""
    degrees: float = 0.0
    """Degrees of freedom of `variance`; 0 when it says nothing."""


def level_of(logs: Sequence[float]) -> Level:
    """The trimmed mean of one or more logarithms, with Yuen's standard error."""
    # Sums over sorted values: the order in which they came changes nothing.
    ordered = sorted(logs)
    count = len(ordered)
    cut = int(_TRIM * count) if count >= _TRIMMED_FROM else 0
    kept = ordered[cut : count - cut]
    value = sum(kept) / len(kept)
    degrees = len(kept) - 1
    if degrees < 1:
        return Level(value=value)
    low, high = kept[0], kept[-1]
    # Winsorised: what is left out counts as the outermost that is kept.
    middle = (sum(kept) + cut * (low + high)) / count
    squares = sum([(item - middle) ** 2 for item in kept]) + cut * ((low - middle) ** 2 + (high - middle) ** 2)
    return Level(value=value, variance=squares / (len(kept) * degrees), degrees=degrees)


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of one or more values."""
    return math.fsum(values) / len(values)


def squares_about_mean(values: Sequence[float]) -> float:
    """The sum of squared distances from the mean."""
    middle = mean(values)
    return math.fsum((value - middle) ** 2 for value in values)
