"""Writing what the detector says: changes that are new or moved."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.words import Better
from tesserabench.collector.core.series_changes import Step, Written, kind_of, reconcile
from tesserabench.collector.core.series_detection import DRIFT, STEP, TRANSIENT, Findings, Mark, fraction
from tesserabench.collector.core.series_parts import in_parts
from tesserabench.collector.store import history as store
from tesserabench.collector.store import history_changes as change_store
from tesserabench.collector.store.history import Point, SeriesLine
from tesserabench.collector.store.history_tables import ChangePoint
from tesserabench.collector.store.history_watches import WatchRow
from tesserabench.collector.store.history_words import ChangeState

_BESIDE = 8
"""Points beside a change that its levels are read from where no other change limits them."""
_GONE = -1
_AT_ONCE = 32
_POINTS_AT_ONCE = 50_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A series whose changes are not those that are written down."""

    watch: WatchRow
    policy: Policy
    findings: Findings
    points: Sequence[Point] | None = None
    """All of its points, where they have been read."""


async def write_changes(
    session: AsyncSession, moved: Sequence[Moved], now: datetime
) -> dict[SeriesLine, dict[int, int | None]]:
    """Write the changes of these series; gives by series the runs at which its segments begin, by place."""
    desk = _Desk(session=session, now=now)
    places: dict[SeriesLine, dict[int, int | None]] = {}
    points = [item.watch.points + 1 for item in moved]
    for part in in_parts(moved, points, most_items=_AT_ONCE, most_points=_POINTS_AT_ONCE):
        keys = [item.watch.key for item in part]
        unread = [item.watch.key for item in part if item.points is None]
        read = await store.points_of(session, unread) if unread else {}
        written = await change_store.changes_of(session, keys)
        for item, key in zip(part, keys, strict=True):
            history = read[key] if item.points is None else item.points
            desk.apply(item, history, written[key])
            places[key] = {level.start: history[level.start].run_id for level in item.findings.levels}
        await session.flush()
        await asyncio.sleep(0)
    if desk.told:
        _log.info("change_points.written", series=len(moved), **desk.told)
    return places


@dataclass(slots=True, kw_only=True)
class _Desk:
    """Where changes are written."""

    session: AsyncSession
    now: datetime
    told: Counter[str] = field(default_factory=Counter)
    """How many changes came into which state."""

    def apply(self, item: Moved, points: Sequence[Point], rows: Sequence[ChangePoint]) -> None:
        """Let the changes of a series be those that were found."""
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
        for step in reconcile(known, item.findings.marks):
            if step.mark is not None and (kind_of(step.mark), points[step.mark.start].run_id) in taken:
                continue
            row = by_id[step.written.id] if step.written is not None else None
            self._carry_out(item, points, step, row)

    def _carry_out(self, item: Moved, points: Sequence[Point], step: Step, row: ChangePoint | None) -> None:
        if step.mark is None:
            assert row is not None
            self._enter(row, step.state)
            return
        values = _values(item, points, step.mark)
        if row is None:
            row = ChangePoint(
                series_id=item.watch.series.id, line=item.watch.line, state="", created_at=self.now, **values
            )
            self.session.add(row)
            self._enter(row, step.state)
        elif row.state != step.state or any(getattr(row, name) != value for name, value in values.items()):
            for name, value in values.items():
                setattr(row, name, value)
            self._enter(row, step.state)

    def _enter(self, row: ChangePoint, state: ChangeState) -> None:
        if row.state != state:
            self.told[state.value] += 1
        row.state, row.updated_at = state.value, self.now


def _values(item: Moved, points: Sequence[Point], mark: Mark) -> dict[str, Any]:
    before, after = _sides(item.findings.marks, mark, points)
    first = points[mark.start]
    worse = is_worse(item.watch.series.better, mark.shift)
    severity = item.policy.severity(fraction(abs(mark.shift)), primary=item.watch.series.primary) if worse else None
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
