"""Creep: a series that has left the level of a release bit by bit, though no single step showed.

The level of each series at a run that a baseline was set to by hand is frozen. Later levels are compared with it, less
the steps that were seen on the way: those have findings of their own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.rules import Rule
from tesserabench.collector.core.series_detection import DRIFT, fraction
from tesserabench.collector.core.series_parts import in_parts
from tesserabench.collector.core.series_writing import is_worse
from tesserabench.collector.store import history as store
from tesserabench.collector.store import history_changes as change_store
from tesserabench.collector.store import history_watches as watch_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.history import Point, SeriesLine
from tesserabench.collector.store.history_tables import ChangePoint, FrozenReference, SeriesWatch
from tesserabench.collector.store.history_watches import WatchedSeries
from tesserabench.collector.store.history_words import LIVE_CHANGE_STATES, ChangeState
from tesserabench.collector.store.tables import Baseline

_BESIDE = 10
"""Points that a level is read from."""
_FEWEST = 6
_STANDARD_ERRORS = 3.5
_MEDIAN_VARIANCE = math.pi / 2
"""How much more a median varies than a mean."""
_BATCH = 8
_AT_ONCE = 256
_POINTS_AT_ONCE = 50_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A series on a line as it stands now, and what counts as a change in it."""

    series: WatchedSeries
    line: str
    rule: Rule
    spread: float = 0.0
    """Of its points, in logarithms."""
    host_offsets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """Where a series stands."""

    level: float
    spread: float
    points: int
    first: Point


async def freeze_references(database: Database) -> int:
    """Keep the levels at runs that baselines were set to by hand since; gives how many baselines.

    Raises:
        UnavailableError: the database is away.
    """
    async with database.transaction() as session:
        baselines = await change_store.unfrozen_baselines(session, limit=_BATCH)
        for baseline in baselines:
            await _freeze(session, baseline)
    return len(baselines)


async def _freeze(session: AsyncSession, baseline: Baseline) -> None:
    keys = await change_store.lines_of_run(session, baseline.run_id)
    counts = await store.counts(session, keys)
    frozen = 0
    for part in in_parts(keys, [counts[key] for key in keys], most_items=_AT_ONCE, most_points=_POINTS_AT_ONCE):
        points, changes = await store.points_of(session, part), await change_store.changes_of(session, part)
        rows: list[Mapping[str, Any]] = []
        for key, watch in (await _watches(session, part)).items():
            level, count = level_at(points[key], changes[key], baseline.run_id, watch.host_offsets)
            if math.isfinite(level):
                rows.append(
                    {
                        "baseline_id": baseline.id,
                        "series_id": key[0],
                        "line": key[1],
                        "run_id": baseline.run_id,
                        "level": level,
                        "spread": watch.noise_spread or 0.0,
                        "points": count,
                    }
                )
        await change_store.freeze(session, rows)
        frozen += len(rows)
    _log.info("reference.frozen", baseline=baseline.name, run=baseline.run_id, series=frozen)


async def _watches(session: AsyncSession, keys: Sequence[SeriesLine]) -> dict[SeriesLine, SeriesWatch]:
    found: dict[SeriesLine, SeriesWatch] = {}
    for line in sorted({line for _, line in keys}):
        watches = await watch_store.watches(session, line, [series_id for series_id, other in keys if other == line])
        found |= {(series_id, line): watch for series_id, watch in sorted(watches.items())}
    return found


def level_at(
    points: Sequence[Point], changes: Sequence[ChangePoint], run_id: int, offsets: Mapping[str, float]
) -> tuple[float, int]:
    """The level (logarithm) of the segment that a run lies in, from the points nearest to it, and how many those are.

    NaN when nothing positive was measured there.
    """
    steps = [change.run_id for change in changes if change.kind != DRIFT and change.state in LIVE_CHANGE_STATES]
    left = max((step for step in steps if step <= run_id), default=-1)
    right = min((step for step in steps if step > run_id), default=None)
    segment = [point for point in points if point.run_id >= left and (right is None or point.run_id < right)]
    place = sum(point.run_id < run_id for point in segment)
    nearest = sorted(range(len(segment)), key=lambda index: (abs(index - place), index))[:_BESIDE]
    logs = _logs([segment[index] for index in nearest], offsets)
    return (median(logs), len(logs)) if logs else (math.nan, 0)


async def look(session: AsyncSession, subjects: Sequence[Subject], now: datetime) -> int:
    """Write where these series have crept away from a reference; gives how many changes were written."""
    by_key = {(subject.series.id, subject.line): subject for subject in subjects}
    references = await change_store.references_of(session, list(by_key))
    if not references:
        return 0
    points, changes = (
        await store.newest_points(session, list(references), _BESIDE),
        await change_store.changes_of(session, list(references)),
    )
    written = 0
    for key, frozen in references.items():
        policy = by_key[key].rule.policy_on(now.date())
        crept = _newest_crept(by_key[key], policy, frozen, points[key], changes[key])
        written += _write(session, by_key[key], policy, crept, changes[key], now)
    await session.flush()
    return written


@dataclass(frozen=True, slots=True)
class _Crept:
    reference: FrozenReference
    baseline: Baseline
    shift: float
    now: Now


def _newest_crept(
    subject: Subject,
    policy: Policy,
    frozen: Sequence[tuple[FrozenReference, Baseline]],
    points: Sequence[Point],
    changes: Sequence[ChangePoint],
) -> _Crept | None:
    for reference, baseline in reversed(frozen):
        at = _now(subject, [point for point in points if point.run_id > reference.run_id])
        if at is None:
            continue
        seen = [change for change in changes if change.run_id > reference.run_id and change.state in LIVE_CHANGE_STATES]
        explained = sum(math.log1p(change.change) for change in seen if change.reference_id is None)
        if has_crept(subject.series, policy, reference.level, at, explained, reference.points):
            return _Crept(reference, baseline, at.level - reference.level, at)
    return None


def has_crept(  # noqa: PLR0917 - one decision
    series: WatchedSeries, policy: Policy, frozen: float, at: Now, explained: float, reference_points: int
) -> bool:
    """Whether a series is worse than a frozen level by what matters, with steps that were seen left out."""
    shift = at.level - frozen - explained
    limit = math.log1p(policy.minimum_effect(primary=series.primary))
    error = at.spread * math.sqrt(_MEDIAN_VARIANCE * (1 / at.points + 1 / max(reference_points, 1)))
    worse = is_worse(series.better, shift) and is_worse(series.better, at.level - frozen)
    return worse and abs(shift) >= limit and abs(shift) > _STANDARD_ERRORS * error


def _now(subject: Subject, later: Sequence[Point]) -> Now | None:
    logs = _logs(later[-_BESIDE:], subject.host_offsets)
    if len(logs) < _FEWEST:
        return None
    return Now(level=median(logs), spread=subject.spread, points=len(logs), first=later[-len(logs)])


def _logs(points: Sequence[Point], offsets: Mapping[str, float]) -> list[float]:
    return [math.log(point.value) - offsets.get("+".join(point.hosts), 0.0) for point in points if point.value > 0]


def _write(  # noqa: PLR0917 - one row of a table with its surroundings
    session: AsyncSession,
    subject: Subject,
    policy: Policy,
    crept: _Crept | None,
    changes: Sequence[ChangePoint],
    now: datetime,
) -> int:
    live = [change for change in changes if change.reference_id is not None and change.state in LIVE_CHANGE_STATES]
    if crept is None:
        for change in live:
            change.state, change.updated_at = ChangeState.WITHDRAWN.value, now
        return len(live)
    taken = {change.run_id for change in changes if change.kind == DRIFT}
    if live or crept.now.first.run_id in taken:
        # One creep is one finding, however far it goes on.
        return 0
    severity = policy.severity(fraction(abs(crept.shift)), primary=subject.series.primary)
    session.add(
        ChangePoint(
            series_id=subject.series.id,
            line=subject.line,
            run_id=crept.now.first.run_id,
            before_run_id=crept.reference.run_id,
            at=crept.now.first.at,
            earliest_run_id=crept.reference.run_id,
            latest_run_id=crept.now.first.run_id,
            kind=DRIFT,
            state=ChangeState.CONFIRMED.value,
            change=fraction(crept.shift),
            worse=True,
            severity=severity.value if severity else None,
            strength=1.0,
            before_level=math.exp(crept.reference.level),
            after_level=math.exp(crept.now.level),
            hosts=list(crept.now.first.hosts),
            created_at=now,
            updated_at=now,
            reference_id=crept.reference.id,
        )
    )
    _log.info("change_point.crept", series=subject.series.id, line=subject.line, baseline=crept.baseline.name)
    return 1
