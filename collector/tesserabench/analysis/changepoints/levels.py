"""The best partition of a stretch into levels, by dynamic programming over a grid of levels.

A partition costs, for every point, its squared distance from its level in standard deviations, clipped at CLIP squared
(the biweight loss of Fearnhead and Rigaill 2019, "Changepoint detection in the presence of outliers"), and PENALTY for
every level but the first. A level has at least SHORTEST points. The program is exact on its grid, and takes the points
one after another: n points and m levels take n m steps, and one more point takes m.
"""

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Costs = NDArray[np.float32]
"""Half as much to move; costs add up to some thousands, and are told to a thousandth."""

MAD_TO_DEVIATION = 1.482602218505602
CLIP = 2.5
"""Residuals count up to this many standard deviations, so that a spike costs what any far point costs."""
SHORTEST = 3
"""Points that make a level."""
PENALTY = 11.0
"""Cost of one more level, in squared standard deviations; lower than what acceptance demands, so that it decides."""
CHECKPOINTS = (6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
"""Counts of points at which the deviation is estimated anew; between them one more point changes no earlier one."""
_CELLS = np.array([0.125, 0.375, 0.625, 0.875])
_NEAR, _SUPPORT = 4, 2
_TELLING = 24
_CHANCE = 4.0
_STRONGEST = 0.8
_SMALLEST_DEVIATION = 1e-4
_MOST, _PENALTY = np.float32(CLIP * CLIP), np.float32(PENALTY)
_AHEAD = SHORTEST - 1
_LARGEST_BATCH = 8_000
"""Levels of all stretches that are run together: their costs stay in the cache."""


def middle_of(values: Values) -> float:
    """Median; np.median does the same eight times slower on short arrays."""
    count = len(values)
    half = count // 2
    parts = values.copy()
    if count % 2:
        parts.partition(half)
        return float(parts[half])
    parts.partition((half - 1, half))
    return float((parts[half - 1] + parts[half]) / 2)


def checkpoint(count: int) -> int:
    """The largest checkpoint that `count` points have reached; `count` itself below the first."""
    place = bisect.bisect_right(CHECKPOINTS, count)
    return CHECKPOINTS[place - 1] if place else count


def deviation_of(values: Values) -> float:
    """Standard deviation of a point, from the median absolute difference of neighbours: steps and spikes count once.

    A timer's resolution makes most differences 0; then it is half the smallest step that is taken.
    """
    differences = np.abs(np.diff(values))
    if not len(differences):
        return _SMALLEST_DEVIATION
    found = MAD_TO_DEVIATION * middle_of(differences) / math.sqrt(2)
    found *= widening(values)
    if found < _SMALLEST_DEVIATION:
        moved = differences[differences > _SMALLEST_DEVIATION]
        if len(moved) > len(differences) // 8:
            found = float(moved.min()) / 2
    return max(found, _SMALLEST_DEVIATION)


def widening(values: Values) -> float:
    """By how much a point's deviation exceeds what differences of neighbours show, because those are correlated.

    A point two places away differs more than a neighbour when the series wanders: with correlation c the ratio of the
    squares is 1 + c. Medians make steps and spikes count once. What independent points show by chance is taken off.
    """
    count = len(values)
    if count < _TELLING:
        return 1.0
    near, far = middle_of(np.abs(np.diff(values))), middle_of(np.abs(values[2:] - values[:-2]))
    if near <= 0:
        return 1.0
    correlation = min((far / near) ** 2 - 1 - _CHANCE / math.sqrt(count), _STRONGEST)
    return 1 / math.sqrt(1 - correlation) if correlation > 0 else 1.0


def tried_blocks(points: Values) -> set[int]:
    """The blocks, each one deviation wide, whose levels are tried: two of _NEAR points in a row lie in it or beside."""
    blocks = np.floor(points)
    pairs = [(blocks[:-apart], blocks[apart:]) for apart in range(1, min(_NEAR, len(blocks)))]
    lowest = np.concatenate([np.maximum(*pair) - 1 for pair in pairs])
    highest = np.concatenate([np.minimum(*pair) + 1 for pair in pairs])
    told = [(lowest + more)[lowest + more <= highest] for more in range(_SUPPORT + 1)]
    return set(map(int, np.unique(np.concatenate(told)).tolist())) or {int(blocks[0])}


def grid_of(tried: Iterable[int]) -> Costs:
    """The levels of these blocks, in deviations and a quarter apart."""
    blocks = np.array(sorted(tried), dtype=np.float64)
    return np.asarray((blocks[:, None] + _CELLS).ravel(), dtype=np.float32)


@dataclass(slots=True)
class Program:
    """The state of the dynamic program for one stretch after `count` points."""

    deviation: float
    tried: set[int]
    """The blocks of levels."""
    latest: list[int]
    """Those that the latest points fall into."""
    origin: float
    """Levels and points count from here."""
    grid: Costs
    """Levels, in deviations."""
    count: int
    points: Costs
    """In deviations."""
    paid: Costs
    """Least cost of the first i points, with the penalty for going on at another level."""
    chosen: list[int]
    """The last level of that partition, as its place in the grid."""
    entry: Costs
    """By level: least cost of entering it, less the level's cumulative cost there."""
    recent: list[Costs]
    """Cumulative costs by level after the latest SHORTEST points and the one before them, newest last."""
    begins: dict[int, int] = field(default_factory=dict)
    """Where the last level of the best partition of the first i points begins, as far as anybody asked."""

    def append(self, value: float) -> bool:
        """Take one more point; False when it asks for levels that were not tried, and the program must run again."""
        place = (value - self.origin) / self.deviation
        block = math.floor(place)
        for other in self.latest:
            if not self.tried.issuperset(range(max(block, other) - 1, min(block, other) + 2)):
                return False
        self.latest = [*self.latest[-(_NEAR - 2) :], block]
        point = np.float32(place)
        distance = point - self.grid
        cumulative = self.recent[-1] + np.minimum(distance * distance, _MOST)
        self.recent = [*self.recent[1:], cumulative]
        self.points = np.append(self.points, point)
        self.count += 1
        self.entry = np.minimum(self.entry, self.paid[self.count - SHORTEST] - self.recent[0])
        total = cumulative + self.entry
        chosen = int(total.argmin())
        self.chosen.append(chosen)
        self.paid = np.append(self.paid, total[chosen] + _PENALTY)
        return True

    def proposal(self) -> list[int]:
        """Where new levels begin in the best partition of all points so far."""
        found: list[int] = []
        place = self.count
        while (place := self._begin_of(place)) > 0:
            found.append(place)
        return found[::-1]

    def _begin_of(self, end: int) -> int:
        """Where the last level begins in the best partition of the first `end` points."""
        begin = self.begins.get(end)
        if begin is None:
            level = self.grid[self.chosen[end]]
            distance = self.points[: end - SHORTEST] - level
            entered = self.paid[: end - SHORTEST + 1].copy()
            entered[1:] -= np.minimum(distance * distance, _MOST).cumsum()
            begin = self.begins[end] = int(entered.argmin())
        return begin


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What the program runs over."""

    points: Values
    """In deviations from the origin."""
    origin: float
    deviation: float
    tried: set[int]
    grid: Costs

    @classmethod
    def of(cls, values: Values, deviation: float) -> "_Stretch":
        points = (values - values[0]) / deviation
        tried = tried_blocks(points)
        return cls(points, float(values[0]), deviation, tried, grid_of(tried))


def run_programs(stretches: Sequence[Values], deviations: Sequence[float]) -> list[Program]:
    """The program over each stretch of SHORTEST points and more, all at once: the same as taking point after point."""
    told = [_Stretch.of(values, deviation) for values, deviation in zip(stretches, deviations, strict=True)]
    order = sorted(range(len(told)), key=lambda row: (-len(told[row].points), -len(told[row].grid)))
    found: dict[int, Program] = {}
    begin = 0
    while begin < len(order):
        end, widest = begin, 0
        while end < len(order):
            widest = max(widest, len(told[order[end]].grid))
            if end > begin and (end - begin + 1) * widest > _LARGEST_BATCH:
                break
            end += 1
        rows = order[begin:end]
        found.update(zip(rows, _run_batch([told[row] for row in rows]), strict=True))
        begin = end
    return [found[row] for row in range(len(told))]


def _run_batch(stretches: Sequence[_Stretch]) -> list[Program]:
    """One batch, longest first, SHORTEST points at a time: at what a level is entered by then is known before them.

    Smaller grids are filled up with their last level, which is never chosen before itself.
    """
    lengths = [len(one.points) for one in stretches]
    rows, turns, widest = len(stretches), -(-lengths[0] // SHORTEST), max(len(one.grid) for one in stretches)
    points = np.zeros((turns * SHORTEST, rows, 1), dtype=np.float32)
    levels = np.empty((rows, widest), dtype=np.float32)
    for row, one in enumerate(stretches):
        points[: lengths[row], row, 0] = one.points
        levels[row, : len(one.grid)], levels[row, len(one.grid) :] = one.grid, one.grid[-1]
    # By count of points, _AHEAD further on: before the first point there is nothing to come from.
    paid = np.full((_AHEAD + 1 + turns * SHORTEST, rows), np.inf, dtype=np.float32)
    paid[_AHEAD] = 0.0
    chosen = np.zeros((1 + turns * SHORTEST, rows), dtype=np.intp)
    shape = (SHORTEST, rows, widest)
    costs, before, total = (np.zeros(shape, dtype=np.float32) for _ in range(3))
    entries, entries_before = np.empty(shape, dtype=np.float32), np.full(shape, np.inf, dtype=np.float32)
    starts = widest * np.arange(SHORTEST * rows).reshape(SHORTEST, rows)
    states: list[tuple[Costs, list[Costs]]] = []
    active = rows
    for first in range(0, turns * SHORTEST, SHORTEST):
        last = first + SHORTEST
        np.subtract(points[first:last], levels, out=costs)
        np.multiply(costs, costs, out=costs)
        np.minimum(costs, _MOST, out=costs)
        np.subtract(paid[first:last, :, None], before, out=entries)
        reached, known = before[-1], entries_before[-1]
        for cumulative, entry in zip(costs, entries, strict=True):
            np.add(reached, cumulative, out=cumulative)
            np.minimum(known, entry, out=entry)
            reached, known = cumulative, entry
        np.add(costs, entries, out=total)
        best = total.argmin(axis=2)
        chosen[first + 1 : last + 1] = best
        paid[_AHEAD + first + 1 : _AHEAD + last + 1] = total.take(best + starts) + _PENALTY
        while active and lengths[active - 1] <= last:
            active -= 1
            width, at = len(stretches[active].grid), lengths[active] - first - 1
            latest = [*before[at:, active, :width], *costs[: at + 1, active, :width]]
            states.append((entries[at, active, :width].copy(), [one.copy() for one in latest]))
        costs, before = before, costs
        entries, entries_before = entries_before, entries
    return [
        Program(
            deviation=one.deviation,
            tried=one.tried,
            latest=[math.floor(point) for point in one.points[1 - _NEAR :]],
            origin=one.origin,
            grid=one.grid,
            count=lengths[row],
            points=points[: lengths[row], row, 0].copy(),
            paid=paid[_AHEAD : _AHEAD + lengths[row] + 1, row].copy(),
            chosen=chosen[: lengths[row] + 1, row].tolist(),
            entry=entry,
            recent=recent,
        )
        for row, (one, (entry, recent)) in enumerate(zip(stretches, reversed(states), strict=True))
    ]
