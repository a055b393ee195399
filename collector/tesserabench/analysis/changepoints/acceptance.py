"""Which of the proposed steps are changes: weakest first, those that noise explains as well are taken out."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from tesserabench.analysis.changepoints.levels import CLIP, MAD_TO_DEVIATION, Values

_EVIDENCE = 4.2
_EVIDENCE_SHORT = 5.0
_SHORT = 5
_LOCAL = 10
_CORRELATED_FROM = 16
_LAGS = 8
_EDGE_BURST = 7
_BURST = 24
_BURST_CHANCE = 0.01


def robust_mean(values: Values, deviation: float) -> float:
    """Mean of values clipped around their median."""
    middle = np.median(values)
    return float(middle + np.mean(np.clip(values - middle, -CLIP * deviation, CLIP * deviation)))


def robust_deviation(values: Values) -> float:
    """Standard deviation from the median absolute deviation."""
    return float(MAD_TO_DEVIATION * np.median(np.abs(values - np.median(values))))


def inflation(values: Values, bounds: Sequence[int], deviation: float) -> float:
    """Square root of the long-run variance over the variance of a point, from the correlation inside segments."""
    products = np.zeros(_LAGS + 1)
    for start, end in itertools.pairwise(bounds):
        if end - start >= _CORRELATED_FROM:
            part = values[start:end]
            residual = np.clip(part - np.median(part), -3 * deviation, 3 * deviation)
            products += [float(residual[lag:] @ residual[: len(residual) - lag]) for lag in range(_LAGS + 1)]
    if products[0] <= 0:
        return 1.0
    counted = sum(end - start for start, end in itertools.pairwise(bounds) if end - start >= _CORRELATED_FROM)
    total = 0.0
    for correlation in products[1:] / products[0]:
        if correlation <= 0.03:
            break
        total += float(correlation)
    return math.sqrt(1 + 2 * min(max(0.0, total - 1 / math.sqrt(counted)), 3.0))


def strengths(values: Values, bounds: Sequence[int], deviation: float, smallest: float) -> tuple[list[float], float]:
    """For every inner bound the evidence as a multiple of what is demanded, and the deviation inside segments."""
    residuals = np.concatenate([np.abs(values[a:b] - np.median(values[a:b])) for a, b in itertools.pairwise(bounds)])
    inside = max(float(MAD_TO_DEVIATION * np.median(residuals)), 0.5 * deviation, 1e-5)
    factor = inflation(values, bounds, inside)
    found = []
    for left, middle, right in zip(bounds, bounds[1:], bounds[2:], strict=False):
        before, after = values[left:middle], values[middle:right]
        found.append(_strength(before, after, inside, factor, smallest))
    return found, inside


def _strength(before: Values, after: Values, inside: float, factor: float, smallest: float) -> float:
    effect = abs(robust_mean(after, inside) - robust_mean(before, inside))
    spreads = [max(robust_deviation(side), 0.5 * inside) if len(side) >= _LOCAL else inside for side in (before, after)]
    error = math.sqrt(spreads[0] ** 2 / len(before) + spreads[1] ** 2 / len(after)) * factor
    short = min(len(before), len(after))
    strength = effect / error / (_EVIDENCE if short >= _SHORT else _EVIDENCE_SHORT)
    if effect < smallest:
        strength = min(strength, 0.99 * effect / smallest)
    if short > _SHORT and strength >= 1 and line_explains(before, after, inside):
        return 0.98
    return strength


def line_explains(before: Values, after: Values, deviation: float) -> bool:
    """Whether a straight line fits both sides together as well as two levels do."""
    both = np.concatenate([before, after])
    time = np.arange(len(both)) - len(both) / 2
    centred = both - np.median(both)
    line = np.polyval(np.polyfit(time, centred, 1), time)
    width = CLIP * (float(MAD_TO_DEVIATION * np.median(np.abs(centred - line))) + 1e-12)
    line = np.polyval(np.polyfit(time, np.clip(centred, line - width, line + width), 1), time)
    levels = np.concatenate([before - np.median(before), after - np.median(after)])
    as_line = np.minimum(((centred - line) / deviation) ** 2, 9).sum()
    return bool(as_line <= np.minimum((levels / deviation) ** 2, 9).sum())


def _burst(values: Values, bounds: Sequence[int], place: int, deviation: float) -> float:
    """How far segment `place` exceeds a burst of far points as the rest of the history has them; below 1 it is one."""
    start, end = bounds[place], bounds[place + 1]
    length = end - start
    edge = place == 0 or place == len(bounds) - 2
    if length > (_EDGE_BURST if edge else _BURST) or len(bounds) <= 2:
        return math.inf
    medians = [float(np.median(values[a:b])) for a, b in itertools.pairwise(bounds)]
    if not edge:
        smaller = min(abs(medians[place] - medians[place - 1]), abs(medians[place] - medians[place + 1]))
        if abs(medians[place - 1] - medians[place + 1]) > 0.5 * smaller:
            return math.inf
    far = np.zeros(len(values), dtype=bool)
    for other, (a, b) in enumerate(itertools.pairwise(bounds)):
        if other != place:
            far[a:b] = np.abs(values[a:b] - medians[other]) > 3 * deviation
    count, pairs = int(far.sum()), int((far[1:] & far[:-1]).sum())
    share = (count + 0.5) / (len(values) - length + 10)
    next_too = (pairs + 0.6) / (count + 4)
    return (math.log(len(values) * share) + (length - 1) * math.log(next_too)) / math.log(_BURST_CHANCE)


def accepted(
    values: Values, proposed: Sequence[int], deviation: float, smallest: float
) -> tuple[list[int], list[float], list[tuple[int, int]]]:
    """The steps that stand, their strengths, and the excursions that were taken out as bursts."""
    kept, bursts = list(proposed), list[tuple[int, int]]()
    while kept:
        bounds = [0, *kept, len(values)]
        found, inside = strengths(values, bounds, deviation, smallest)
        weakest = int(np.argmin(found))
        if found[weakest] < 1:
            kept.pop(weakest)
            continue
        excess, place = min((_burst(values, bounds, place, inside), place) for place in range(len(bounds) - 1))
        if excess >= 1:
            return kept, found, bursts
        bursts.append((bounds[place], bounds[place + 1]))
        kept = [index for index in kept if index not in (bounds[place], bounds[place + 1])]
    return [], [], bursts
