"""The best partition of a stretch into levels, by dynamic programming over a grid of levels.

A partition costs, for every point, its squared distance from its level in standard deviations, clipped at CLIP squared
(the biweight loss of Fearnhead and Rigaill 2019, "Changepoint detection in the presence of outliers"), and PENALTY for
every level but the first. A level has at least SHORTEST points. The program is exact on its grid, and takes the points
one after another: n points and m levels take n m steps, and one more point takes m.
"""

import bisect
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Places = NDArray[np.intp]

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
_SUPPORT = 2
_TELLING = 24
_CHANCE = 4.0
_STRONGEST = 0.8
_SMALLEST_DEVIATION = 1e-4
_LARGEST_BATCH = 4_000_000


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
    found = MAD_TO_DEVIATION * float(np.median(differences)) / math.sqrt(2)
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
    near, far = float(np.median(np.abs(np.diff(values)))), float(np.median(np.abs(values[2:] - values[:-2])))
    if near <= 0:
        return 1.0
    correlation = min((far / near) ** 2 - 1 - _CHANCE / math.sqrt(count), _STRONGEST)
    return 1 / math.sqrt(1 - correlation) if correlation > 0 else 1.0


def block_of(value: float, deviation: float) -> int:
    """Levels come in blocks of one deviation: the block that a value falls into."""
    return math.floor(value / deviation)


def is_tried(counts: Mapping[int, int], block: int) -> bool:
    """Whether the levels of a block are tried: two points lie in it or beside it."""
    return counts.get(block - 1, 0) + counts.get(block, 0) + counts.get(block + 1, 0) >= _SUPPORT


def count_blocks(values: Values, deviation: float) -> dict[int, int]:
    """By block, how many of the points fall into it."""
    found, counts = np.unique(np.floor(values / deviation), return_counts=True)
    return dict(zip(map(int, found.tolist()), counts.tolist(), strict=True))


def grid_of(counts: Mapping[int, int]) -> Values:
    """The levels that are tried, in deviations and a quarter apart; a level has SHORTEST points, so two are near it."""
    tried = sorted({near for block in counts for near in (block - 1, block, block + 1) if is_tried(counts, near)})
    blocks = np.array(tried or sorted(counts)[:1], dtype=np.float64)
    return np.asarray((blocks[:, None] + _CELLS).ravel(), dtype=np.float64)


@dataclass(slots=True)
class Program:
    """The state of the dynamic program for one stretch after `count` points."""

    deviation: float
    counts: dict[int, int]
    """By block of levels, how many points fall into it."""
    grid: Values
    """Levels, in deviations."""
    count: int
    best: list[float]
    """Least cost of the first i points."""
    back: list[int]
    """Where the last level of that partition begins."""
    entry: Values
    """By level: least cost of entering it, less the level's cumulative cost there."""
    begun: Places
    """By level: where it was entered."""
    recent: list[Values]
    """Cumulative costs by level after the latest points, newest last."""

    def append(self, value: float) -> bool:
        """Take one more point; False when it asks for levels that were not tried, and the program must run again."""
        block = block_of(value, self.deviation)
        tried = [near for near in (block - 1, block, block + 1) if is_tried(self.counts, near)]
        self.counts[block] = self.counts.get(block, 0) + 1
        if any(is_tried(self.counts, near) and near not in tried for near in (block - 1, block, block + 1)):
            return False
        distance = value / self.deviation - self.grid
        cumulative = self.recent[-1] + np.minimum(distance * distance, CLIP * CLIP)
        self.recent.append(cumulative)
        self.count += 1
        start = self.count - SHORTEST
        if start >= 0:
            candidate = (self.best[start] + (PENALTY if start else 0.0)) - self.recent[-1 - SHORTEST]
            better = candidate < self.entry
            self.entry = np.minimum(self.entry, candidate)
            np.copyto(self.begun, start, where=better)
        total = cumulative + self.entry
        chosen = int(total.argmin())
        self.best.append(float(total[chosen]))
        self.back.append(int(self.begun[chosen]))
        del self.recent[: -1 - SHORTEST]
        return True

    def proposal(self) -> list[int]:
        """Where new levels begin in the best partition of all points so far."""
        found: list[int] = []
        place = self.count
        while place > 0:
            place = self.back[place]
            if place > 0:
                found.append(place)
        return found[::-1]


def run_programs(stretches: Sequence[Values], deviations: Sequence[float]) -> list[Program]:
    """The program over each stretch, all at once: the same as taking point after point."""
    counts = [count_blocks(values, deviation) for values, deviation in zip(stretches, deviations, strict=True)]
    grids = [grid_of(told) for told in counts]
    found: list[Program] = []
    begin = 0
    while begin < len(stretches):
        end, widest, longest = begin, 0, 0
        while end < len(stretches):
            widest, longest = max(widest, len(grids[end])), max(longest, len(stretches[end]))
            if end > begin and (end - begin + 1) * widest * longest > _LARGEST_BATCH:
                break
            end += 1
        found += _run_batch(stretches[begin:end], deviations[begin:end], counts[begin:end], grids[begin:end])
        begin = end
    return found


def _run_batch(
    stretches: Sequence[Values],
    deviations: Sequence[float],
    counts: Sequence[dict[int, int]],
    grids: Sequence[Values],
) -> list[Program]:
    """One batch; shorter stretches and smaller grids are filled up with what changes nothing before it."""
    rows, longest, widest = len(stretches), max(map(len, stretches)), max(map(len, grids))
    points = np.zeros((longest, rows, 1))
    levels = np.full((rows, widest), np.inf)
    for row, (values, grid) in enumerate(zip(stretches, grids, strict=True)):
        points[: len(values), row, 0] = values / deviations[row]
        levels[row, : len(grid)] = grid
    best, back = np.zeros((longest + 1, rows)), np.zeros((longest + 1, rows), dtype=np.intp)
    entry, begun = np.full((rows, widest), np.inf), np.zeros((rows, widest), dtype=np.intp)
    total, better = np.empty((rows, widest)), np.empty((rows, widest), dtype=np.bool_)
    # Cumulative costs of the latest points alone: what is small stays in the cache.
    recent = deque((np.zeros((rows, widest)) for _ in range(SHORTEST + 1)), maxlen=SHORTEST + 1)
    lengths = [len(values) for values in stretches]
    states: dict[int, tuple[Values, Places, list[Values]]] = {}
    ends = set(lengths)
    row_numbers = np.arange(rows)
    for count in range(1, longest + 1):
        cumulative = recent[0]
        np.subtract(points[count - 1], levels, out=cumulative)
        np.multiply(cumulative, cumulative, out=cumulative)
        np.minimum(cumulative, CLIP * CLIP, out=cumulative)
        np.add(recent[-1], cumulative, out=cumulative)
        recent.append(cumulative)
        start = count - SHORTEST
        if start >= 0:
            np.subtract((best[start] + (PENALTY if start else 0.0))[:, None], recent[0], out=total)
            np.less(total, entry, out=better)
            np.minimum(entry, total, out=entry)
            np.copyto(begun, start, where=better)
        np.add(cumulative, entry, out=total)
        chosen = total.argmin(axis=1)
        best[count] = total[row_numbers, chosen]
        back[count] = begun[row_numbers, chosen]
        if count in ends:
            states[count] = entry.copy(), begun.copy(), [one.copy() for one in recent]
    return [
        Program(
            deviation=deviations[row],
            counts=counts[row],
            grid=grids[row],
            count=count,
            best=best[: count + 1, row].tolist(),
            back=back[: count + 1, row].tolist(),
            entry=states[count][0][row, : len(grids[row])].copy(),
            begun=states[count][1][row, : len(grids[row])].copy(),
            recent=[one[row, : len(grids[row])].copy() for one in states[count][2][-1 - count :]],
        )
        for row, count in enumerate(lengths)
    ]
