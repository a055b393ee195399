"""Launches in two clusters, such as a kernel that takes 22.5 or 25.5 ms for one and the same code.

A mean over such launches says how many of each there happened to be. Instead the positions of the modes are compared,
each mode with itself, and apart from that how often each occurs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tesserabench.analysis.levels import Level

_FEWEST = 6
"""Values that both sides together need before they can show two modes."""
_CLEAR = 6.0
"""The gap between modes, in deviations within them: fewer, and the gaps of ordinary noise would do."""
_RESOLUTION = 0.0005
_ALIKE = 0.75
"""Gaps of the two sides that differ by more than this belong to other modes."""
_SHARES_DIFFER = 0.05
"""Error of calling the shares different."""
_SHARES_AGREE = 0.2
"""Shares as unequal as this once in five times may be different ones as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Where two modes part, in log units."""

    between: float
    """Values above it are in the upper mode."""
    gap: float
    """How far the means of the modes are apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """Two modes on each side, the upper one moved onto the lower."""

    base_split: Split
    head_split: Split
    base_upper: int
    base_count: int
    head_upper: int
    head_count: int
    base: list[Level]
    head: list[Level]
    history: list[float]

    @property
    def gap(self) -> float:
        """How far the modes are apart, in log units."""
        return (self.base_split.gap + self.head_split.gap) / 2

    @property
    def mix_changed(self) -> bool:
        """Whether the upper mode is rarer or more frequent on one side than chance explains."""
        return self._mix_p_value < _SHARES_DIFFER

    @property
    def mix_unclear(self) -> bool:
        """Whether nobody can tell if one side has more of the upper mode."""
        return _SHARES_DIFFER <= self._mix_p_value < _SHARES_AGREE

    @property
    def _mix_p_value(self) -> float:
        return mix_p_value(self.base_upper, self.base_count, self.head_upper, self.head_count)


def split_of(base: Sequence[float], head: Sequence[float], *, smallest: float) -> Split | None:
    """Where the logarithms of both sides part into two modes; None when they do not.

    Both modes need two values and one side both of them: two sides of one mode each are a change. Values need not be
    clean otherwise: the gap must stand out from the spread within the modes.

    Args:
        base: Logarithms of the base.
        head: Logarithms of the head.
        smallest: Modes closer than this matter to nobody.
    """
    values = sorted([*base, *head])
    if len(values) < _FEWEST:
        return None
    candidates = range(2, len(values) - 1)
    place = max(candidates, key=lambda index: values[index] - values[index - 1])
    low, high = values[:place], values[place:]
    within = _spread(low, high)
    between = (low[-1] + high[0]) / 2
    mixed = any(min(side) < between < max(side) for side in (base, head) if side)
    gap = math.fsum(high) / len(high) - math.fsum(low) / len(low)
    empty = high[0] - low[-1]
    clear = empty > _CLEAR * within and empty > smallest
    return Split(between=between, gap=gap) if mixed and clear else None


def aligned_levels(
    base: Sequence[Level], head: Sequence[Level], history: Sequence[float], *, smallest: float
) -> Modes | None:
    """Both sides with the upper mode moved onto the lower; None when there are no two modes.

    Args:
        base: Levels of the base.
        head: Levels of the head.
        history: Levels of earlier runs, as logarithms.
        smallest: Modes closer than this matter to nobody.
    """
    splits = _splits([level.value for level in base], [level.value for level in head], smallest)
    if splits is None:
        return None
    ours, theirs = splits
    return Modes(
        base_split=ours,
        head_split=theirs,
        base_upper=sum(level.value > ours.between for level in base),
        base_count=len(base),
        head_upper=sum(level.value > theirs.between for level in head),
        head_count=len(head),
        base=[_moved(level, ours) for level in base],
        head=[_moved(level, theirs) for level in head],
        history=[value - ours.gap if value > ours.between else value for value in history],
    )


def _splits(base: Sequence[float], head: Sequence[float], smallest: float) -> tuple[Split, Split] | None:
    """Where each side parts: at one place, or each at its own when the whole side has moved."""
    together = split_of(base, head, smallest=smallest)
    if together is not None:
        return together, together
    ours, theirs = (split_of(side, (), smallest=smallest) for side in (base, head))
    if ours is None or theirs is None or not _ALIKE < ours.gap / theirs.gap < 1 / _ALIKE:
        return None
    return ours, theirs


def _moved(level: Level, split: Split) -> Level:
    return replace(level, value=level.value - split.gap) if level.value > split.between else level


def mix_p_value(base_upper: int, base_count: int, head_upper: int, head_count: int) -> float:
    """Fisher's exact test, two-sided: the probability of shares at least as unequal when they are equal."""
    upper, count = base_upper + head_upper, base_count + head_count

    def weight(at_base: int) -> int:
        return math.comb(base_count, at_base) * math.comb(head_count, upper - at_base)

    seen = weight(base_upper)
    possible = range(max(0, upper - head_count), min(base_count, upper) + 1)
    return sum(weight(at_base) for at_base in possible if weight(at_base) <= seen) / math.comb(count, upper)


def _spread(low: Sequence[float], high: Sequence[float]) -> float:
    squares = 0.0
    for mode in (low, high):
        middle = math.fsum(mode) / len(mode)
        squares += math.fsum((value - middle) ** 2 for value in mode)
    return max(_RESOLUTION, math.sqrt(squares / (len(low) + len(high) - 2)))
