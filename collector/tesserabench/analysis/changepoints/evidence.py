"""How much evidence there is for one step between two levels, as a multiple of what is demanded."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tesserabench.analysis.changepoints.hosts import lone_move
from tesserabench.analysis.changepoints.levels import CLIP, MAD_TO_DEVIATION, Values, middle_of
from tesserabench.analysis.changepoints.location import Location, locate
from tesserabench.analysis.changepoints.stretches import Stretch, measure

_DEMANDED = 3.75
"""Standard errors, for two sides of seven and more points in a window of 150."""
_DEMANDED_MORE = 0.225
"""More, for every point that the shorter side has less than seven: few points have fat tails."""
FULL_SIDE = 7
_USUAL_WINDOW = 150
_LONG_WINDOW = 4.5
_FEW_POINTS = 17.0
_VERY_FEW_POINTS = 10.0
_APART = 3.0
_FLIPS = 3
_SHARE_FACTOR = 1.45
"""Shares have no fat tails: three standard errors of them are worth four of a mean."""
_LINE_FROM = 6
_LINE_BETTER = 0.95
_FAR = 9.0
_WANDERING = 3.4
"""Errors by which a step must explain more than correlation alone; less than _DEMANDED, as that takes a part of it."""
_WANDERING_CLIP = 3.0
_STRONGEST = 0.99
_TINY = 1e-9


@functools.lru_cache(maxsize=4096)
def demanded(shorter: int, count: int) -> float:
    """Standard errors that a step must exceed, with `shorter` points on its shorter side and `count` in the window.

    More in a long window, where there are more places to be wrong at (the square grows with the logarithm), and in a
    very short one, whose noise is hardly known.
    """
    scan = math.sqrt(_DEMANDED**2 + _LONG_WINDOW * math.log(max(1.0, count / _USUAL_WINDOW)))
    known = 1 + _FEW_POINTS / count + (_VERY_FEW_POINTS / count) ** 2
    return (scan + _DEMANDED_MORE * max(0, FULL_SIDE - shorter)) * known


@dataclass(slots=True)
class Evidence:
    """The points of a window, and what was found out about stretches of them."""

    values: Values
    deviation: float
    smallest: float
    """Steps below this are no changes, in logarithms."""
    strictness: float
    hosts: Sequence[str] | None = None
    """Of the points, where they are known."""
    stretches: dict[tuple[int, int], Stretch] = field(default_factory=dict)
    errors: dict[tuple[int, int, int], float] = field(default_factory=dict)
    """What was worked out about steps, by where the levels beside them begin and end."""
    lines: dict[tuple[int, int, int], bool] = field(default_factory=dict)
    wanderings: dict[tuple[int, int, int], float] = field(default_factory=dict)
    located: dict[tuple[int, int, int, float], Location] = field(default_factory=dict)
    moves: dict[tuple[int, int, int], tuple[str, float] | None] = field(default_factory=dict)

    def stretch(self, start: int, end: int) -> Stretch:
        """The points of [start, end) as one level."""
        found = self.stretches.get((start, end))
        if found is None:
            found = self.stretches[start, end] = measure(self.values[start:end], self.deviation)
        return found

    def step(self, left: int, place: int, right: int) -> float:
        """The evidence for a step at `place` between [left, place) and [place, right).

        As a multiple of what is demanded when points are independent; correlation divides it by its factor.
        """
        key = (left, place, right)
        errors = self.errors.get(key)
        if errors is None:
            errors = self.errors[key] = self._errors(left, place, right)
        shorter = min(place - left, right - place, FULL_SIDE)
        return errors / (demanded(shorter, len(self.values)) * self.strictness)

    def _errors(self, left: int, place: int, right: int) -> float:
        """By how many standard errors a step exceeds the smallest change."""
        before, after = self.stretch(left, place), self.stretch(place, right)
        effect = abs(after.mean - before.mean)
        error = math.sqrt(before.deviation**2 / before.count + after.deviation**2 / after.count)
        if effect <= self.smallest:
            return 0.0
        # What counts is how far it exceeds the smallest change; a step just above it takes overwhelming evidence.
        beyond = math.sqrt(effect * effect - self.smallest * self.smallest)
        errors = beyond / error
        if effect > _APART * min(before.deviation, after.deviation):
            errors = min(errors, _SHARE_FACTOR * self._share_errors(left, place, right))
        return errors

    def _share_errors(self, left: int, place: int, right: int) -> float:
        """Standard errors between the shares of points that stand nearer to the new level, on either side.

        For levels far apart, when some points stand at the other level: a series with two modes flips between them all
        the time, and has changed only when it does so at another rate.
        """
        before, after = self.stretch(left, place), self.stretch(place, right)
        reach = abs(after.mean - before.mean) / 2
        points = self.values[left:right]
        there = np.abs(points - after.mean) < reach
        early, late = int(np.count_nonzero(there[: before.count])), int(np.count_nonzero(there[before.count :]))
        still = int(np.count_nonzero(np.abs(points[before.count :] - before.mean) < reach))
        if early < _FLIPS and still < _FLIPS:
            return math.inf
        share = (early + late) / (before.count + after.count)
        spread = math.sqrt(share * (1 - share) * (1 / before.count + 1 / after.count))
        return max(0.0, late / after.count - early / before.count) / spread if spread > 0 else math.inf

    def location(self, left: int, place: int, right: int, factor: float) -> Location:
        """Where the step near `place` is; correlation widens errors by `factor`, of which tenths count."""
        key = (left, place, right, round(factor, 1))
        found = self.located.get(key)
        if found is None:
            before, after = self.stretch(left, place), self.stretch(place, right)
            found = self.located[key] = locate(self.values[left:right], before, after, left, key[-1])
        return found

    def beyond_wandering(self, left: int, place: int, right: int) -> float:
        """How much more two levels explain than a series that wanders by itself, as a multiple of what is demanded.

        The root of the likelihood ratio of a first-order autoregression around two levels against one around a single
        level. Correlation cannot hide in the step here, as it does when it is told from what the levels leave.
        """
        key = (left, place, right)
        found = self.wanderings.get(key)
        if found is None:
            found = self.wanderings[key] = self._against_wandering(left, place, right)
        return found

    def _against_wandering(self, left: int, place: int, right: int) -> float:
        sides = self.stretch(left, place), self.stretch(place, right)
        parts = []
        for side, values in zip(sides, (self.values[left:place], self.values[place:right]), strict=True):
            most = _WANDERING_CLIP * side.deviation
            parts.append(np.minimum(np.maximum(values - side.mean, -most), most))
        around_two = np.concatenate(parts)
        around_one = around_two.copy()
        around_one[place - left :] += sides[1].mean - sides[0].mean
        around_one -= float(around_one.sum()) / len(around_one)
        least = _TINY * len(around_two) * self.deviation**2
        ratio = (_innovations(around_one) + least) / (_innovations(around_two) + least)
        return math.sqrt(len(around_two) * math.log(ratio)) / (_WANDERING * self.strictness) if ratio > 1 else 0.0

    def lone_move(self, left: int, place: int, right: int) -> tuple[str, float] | None:
        """The host that alone moved at a step, and by how much."""
        if self.hosts is None:
            return None
        key = (left, place, right)
        if key not in self.moves:
            before, after = self.values[left:place], self.values[place:right]
            self.moves[key] = lone_move(before, after, self.hosts[left:right])
        return self.moves[key]

    def is_line(self, left: int, place: int, right: int) -> bool:
        """Whether a straight line fits both sides better than two levels do; short sides are none to tell by."""
        if min(place - left, right - place) < _LINE_FROM:
            return False
        key = (left, place, right)
        if key not in self.lines:
            self.lines[key] = self._fits_line(left, place, right)
        return self.lines[key]

    def _fits_line(self, left: int, place: int, right: int) -> bool:
        before, after = self.stretch(left, place), self.stretch(place, right)
        deviation = max(before.deviation, after.deviation)
        both = self.values[left:right] - before.median
        line = robust_line(both)
        levels = np.concatenate([self.values[left:place] - before.median, self.values[place:right] - after.median])
        as_line = np.minimum(((both - line) / deviation) ** 2, _FAR).sum()
        as_levels = np.minimum((levels / deviation) ** 2, _FAR).sum()
        return bool(as_line <= _LINE_BETTER * as_levels)


def _innovations(residuals: Values) -> float:
    """The squares that the best first-order autoregression leaves of a stretch."""
    squares = float(residuals[:-1] @ residuals[:-1])
    if squares <= 0:
        return float(residuals @ residuals)
    correlation = min(max(float(residuals[1:] @ residuals[:-1]) / squares, 0.0), _STRONGEST)
    left = residuals[1:] - correlation * residuals[:-1]
    return float(left @ left) + (1 - correlation * correlation) * float(residuals[0]) ** 2


def robust_line(values: Values) -> Values:
    """A straight line through `values`: least squares, and again with far points pulled in."""
    time = np.arange(len(values)) - (len(values) - 1) / 2
    scale = float(time @ time)
    line = time * (float(time @ values) / scale) + float(values.sum()) / len(values)
    width = CLIP * (MAD_TO_DEVIATION * middle_of(np.abs(values - line)) + 1e-12)
    pulled = np.minimum(np.maximum(values, line - width), line + width)
    return np.asarray(time * (float(time @ pulled) / scale) + float(pulled.sum()) / len(values), dtype=np.float64)
