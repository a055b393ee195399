"""The windows of a history, put together.

Windows overlap by half. Each answers for the middle of its points, up to a seam, and the newest for everything after
the last seam. A change near a seam that both windows see counts once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tesserabench.analysis.changepoints.levels import Values, middle_of
from tesserabench.analysis.changepoints.location import Location
from tesserabench.analysis.changepoints.model import (
    ChangePoint,
    Drift,
    HostMove,
    Segment,
    SeriesAnalysis,
    Status,
    Transient,
)
from tesserabench.analysis.changepoints.noise import describe, slope_of
from tesserabench.analysis.changepoints.windows import SIZE, STRIDE, Window

SEAM = SIZE - (SIZE - STRIDE) // 2
"""A full window answers for its points before this one."""
_SEAM_BEFORE = SEAM - STRIDE
_SAME = 8
"""Places this close are the same change, seen by two windows."""
_CONFIRMING, _CONFIRMING_STRONG, _STRONG = 8, 5, 1.5
"""Points that confirm a level; fewer do when the evidence for it is so many times what is demanded."""
_RETURNED = 0.5
_DRIFT_ERRORS = 6.0
_DRIFT_LEAVES = 0.75


@dataclass(slots=True)
class Assembly:
    """What is known so far; copied before the newest window, whose answer may still change, is added."""

    segments: list[Segment] = field(default_factory=list)
    changes: list[ChangePoint] = field(default_factory=list)
    drifts: list[Drift] = field(default_factory=list)
    transients: list[Transient] = field(default_factory=list)
    open_from: int = 0
    """Where the segment began that has not ended, counting points that have a value."""

    def copy(self) -> "Assembly":
        """Another one, to which more can be added."""
        return Assembly(
            segments=list(self.segments),
            changes=list(self.changes),
            drifts=list(self.drifts),
            transients=list(self.transients),
            open_from=self.open_from,
        )

    def add(self, window: Window, begin: int, at: Sequence[int], *, newest: bool) -> None:
        """Add what a window answers for.

        Args:
            window: settled; its first point is number `begin` of those that have a value.
            begin: see there.
            at: the index in the series of each of its points.
            newest: nothing comes after it.
        """
        points, evidence = window.points, window.evidence
        if points is None or evidence is None:
            return
        upper = len(at) if newest else SEAM
        lower = _SEAM_BEFORE - _SAME if begin else 0
        before = self.open_from - begin if self.open_from else -len(at)
        bounds = [0, *window.accepted.places, len(at)]
        came_back = _came_back(window, bounds)
        for (left, place), right, step, strength in zip(
            pairwise(bounds), bounds[2:], window.accepted.steps, window.accepted.strengths, strict=False
        ):
            if not lower <= place < upper or place - before <= _SAME < place - before + lower:
                continue
            self._end_segment(window, begin, at, place, at[place])
            passing = any(place in ends for ends in came_back)
            sure = not passing and (right < len(at) or _is_confirmed(right - place, strength))
            self.changes.append(_change(window, (left, right), step, (strength, sure), at))
            self.open_from = begin + place
        self._add_excursions(window, at, (lower, upper), came_back)

    def finished(self, window: Window, begin: int, at: Sequence[int], count: int) -> SeriesAnalysis:
        """The whole answer for `count` points; `window` was the newest."""
        if window.points is not None:
            self._end_segment(window, begin, at, len(at), count)
        return SeriesAnalysis(
            points=count,
            segments=tuple(self.segments),
            changes=tuple(self.changes),
            drifts=tuple(self.drifts),
            transients=tuple(self.transients),
            host_offsets=window.points.offsets if window.points is not None else {},
            host_moves=_host_moves(window, at),
            unit=window.points.unit if window.points is not None else 0.0,
        )

    def _end_segment(self, window: Window, begin: int, at: Sequence[int], end: int, end_at: int) -> None:
        points, evidence = window.points, window.evidence
        assert points is not None
        assert evidence is not None
        start = max(self.open_from - begin, 0)
        began = self.segments[-1].end if self.segments else 0
        drifting = any(start < place < end for place in window.accepted.lines)
        key = (began, end_at, window.accepted.factor if drifting else 1.0)
        told = window.described.get(key)
        if told is None:
            values = points.values[start:end]
            drift = _drift(window, values) if drifting else None
            segment = describe(
                evidence.stretch(start, end),
                values,
                began,
                end_at,
                smallest=math.log1p(window.settings.smallest_change),
                drifting=drift is not None,
            )
            told = segment, drift
            if end < len(at):
                window.described[key] = told
        segment, drift = told
        self.segments.append(segment)
        if drift is not None:
            self.drifts.append(Drift(start=at[start], end=at[end - 1] + 1, slope=drift))

    def _add_excursions(
        self, window: Window, at: Sequence[int], answered: tuple[int, int], came_back: Sequence[tuple[int, int]]
    ) -> None:
        """Add stretches that were taken for bursts, and those that `came_back` before they were confirmed."""
        points, evidence = window.points, window.evidence
        assert points is not None
        assert evidence is not None
        places = (0, *window.accepted.places, len(at))
        told: list[tuple[int, int, float]] = []
        for start, end in window.accepted.excursions:
            if start > 0 and end < len(at) and not any(start <= one <= end for one in places):
                around = next((left, right) for left, right in pairwise(places) if left < start < right)
                told.append((start, end, middle_of(points.values[slice(*around)])))
        for start, end in came_back:
            left = places[places.index(start) - 1]
            told.append((start, end, evidence.stretch(left, start).median))
        for start, end, usual in sorted(told):
            shift = evidence.stretch(start, end).mean - usual
            inside = answered[0] <= start < answered[1] and not (
                self.transients and at[start] < self.transients[-1].end
            )
            if inside and abs(shift) >= evidence.smallest:
                self.transients.append(Transient(start=at[start], end=at[end], shift=shift))


def _host_moves(window: Window, at: Sequence[int]) -> tuple[HostMove, ...]:
    moves = [
        HostMove(host=one.host, start=at[one.place], end=at[one.place], shift=one.shift) for one in window.accepted.lone
    ]
    drift = None if window.points is None else window.points.drift
    if drift is not None and window.hosts is not None:
        own = [place for place, host in enumerate(window.hosts) if host == drift.host]
        shift = drift.slope * (own[-1] - own[0])
        moves.append(HostMove(host=drift.host, start=at[own[0]], end=at[own[-1]], shift=shift))
    return tuple(moves)


def _is_confirmed(length: int, strength: float) -> bool:
    return length >= _CONFIRMING or (length >= _CONFIRMING_STRONG and strength >= _STRONG)


def _came_back(window: Window, bounds: Sequence[int]) -> list[tuple[int, int]]:
    """Stretches away from a level that came back before anybody could be sure of them."""
    evidence, strengths = window.evidence, window.accepted.strengths
    assert evidence is not None
    found: list[tuple[int, int]] = []
    for inner in range(1, len(bounds) - 2):
        start, end = bounds[inner : inner + 2]
        if _is_confirmed(end - start, min(strengths[inner - 1 : inner + 1])):
            continue
        before, level, after = (evidence.stretch(*bounds[at : at + 2]).mean for at in (inner - 1, inner, inner + 1))
        if abs(before - after) <= _RETURNED * min(abs(level - before), abs(level - after)):
            found.append((start, end))
    return found


def _change(
    window: Window, around: tuple[int, int], step: Location, told: tuple[float, bool], at: Sequence[int]
) -> ChangePoint:
    evidence = window.evidence
    assert evidence is not None
    (left, right), (strength, confirmed) = around, told
    return ChangePoint(
        index=at[step.place],
        earliest=at[step.earliest],
        latest=at[step.latest],
        shift=evidence.stretch(step.place, right).mean - evidence.stretch(left, step.place).mean,
        strength=strength,
        status=Status.CONFIRMED if confirmed else Status.SUSPECTED,
    )


def _drift(window: Window, values: Values) -> float | None:
    """The slope of a segment in which a line was the better explanation of a step, if it is steep enough."""
    points = window.points
    assert points is not None
    slope, errors, left = slope_of(values, window.accepted.factor, points.deviation)
    moved = abs(slope) * (len(values) - 1)
    if errors < _DRIFT_ERRORS or left > _DRIFT_LEAVES or moved < 2 * math.log1p(window.settings.smallest_change):
        return None
    return slope
