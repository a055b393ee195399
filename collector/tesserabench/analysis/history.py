"""The noise between runs of a series, from its history."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tesserabench.analysis.levels import mean, squares_about_mean

MINIMUM_RUNS = 8
"""Fewer earlier runs say too little about how much the next one may differ, when their level may have moved."""

MINIMUM_AT_ONE_LEVEL = 5
"""The same for runs that are known to be at one level."""

_ROUNDED = 1e-9
"""Levels that scatter by less are the same, and what they scatter by is how their sums were rounded."""

_MAD_TO_DEVIATION = 1.482602218505602
_MAD_EFFICIENCY = 0.37


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNoise:
    """How much runs of unchanged code differ."""

    deviation: float
    """Standard deviation of the logarithm of a run's value about the level."""
    degrees: float
    """Degrees of freedom that the estimate is worth."""
    level: float | None = None
    """Logarithm of the level that the runs are at now; None when it is not known."""
    runs: int = 0
    """How many runs at that level it stands on."""
    correlation: float = 0.0
    """Between a run and the next, -1 to 1: neighbours in time differ less than runs that lie apart."""
    largest: float | None = None
    """How far the outermost run is from the level, in log units."""


def run_noise(values: Sequence[float]) -> RunNoise | None:
    """The noise between runs whose level may have moved, from one value a run, oldest first; None for too few of them.

    It is the median absolute difference of neighbours, so that a step or a spike in the history counts once rather
    than widening everything, scaled to a standard deviation (a difference has sqrt 2 of it). The median absolute
    deviation is worth 37 % of its observations (Rousseeuw and Croux 1993).
    """
    levels = _logarithms(values)
    if len(levels) < MINIMUM_RUNS:
        return None
    differences = sorted(abs(after - before) for before, after in itertools.pairwise(levels))
    middle = len(differences) // 2
    median = differences[middle] if len(differences) % 2 else (differences[middle - 1] + differences[middle]) / 2
    return RunNoise(
        deviation=_MAD_TO_DEVIATION * median / math.sqrt(2),
        degrees=max(2.0, _MAD_EFFICIENCY * len(differences)),
    )


def noise_at_one_level(levels: Sequence[float]) -> RunNoise | None:
    """The noise between runs of one level, from the logarithm of each, oldest first; None for too few of them.

    Nothing is left out: what a spike did to an earlier run it may do to the next.
    """
    count = len(levels)
    if count < MINIMUM_AT_ONE_LEVEL:
        return None
    squares = squares_about_mean(levels)
    steps = math.fsum((after - before) ** 2 for before, after in itertools.pairwise(levels))
    level = mean(levels)
    followed = math.fsum((after - level) * (before - level) for before, after in itertools.pairwise(levels))
    ordered = sorted(levels)
    median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return RunNoise(
        deviation=math.sqrt(max(squares / (count - 1), steps / (2 * (count - 1)))),
        degrees=count - 1,
        level=level,
        runs=count,
        correlation=followed / squares if squares > (count - 1) * _ROUNDED**2 else 0.0,
        largest=max(abs(value - median) for value in levels),
    )


def _logarithms(values: Sequence[float]) -> list[float]:
    return [math.log(value) for value in values if value > 0 and math.isfinite(value)]
