"""How many separate levels samples cluster at: a test for valleys that does not cry wolf.

A density with one peak is, between any two points, at least as high as at the lower of the two. So where the samples
are cut in two (Otsu 1979: the cut with the largest variance between the halves), three bands of equal width are
counted: around the median of either half, and in the middle between them. Under one peak the middle band expects at
least as many samples as the emptier of the others; a sign test says how surprising fewer are. No shape is assumed:
skew, long tails and a flat top are no second level.
"""

import bisect
import itertools
import math
from collections.abc import Sequence

LEAST_SAMPLES = 20
LEAST_SHARE = 0.1
"""A level that holds fewer of the samples is a tail."""
SURPRISE = 2e-3
"""Largest probability, under one peak, of a valley that counts: the cut was chosen where the valley is deepest."""
TRIM = 0.025
"""Part of the samples on either side that cannot shift the cut: spikes are no level."""


def count_levels(ordered: Sequence[float], independent: float | None = None) -> int | None:
    """Return how many separate levels sorted values have at least, or None when there are too few to tell.

    `independent` is how many independent values would say as much: samples that follow each other clump by themselves.
    """
    if len(ordered) < LEAST_SAMPLES:
        return None
    weight = 1.0 if independent is None else min(1.0, independent / len(ordered))
    return _levels(ordered, weight, max(LEAST_SAMPLES // 4, math.ceil(LEAST_SHARE * len(ordered))))


def _levels(ordered: Sequence[float], weight: float, least: int) -> int:
    if len(ordered) < 2 * least:
        return 1
    cut = _otsu(ordered, least)
    if cut is None:
        return 1
    found = _levels(ordered[:cut], weight, least) + _levels(ordered[cut:], weight, least)
    # Without a valley both sides belong to one level; either may have another one beyond it.
    return found if _valley(ordered, cut, weight) else found - 1


def _otsu(ordered: Sequence[float], least: int) -> int | None:
    """Return the index that splits sorted values with the largest variance between the parts, each of some size."""
    count = len(ordered)
    edge = int(TRIM * count)
    low, high = ordered[edge], ordered[count - 1 - edge]
    origin = ordered[count // 2]
    sums = list(itertools.accumulate(min(max(value, low), high) - origin for value in ordered))
    best, found = 0.0, None
    for index in range(least, count - least + 1):
        if ordered[index - 1] == ordered[index]:
            continue
        gap = (sums[-1] - sums[index - 1]) / (count - index) - sums[index - 1] / index
        between = index * (count - index) * gap * gap
        if between > best:
            best, found = between, index
    return found


def _valley(ordered: Sequence[float], cut: int, weight: float) -> bool:
    """Tell whether the middle between the medians of both parts is emptier than chance allows under one peak."""
    lower, upper = ordered[cut // 2], ordered[(cut + len(ordered)) // 2]
    width = (upper - lower) / 3
    if width < 2 * _step(ordered):
        # Levels one timer step apart are the timer's.
        return False
    peak = min(_within(ordered, lower, width), _within(ordered, upper, width)) * weight
    valley = _within(ordered, (lower + upper) / 2, width) * weight
    return _at_most(round(valley), round(valley) + round(peak)) <= SURPRISE


def _within(ordered: Sequence[float], centre: float, width: float) -> int:
    return bisect.bisect_right(ordered, centre + width / 2) - bisect.bisect_left(ordered, centre - width / 2)


def _step(ordered: Sequence[float]) -> float:
    """Return the median distance between neighbouring values: the timer's step where all values lie on its grid."""
    gaps = sorted(b - a for a, b in itertools.pairwise(ordered) if b > a)
    return gaps[len(gaps) // 2] if gaps else 0.0


def _at_most(successes: int, trials: int) -> float:
    """Return P(Binomial(trials, 1/2) <= successes)."""
    if trials == 0:
        return 1.0
    logs = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) - trials * math.log(2)
        for k in range(successes + 1)
    )
    return math.fsum(map(math.exp, logs))
