"""The noise between runs of a series, from its history."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

MINIMUM_RUNS = 8
"""Fewer earlier runs say too little about how much the next one may differ."""

_MAD_TO_DEVIATION = 1.482602218505602
_MAD_EFFICIENCY = 0.37


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNoise:
    """How much runs of unchanged code differ."""

    deviation: float
    """Standard deviation of the logarithm of a run's value."""
    degrees: float
    """Degrees of freedom that the estimate is worth."""
    level: float | None = None
    """Logarithm of the level that the runs are at now; None when it is not known."""
    runs: int = 0
    """How many runs at that level it stands on."""
    correlation: float = 0.0
    """Between a run and the next, -1 to 1: neighbours in time differ less than runs that lie apart."""


def run_noise(values: Sequence[float]) -> RunNoise | None:
    """The noise between runs, from one value a run, oldest first; None when there are too few of them.

    It is the median absolute difference of neighbours, so that a step or a spike in the history counts once rather
    than widening everything, scaled to a standard deviation (a difference has sqrt 2 of it). The median absolute
    deviation is worth 37 % of its observations (Rousseeuw and Croux 1993).
    """
    levels = [math.log(value) for value in values if value > 0 and math.isfinite(value)]
    if len(levels) < MINIMUM_RUNS:
        return None
    differences = sorted(abs(after - before) for before, after in itertools.pairwise(levels))
    middle = len(differences) // 2
    median = differences[middle] if len(differences) % 2 else (differences[middle - 1] + differences[middle]) / 2
    return RunNoise(
        deviation=_MAD_TO_DEVIATION * median / math.sqrt(2),
        degrees=max(2.0, _MAD_EFFICIENCY * len(differences)),
    )
