"""The best partition of a stretch into levels, by dynamic programming over a grid of levels."""

import math

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MAD_TO_DEVIATION = 1.482602218505602
CLIP = 2.5
"""Residuals count up to this many standard deviations, so that a spike costs what any far point costs."""
SHORTEST = 3
"""Points that make a level."""
PENALTY = 12.0
"""Cost of one more level, in squared standard deviations."""
_STEPS_PER_DEVIATION = 4
_MOST_LEVELS = 512
_SMALLEST_DEVIATION = 1e-4


def deviation_of(values: Values) -> float:
    """Standard deviation of a point, from the median absolute difference of neighbours: steps and spikes count once."""
    differences = np.diff(values)
    if not len(differences):
        return _SMALLEST_DEVIATION
    middle = float(np.median(np.abs(differences - np.median(differences))))
    return max(MAD_TO_DEVIATION * middle / math.sqrt(2), _SMALLEST_DEVIATION)


def _grid(values: Values, deviation: float) -> Values:
    low, high = float(values.min()), float(values.max())
    count = (high - low) / deviation * _STEPS_PER_DEVIATION
    if count < _MOST_LEVELS:
        return np.linspace(low, high, max(8, math.ceil(count) + 1))
    return np.unique(np.quantile(values, np.linspace(0, 1, _MOST_LEVELS // 2)))


def split(values: Values, deviation: float) -> list[int]:
    """Where new levels begin, for the partition with the least cost.

    A partition costs, for every point, its squared distance from its level in standard deviations, clipped at CLIP
    squared, and PENALTY for every level but the first (the biweight loss of Fearnhead and Rigaill 2019).
    """
    count = len(values)
    grid = _grid(values, deviation)
    costs = np.minimum(((values[:, None] - grid[None, :]) / deviation) ** 2, CLIP * CLIP)
    cumulative = np.vstack([np.zeros(len(grid)), np.cumsum(costs, axis=0)])
    best = np.zeros(count + 1)
    back = np.zeros(count + 1, dtype=np.intp)
    entry = np.full(len(grid), np.inf)
    begun = np.zeros(len(grid), dtype=np.intp)
    for end in range(1, count + 1):
        start = end - SHORTEST
        if start >= 0:
            candidate = best[start] - cumulative[start] + (PENALTY if start else 0.0)
            better = candidate < entry
            entry[better] = candidate[better]
            begun[better] = start
        total = cumulative[end] + entry
        chosen = int(np.argmin(total))
        best[end], back[end] = total[chosen], begun[chosen]
    found: list[int] = []
    place = count
    while place > 0:
        place = int(back[place])
        if place > 0:
            found.append(place)
    return found[::-1]
