"""Writing what the detector says: changes that are new or moved, and the state of each watch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.words import Better
from tesserabench.collector.core.series_changes import Step, Written, kind_of, reconcile
from tesserabench.collector.core.series_detection import DRIFT, STEP, TRANSIENT, Detected, Level, Mark, fraction
from tesserabench.collector.store import history as store
from tesserabench.collector.store import history_changes as change_store
from tesserabench.collector.store.history import Point, SeriesLine
from tesserabench.collector.store.history_tables import ChangePoint, SeriesWatch
from tesserabench.collector.store.history_words import ChangeState
from tesserabench.collector.store.tables import Series

_BESIDE = 8
"""Points beside a change that its levels are read from where no other change limits them."""
_GONE = -1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A series whose changes are not those that are written down."""

    watch: SeriesWatch
    series: Series
    policy: Policy
    detected: Detected
    points: Sequence[Point] | None = None
    """All of its points, where they have been read."""


def has_moved(watch: SeriesWatch, found: Detected) -> bool:
    """Whether the detector says something else than what was written."""
    known = watch.known
    return len(known) != len(found.marks) or not all(
        mark.same_as(written) for mark, written in zip(found.marks, known, strict=True)
    )


def marks_json(found: Detected) -> list[dict[str, Any]]:
    """What `has_moved` compares with."""
    return [
        {"kind": mark.kind, "start": mark.start, "confirmed": mark.confirmed, "shift": mark.shift}
        for mark in found.marks
    ]


def segments_json(watch: SeriesWatch, found: Detected, runs: Mapping[int, int] | None) -> list[dict[str, Any]]:
    """The segments as they are kept, each with the first run in it.

    Args:
        watch: The watch before.
        found: What the detector says.
        runs: Runs by place, when changes were written; else the segments begin where they began.
    """
    known = {segment["start"]: segment["run"] for segment in watch.segments} if runs is None else runs
    return [{**_plain(level), "run": known.get(level.start)} for level in found.levels]


def _plain(level: Level) -> dict[str, Any]:
    # `dataclasses.asdict` copies deeply, at ten times the cost.
    return {name: getattr(level, name) for name in Level.__slots__}


async def write_changes(
    session: AsyncSession, moved: Sequence[Moved], now: datetime
) -> dict[SeriesLine, dict[int, int]]:
    """Write the changes of these series; gives by series the runs at which its segments begin, by place."""
    if not moved:
        return {}
    keys = [(item.watch.series_id, item.watch.line) for item in moved]
    unread = [key for item, key in zip(moved, keys, strict=True) if item.points is None]
    read = await store.points_of(session, unread)
    written = await change_store.changes_of(session, keys)
    places: dict[SeriesLine, dict[int, int]] = {}
    for item, key in zip(moved, keys, strict=True):
        points = read[key] if item.points is None else item.points
        _apply(session, item, points, written[key], now)
        places[key] = {level.start: points[level.start].run_id for level in item.detected.levels}
    await session.flush()
    return places


def _apply(
    session: AsyncSession, item: Moved, points: Sequence[Point], rows: Sequence[ChangePoint], now: datetime
) -> None:
    place = {point.run_id: index for index, point in enumerate(points)}
    by_id = {row.id: row for row in rows if row.reference_id is None}
    known = [
        Written(
            id=row.id,
            kind=row.kind,
            state=ChangeState(row.state),
            place=place.get(row.run_id, _GONE),
            change=row.change,
        )
        for row in by_id.values()
    ]
    # A creep that stands where a drift is found now tells it already, and the database keeps one of a kind a run.
    taken = {(row.kind, row.run_id) for row in rows if row.reference_id is not None}
    for step in reconcile(known, item.detected.marks):
        if step.mark is not None and (kind_of(step.mark), points[step.mark.start].run_id) in taken:
            continue
        row = by_id[step.written.id] if step.written is not None else None
        _carry_out(session, item, points, step, row, now)


def _carry_out(  # noqa: PLR0917 - one row of a table with its surroundings
    session: AsyncSession, item: Moved, points: Sequence[Point], step: Step, row: ChangePoint | None, now: datetime
) -> None:
    if step.mark is None:
        assert row is not None
        _note(row, row.state, step.state)
        row.state, row.updated_at = step.state.value, now
        return
    values = _values(item, points, step.mark)
    if row is None:
        row = ChangePoint(
            series_id=item.watch.series_id, line=item.watch.line, state=step.state.value, created_at=now, **values
        )
        row.updated_at = now
        session.add(row)
        _note(row, "", step.state)
        return
    if row.state != step.state or any(getattr(row, name) != value for name, value in values.items()):
        _note(row, row.state, step.state)
        for name, value in values.items():
            setattr(row, name, value)
        row.state, row.updated_at = step.state.value, now


def _note(row: ChangePoint, before: str, after: ChangeState) -> None:
    if before != after:
        _log.info("change_point", series=row.series_id, line=row.line, run=row.run_id, was=before, state=after.value)


def _values(item: Moved, points: Sequence[Point], mark: Mark) -> dict[str, Any]:
    before, after = _sides(item.detected.marks, mark, points)
    first = points[mark.start]
    worse = is_worse(item.series.better, mark.shift)
    severity = item.policy.severity(fraction(abs(mark.shift)), primary=item.series.primary) if worse else None
    return {
        "run_id": first.run_id,
        "before_run_id": points[mark.start - 1].run_id if mark.start else None,
        "at": first.at,
        "earliest_run_id": points[mark.earliest].run_id,
        "latest_run_id": points[min(mark.latest, len(points) - 1)].run_id,
        "kind": kind_of(mark),
        "change": fraction(mark.shift),
        "worse": worse,
        "severity": severity.value if severity else None,
        "strength": mark.strength,
        "before_level": median(point.value for point in before),
        "after_level": median(point.value for point in after),
        "hosts": sorted({host for point in after for host in point.hosts}),
    }


def is_worse(better: str, shift: float) -> bool:
    """Whether a shift of the logarithm is for the worse; False for a metric without a direction."""
    return shift > 0 if better == Better.LOWER else shift < 0 if better == Better.HIGHER else False


def _sides(marks: Sequence[Mark], mark: Mark, points: Sequence[Point]) -> tuple[Sequence[Point], Sequence[Point]]:
    """The points that show the level before and the one after."""
    if mark.kind == DRIFT:
        return points[mark.start : mark.start + _BESIDE // 2], points[
            max(mark.start, mark.end - _BESIDE // 2) : mark.end
        ]
    steps = [other.start for other in marks if other.kind == STEP]
    left = max((start for start in steps if start < mark.start), default=0)
    before = points[left : mark.start] or points[mark.start : mark.start + 1]
    if mark.kind == TRANSIENT:
        return before[-_BESIDE:], points[mark.start : mark.end]
    right = min((start for start in steps if start > mark.start), default=len(points))
    return before, points[mark.start : right]
