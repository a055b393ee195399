"""What the detector says of many series, as values that travel between processes and machines.

`detect` runs in a worker process of the collector or on a Dask cluster, and is the same function in both.
"""

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tesserabench.analysis.changepoints import Kind, SeriesAnalysis, Settings, Status, Tail, extend_many

EDITION = 2
"""Grows with every change of the detector after which states that were kept must be made anew."""

STEP, DRIFT, TRANSIENT = Kind.STEP.value, "drift", "transient"

_KEPT_SEGMENTS = 64
_VISIBLE_SHARE = 0.5
"""Steps of half of what matters are still shown; they open no finding."""
_LEAST_CHANGE = 0.01
_AT_ONCE = 128
"""Series that the detector takes through its arrays together."""
_LARGEST_LOG = 700.0


class Task(NamedTuple):
    """Points of one series to add to what is known, or, without a tail, its whole history."""

    tail: bytes | None
    values: tuple[float, ...]
    hosts: tuple[str, ...]
    smallest_change: float
    known: str = "[]"
    """The marks that are written down (`marks_json`)."""
    segments: str = "[]"
    """The segments that are written down (`segments_json`)."""
    first_run: int | None = None
    """Of a whole history: the run of its first point."""
    doubted: bool = False
    """What is written down is not to be relied on: the same place may be that of another run."""


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
    """A segment of a history; level and spread: logarithms, or shares of `unit` where not all values are positive."""

    start: int
    end: int
    level: float
    spread: float
    correlation: float
    noise: str
    visible_change: float
    unit: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What has to be written down of a series in which something else was found than before."""

    levels: tuple[Level, ...]
    """The last few; the newest last."""
    marks: tuple[Mark, ...]


class Detected(NamedTuple):
    """What the detector says of one series after the last point; the JSON is ready to be stored."""

    tail: bytes
    points: int
    level: float | None
    """Of the newest segment, as are the next two."""
    spread: float | None
    noise: str
    host_offsets: dict[str, float]
    segments: str
    """JSON; empty when there are findings, whose runs have to be found first."""
    findings: Findings | None = None


class Broken(NamedTuple):
    """A series over which the detector broke."""

    error: str


def smallest_change(minimum_effect: float) -> float:
    """The smallest step to look for where changes matter from `minimum_effect` on; both are fractions."""
    return round(max(_LEAST_CHANGE, _VISIBLE_SHARE * minimum_effect), 6)


def edition(smallest: float) -> str:
    """What a kept state must say to be gone on with."""
    return f"{EDITION}/{smallest:g}"


def detect(tasks: Sequence[Task]) -> list[Detected | Broken]:
    """Each series with its new points; one that cannot be analysed takes no other with it."""
    found: list[Detected | Broken] = []
    for first in range(0, len(tasks), _AT_ONCE):
        group = tasks[first : first + _AT_ONCE]
        try:
            found += _together(group)
        except Exception:  # noqa: BLE001 - which of them it was is found out one by one, and told
            found += [_alone(task) for task in group]
    return found


def _alone(task: Task) -> Detected | Broken:
    try:
        return _together([task])[0]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told of this series
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Broken(f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")


def _together(tasks: Sequence[Task]) -> list[Detected]:
    tails = [
        Tail.start(Settings(smallest_change=task.smallest_change)) if task.tail is None else Tail.load(task.tail)
        for task in tasks
    ]
    analyses = extend_many(tails, [(task.values, task.hosts) for task in tasks])
    return [_detected(*each) for each in zip(tasks, tails, analyses, strict=True)]


def _detected(task: Task, tail: Tail, analysis: SeriesAnalysis) -> Detected:
    levels, marks = levels_of(analysis)[-_KEPT_SEGMENTS:], tuple(marks_of(analysis))
    newest = levels[-1] if levels else None
    moved = task.doubted or has_moved(task.known, marks)
    return Detected(
        tail=tail.dump(),
        points=analysis.points,
        # Whoever reads these of the newest segment takes them for logarithms.
        level=newest.level if newest and not newest.unit else None,
        spread=newest.spread if newest and not newest.unit else None,
        noise=newest.noise if newest else "",
        host_offsets=dict(sorted(analysis.host_offsets.items())),
        segments="" if moved else segments_json(levels, _runs_of(task)),
        findings=Findings(levels=levels, marks=marks) if moved else None,
    )


def _runs_of(task: Task) -> dict[int, int | None]:
    """The first runs of the segments, by place, where they begin as before."""
    if task.tail is None:
        return {0: task.first_run}
    return {segment["start"]: segment["run"] for segment in json.loads(task.segments)}


def has_moved(known: str, marks: Sequence[Mark]) -> bool:
    """Whether these are others than the marks that were written down."""
    if known == "[]" and not marks:
        return False
    written = json.loads(known)
    return len(written) != len(marks) or not all(
        mark.same_as(before) for mark, before in zip(marks, written, strict=True)
    )


def marks_json(marks: Sequence[Mark]) -> str:
    """What `has_moved` compares with."""
    return json.dumps(
        [{"kind": mark.kind, "start": mark.start, "confirmed": mark.confirmed, "shift": mark.shift} for mark in marks]
    )


def segments_json(levels: Sequence[Level], runs: Mapping[int, int | None]) -> str:
    """Segments as they are kept, each with the first run in it, by its place."""
    return json.dumps([{**_plain(level), "run": runs.get(level.start)} for level in levels])


def _plain(level: Level) -> dict[str, Any]:
    # `dataclasses.asdict` copies deeply, at ten times the cost.
    names = Level.__slots__ if level.unit else Level.__slots__[:-1]
    return {name: getattr(level, name) for name in names}


def value_of(segment: Mapping[str, Any], offset: float = 0.0) -> float:
    """The value at the level of a segment as it is kept, or at a distance from it such as its spread."""
    level: float = segment["level"] + offset
    unit: float = segment.get("unit", 0.0)
    return level * unit if unit else math.exp(level)


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
            unit=analysis.unit,
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
