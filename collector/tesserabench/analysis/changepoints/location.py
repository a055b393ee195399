"""Where a step is, once it is clear that there is one."""

from dataclasses import dataclass

import numpy as np
from tesserabench.analysis.changepoints.evidence import Evidence
from tesserabench.analysis.changepoints.levels import MAD_TO_DEVIATION, SHORTEST, Values, middle_of

_FREEDOM = 3
_NARROWEST = 0.25
"""Points are not taken for more alike than this share of the deviation that the evidence was told by."""
_TAIL_CHANCE = 0.025
_NEAR = 5
_PEAK = 1e-3


@dataclass(frozen=True, slots=True)
class Location:
    """Where a step is."""

    place: int
    """The first point of the new level."""
    earliest: int
    latest: int
    """The step lies within [earliest, latest] nineteen times in twenty."""


def locate(evidence: Evidence, left: int, place: int, right: int, factor: float) -> Location:
    """Where the step near `place` is between [left, place) and [place, right).

    By the likelihood of Student noise with 3 degrees of freedom around the two levels: the place that has most of it
    within five points. In quiet series that is the likeliest place; in loud ones, where many are about as likely, it is
    more often near the step. `factor` is by how much correlation widens standard errors.
    """
    values = evidence.values[left:right]
    if len(values) <= 2 * SHORTEST:
        return Location(place, place, place)
    before, after = evidence.stretch(left, place), evidence.stretch(place, right)
    residuals = np.concatenate((values[: before.count] - before.median, values[before.count :] - after.median))
    told = (before.count * before.deviation + after.count * after.deviation) / len(values)
    width = factor * max(MAD_TO_DEVIATION * middle_of(np.abs(residuals)), _NARROWEST * told)
    chances = _chances(values, (before.mean, after.mean), width)
    near = np.convolve(chances, np.ones(2 * _NEAR + 1))[_NEAR:-_NEAR] + _PEAK * chances
    found = left + SHORTEST + int(near.argmax())
    summed = np.cumsum(chances)
    earliest = left + SHORTEST + int(np.searchsorted(summed, _TAIL_CHANCE))
    latest = left + SHORTEST + int(np.searchsorted(summed, 1 - _TAIL_CHANCE))
    return Location(found, min(earliest, found), max(min(latest, right - SHORTEST), found))


def _chances(values: Values, levels: tuple[float, float], width: float) -> Values:
    """By place from SHORTEST on, the probability that the step is there when each place is as likely beforehand."""
    half = (_FREEDOM + 1) / 2
    before, after = (half * np.log1p(((values - level) / width) ** 2 / _FREEDOM) for level in levels)
    costs = np.cumsum(before - after)[SHORTEST - 1 : len(values) - SHORTEST]
    likelihoods: Values = np.exp(costs.min() - costs)
    likelihoods /= likelihoods.sum()
    return likelihoods
