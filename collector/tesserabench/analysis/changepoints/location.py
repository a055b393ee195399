"""Where a step is, once it is clear that there is one."""

from dataclasses import dataclass

import numpy as np
from tesserabench.analysis.changepoints.levels import SHORTEST, Values
from tesserabench.analysis.changepoints.stretches import Stretch

_FREEDOM = 3
_TAIL_CHANCE = 0.025
_REACH = 60
"""Points on either side that tell where it is."""
_NEAR = 5
_WEIGHTS = np.ones(2 * _NEAR + 1)
_WEIGHTS[_NEAR] += 1e-3


@dataclass(frozen=True, slots=True)
class Location:
    """Where a step is."""

    place: int
    """The first point of the new level."""
    earliest: int
    latest: int
    """The step lies within [earliest, latest] nineteen times in twenty."""


def locate(values: Values, before: Stretch, after: Stretch, first: int, factor: float) -> Location:
    """Where the step is that was proposed between two levels.

    By the likelihood of Student noise with 3 degrees of freedom around the two levels: the place that has most of it
    within five points. In quiet series that is the likeliest place; in loud ones, where many are about as likely, it is
    more often near the step.

    Args:
        values: the points of both levels.
        before: the older level.
        after: the newer one.
        first: the place of the first of `values`; places are told in the same count.
        factor: by how much correlation widens standard errors.
    """
    place, count = before.count, len(values)
    if count <= 2 * SHORTEST:
        return Location(first + place, first + place, first + place)
    told = (place * before.deviation + after.count * after.deviation) / count
    left, right = max(0, place - _REACH), min(count, place + _REACH)
    values = values[left:right]
    chances = _chances(values, (before.mean, after.mean), factor * told)
    near = np.convolve(chances, _WEIGHTS)[_NEAR:-_NEAR]
    lowest = first + left + SHORTEST
    found = lowest + int(near.argmax())
    summed = chances.cumsum()
    ends = summed.searchsorted((_TAIL_CHANCE, 1 - _TAIL_CHANCE)).tolist()
    earliest, latest = lowest + ends[0], lowest + min(ends[1], len(summed) - 1)
    return Location(found, min(earliest, found), max(latest, found))


def _chances(values: Values, levels: tuple[float, float], width: float) -> Values:
    """By place from SHORTEST on, the probability that the step is there when each place is as likely beforehand."""
    before, after = values - levels[0], values - levels[1]
    usual = _FREEDOM * width * width
    logs = np.log((before * before + usual) / (after * after + usual))
    costs = logs.cumsum()[SHORTEST - 1 : len(values) - SHORTEST]
    likelihoods: Values = np.exp((_FREEDOM + 1) / 2 * (costs.min() - costs))
    likelihoods /= likelihoods.sum()
    return likelihoods
