"""What the detector says of many series, as values that travel between processes and machines.

`detect` runs in a worker process of the collector or on a Dask cluster, and is the same function in both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tesserabench.analysis.changepoints import Kind, SeriesAnalysis, Settings, Status, Tail, extend_many

EDITION = 1
"""Grows with every change of the detector after which states that were kept must be made anew."""

STEP, DRIFT, TRANSIENT = Kind.STEP.value, "drift", "transient"

_KEPT_SEGMENTS = 64
_VISIBLE_SHARE = 0.5
"""Steps of half of what matters are still shown; they open no finding."""
_LEAST_CHANGE = 0.01
_AT_ONCE = 128
"""Series that the detector takes through its arrays together."""
_LARGEST_LOG = 700.0


@dataclass(frozen=True, slots=True)
class Task:
    """Points of one series to add to what is known, or, without a tail, its whole history."""

    tail: bytes | None
    values: tuple[float, ...]
    hosts: tuple[str, ...]
    smallest_change: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A step, drift or transient; places count the series' points from 0, `shift` is a logarithm."""

    kind: str
    start: int
    """The first point of the new level, of the drift, or of the transient."""
    end: int
    earliest: int
    latest: int
    confirmed: bool
    shift: float
    strength: float

    def same_as(self, known: Mapping[str, object]) -> bool:
        """Whether this is what was written down before, to about a tenth of its size."""
        where = (known["kind"], known["start"], known["confirmed"]) == (self.kind, self.start, self.confirmed)
        before = known["shift"]
        assert isinstance(before, float)
        return where and abs(self.shift - before) <= max(0.1 * abs(before), 0.001)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A segment of a history; level and spread are logarithms."""

    start: int
    end: int
    level: float
    spread: float
    correlation: float
    noise: str
    visible_change: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What the detector says of one series after the last point."""

    tail: bytes
    points: int
    levels: tuple[Level, ...]
    """The last few; the newest last."""
    marks: tuple[Mark, ...]
    host_offsets: tuple[tuple[str, float], ...]


def smallest_change(minimum_effect: float) -> float:
    """The smallest step to look for where changes matter from `minimum_effect` on; both are fractions."""
    return round(max(_LEAST_CHANGE, _VISIBLE_SHARE * minimum_effect), 6)


def edition(smallest: float) -> str:
    """What a kept state must say to be gone on with."""
    return f"{EDITION}/{smallest:g}"


def detect(tasks: Sequence[Task]) -> list[Detected]:
    """Each series with its new points."""
    tails = [
        Tail.start(Settings(smallest_change=task.smallest_change)) if task.tail is None else Tail.load(task.tail)
        for task in tasks
    ]
    found: list[Detected] = []
    for first in range(0, len(tasks), _AT_ONCE):
        group = tails[first : first + _AT_ONCE]
        added = [(task.values, task.hosts) for task in tasks[first : first + _AT_ONCE]]
        found += [_detected(tail, analysis) for tail, analysis in zip(group, extend_many(group, added), strict=True)]
    return found


def _detected(tail: Tail, analysis: SeriesAnalysis) -> Detected:
    return Detected(
        tail=tail.dump(),
        points=analysis.points,
        levels=levels_of(analysis)[-_KEPT_SEGMENTS:],
        marks=tuple(marks_of(analysis)),
        host_offsets=tuple(sorted(analysis.host_offsets.items())),
    )


def levels_of(analysis: SeriesAnalysis) -> tuple[Level, ...]:
    """The segments of an analysis."""
    return tuple(
        Level(
            start=segment.start,
            end=segment.end,
            level=segment.level,
            spread=segment.spread,
            correlation=segment.correlation,
            noise=segment.noise.value,
            visible_change=segment.smallest_change,
        )
        for segment in analysis.segments
    )


def marks_of(analysis: SeriesAnalysis) -> list[Mark]:
    """Everything that an analysis found to have changed, in the order of time."""
    marks = [
        Mark(
            kind=STEP,
            start=change.index,
            end=change.index,
            earliest=change.earliest,
            latest=change.latest,
            confirmed=change.status is Status.CONFIRMED,
            shift=change.shift,
            strength=change.strength,
        )
        for change in analysis.changes
    ]
    for kind, stretches in ((DRIFT, analysis.drifts), (TRANSIENT, analysis.transients)):
        marks += [
            Mark(
                kind=kind,
                start=stretch.start,
                end=stretch.end,
                earliest=stretch.start,
                latest=stretch.end - 1,
                confirmed=True,
                shift=stretch.shift,
                strength=1.0,
            )
            for stretch in stretches
        ]
    return sorted(marks, key=lambda mark: (mark.start, mark.kind))


def fraction(shift: float) -> float:
    """The change that a logarithm stands for."""
    return math.expm1(min(shift, _LARGEST_LOG))
