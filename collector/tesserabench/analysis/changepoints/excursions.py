"""Short stretches away from the level: a new level, or a burst of far points as this history has had before?

Timings have outliers that come in bursts, and modes that they visit in turns. A short stretch is a change when a new
level explains it better than one more burst, by a wide margin (a Bayes factor).
"""

import math
from collections.abc import Sequence

import numpy as np
from tesserabench.analysis.changepoints.evidence import Evidence
from tesserabench.analysis.changepoints.levels import Values
from tesserabench.analysis.changepoints.stretches import normal_density

_LONGEST = 40
_FEWEST_BEFORE = 4
"""Fewer points at the start of a history are no level to have changed from."""
_RETURNED = 0.5
_ALIKE = 0.3
_HABIT = 3
"""Visits of about the same level, with the one that is looked at."""
_FAR = 3.0
_SMALL = 0.02
_SMALL_SHARE = 15
_SMALL_LONGEST = 24
_SMALL_DEVIATIONS = 4.0
_PRIOR_POINTS = 150
"""A change is expected once in as many points, and in the length of the window; more often where there are others."""
_OTHER_CHANGES = 2.0
_FAR_PRIOR, _FAR_PRIOR_POINTS = 0.5, 10.0
_NEXT_PRIOR, _NEXT_PRIOR_POINTS = 0.33, 6.0
"""Before anything is known, a far point is followed by another one time in three; worth six far points."""
_ODDS_EDGE = math.log(40.0)
_ODDS_INSIDE = math.log(1000.0)
_GREATEST_GAIN = math.log(100.0)
_STRAYS = 0.05


def margin(evidence: Evidence, bounds: Sequence[int], place: int, deviation: float) -> float | None:
    """By how much (in logarithms of odds) segment `place` exceeds what is demanded of a new level; below 0 it is none.

    None for segments that are no short excursions: long ones, and steps of a staircase.
    """
    start, end, count = bounds[place], bounds[place + 1], bounds[-1]
    length, last = end - start, len(bounds) - 2
    edge = place in (0, last)
    if last < 1 or length > _LONGEST or (edge and 2 * length > count):
        return None
    if place == 0 and length < _FEWEST_BEFORE:
        return -2.0
    levels = [evidence.stretch(a, b).median for a, b in zip(bounds, bounds[1:], strict=False)]  # noqa: RUF007 - faster
    if edge:
        usual = levels[1] if place == 0 else levels[place - 1]
        small = abs(levels[place] - usual) < min(_SMALL, _SMALL_DEVIATIONS * deviation) and length <= _SMALL_LONGEST
    else:
        away = min(abs(levels[place] - levels[place - 1]), abs(levels[place] - levels[place + 1]))
        if abs(levels[place - 1] - levels[place + 1]) > _RETURNED * away:
            return None
        usual = (levels[place - 1] + levels[place + 1]) / 2
        small = away < _SMALL and _SMALL_SHARE * length <= count
    if small:
        return -1.0
    others = last - (1 if edge else 2)
    prior = math.log((_PRIOR_POINTS + count) / (1 + _OTHER_CHANGES * others))
    odds = _burst_odds(evidence, bounds, place, deviation, (levels, usual))
    return odds - prior - (_ODDS_EDGE if edge else _ODDS_INSIDE)


def _burst_odds(
    evidence: Evidence, bounds: Sequence[int], place: int, deviation: float, told: tuple[Sequence[float], float]
) -> float:
    """Logarithm of how much likelier the points of a segment are as a level than as a burst of far points."""
    levels, usual = told
    start, end, count = bounds[place], bounds[place + 1], bounds[-1]
    away = evidence.stretch(start, end).mean - usual
    sign = 1.0 if away > 0 else -1.0
    away = abs(away)
    lengths = [b - a for a, b in zip(bounds, bounds[1:], strict=False)]  # noqa: RUF007 - faster
    residuals = (evidence.values - np.repeat(_surroundings(levels, lengths, sign * away), lengths)) * sign
    residuals[start:end] = 0.0
    far = residuals > max(_FAR * deviation, away / 2)
    known, pairs = int(np.count_nonzero(far)), int(np.count_nonzero(far[1:] & far[:-1]))
    begins = (known + _FAR_PRIOR) / (count - (end - start) + _FAR_PRIOR_POINTS)
    goes_on = (pairs + _NEXT_PRIOR * _NEXT_PRIOR_POINTS) / (known + _NEXT_PRIOR_POINTS)
    gains = _gains((evidence.values[start:end] - usual) * sign, away, deviation, residuals[far])
    # The level is fitted to the points: the one that gains most pays for it.
    gained = float(gains.sum() - gains.max())
    return gained - math.log(begins) - (end - start - 1) * math.log(goes_on)


def _surroundings(levels: Sequence[float], lengths: Sequence[int], away: float) -> list[float]:
    """The level that each segment's points are seen against: its own.

    Short ones that came back from about as far `away` are a habit of this series when there are several: they are seen
    against their neighbours, and their points are far.
    """
    found = list(levels)
    alike = []
    for place in range(1, len(levels) - 1):
        before, level, after = levels[place - 1 : place + 2]
        usual = (before + after) / 2
        if (
            lengths[place] <= _LONGEST
            and abs(level - usual - away) <= _ALIKE * abs(away)
            and (abs(before - after) <= _RETURNED * abs(away))
        ):
            alike.append((place, usual))
    if len(alike) >= _HABIT:
        for place, usual in alike:
            found[place] = usual
    return found


def _gains(points: Values, away: float, deviation: float, far: Values) -> Values:
    """By point, the logarithm of its density at a new level over that in a burst: anywhere, or where others were."""
    scale = max(away, _FAR * deviation)
    anywhere = 0.5 / scale / (1 + np.abs(points) / scale) ** 2
    burst = anywhere
    if len(far):
        burst = burst + normal_density(points[:, None] - far[None, :], 2 * deviation).sum(axis=1)
    level = (1 - _STRAYS) * normal_density(points - away, deviation) + _STRAYS * anywhere
    found: Values = np.minimum(np.log(level * (len(far) + 1) / burst), _GREATEST_GAIN)
    return found
