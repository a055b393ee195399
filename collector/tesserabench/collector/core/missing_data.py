"""Series and schedules that stopped: found, told as one finding for each cause, and closed when data comes back.

A series whose benchmark or values the fleet's suites no longer have is *removed*, and nobody is told. The others are
*stale*: as part of their schedule when that has stopped, else together with those of their suite and device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.rules import Rule
from tesserabench.collector.core import metrics, regressions, rhythms, suites
from tesserabench.collector.core.regressions import NewFinding, Subject
from tesserabench.collector.core.rhythms import Rhythm
from tesserabench.collector.core.series_rules import rules_of
from tesserabench.collector.store import history_broken, history_pages
from tesserabench.collector.store import hosts as host_store
from tesserabench.collector.store import missing as store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.history_tables import SeriesWatch
from tesserabench.collector.store.history_words import SeriesState
from tesserabench.collector.store.missing import QuietRow
from tesserabench.collector.store.tables import Schedule, Series
from tesserabench.collector.store.words import CauseWord, FindingKind, Severity

if TYPE_CHECKING:
    from tesserabench.collector.store.history import SeriesLine

_BLOCK = 2000
_QUIET_LEAST = timedelta(minutes=10)
"""What got a point so recently is missed by nobody."""
_NAMED = 5
_HOST_MEMORY = timedelta(days=14)
"""Hosts that were not heard of for longer say nothing about what suites have."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Gap:
    """What stopped for one cause."""

    project_id: int
    subject: str
    what: str
    since: datetime
    suite: str = ""
    device_key: str = ""
    owner: str = ""
    due: str = ""
    cases: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fleet:
    suites: Mapping[str, suites.KnownSuite]
    now: datetime
    policy: Policy


async def look(database: Database, policy: Policy, now: datetime) -> int:
    """Find what stopped and what came back; gives how many things stand still.

    States of series and findings are written in transactions of their own: whoever takes runs into the histories holds
    watches, whoever judges holds a project's findings, and here nobody is kept from the one while the other is waited
    for.

    Raises:
        UnavailableError: the database is away.
    """
    async with database.transaction() as alone:
        if not await store.try_lock(alone):
            return 0
        async with database.transaction() as session:
            hosts = [host for host in await host_store.all_hosts(session) if now - host.last_seen_at < _HOST_MEMORY]
            gaps = {(gap.project_id, gap.subject): gap for gap in await _schedules(session, now)}
        fleet = _Fleet(suites=suites.catalogue(hosts), now=now, policy=policy)
        after: SeriesLine | None = None
        while True:
            async with database.transaction() as session:
                rows = await store.quiet(session, before=now - _QUIET_LEAST, after=after, limit=_BLOCK)
                if not rows:
                    break
                await _series(session, rows, fleet, gaps)
            after = (rows[-1][0].series_id, rows[-1][0].line)
        await _tell(database, gaps, now)
    return len(gaps)


async def refresh(session: AsyncSession, now: datetime) -> None:
    """Let the gauges show series that are stale or broken, and runs that are not in the histories yet."""
    del now
    metrics.SERIES_STALE.replace({key: float(count) for key, count in (await store.stale_counts(session)).items()})
    metrics.SERIES_BROKEN.replace({(): float(await history_broken.count(session))})
    metrics.HISTORY_RUNS.replace(
        {(state,): float(count) for state, count in (await history_pages.due_counts(session)).items()}
    )


async def _schedules(session: AsyncSession, now: datetime) -> list[Gap]:
    gaps = []
    for schedule in await store.running_schedules(session):
        last = schedule.last_success_at or schedule.created_at
        if (now - last).total_seconds() > rhythms.periods(schedule.interval_seconds):
            gaps.append(_schedule_gap(schedule, last))
    return gaps


def _schedule_gap(schedule: Schedule, last: datetime) -> Gap:
    return Gap(
        project_id=schedule.project_id,
        subject=f"schedules/{schedule.name}",
        what=f"Schedule {schedule.name}",
        since=last,
        suite=str(schedule.spec.get("suite", "")),
        due=f"it is due every {_duration(schedule.interval_seconds)}",
    )


async def _series(
    session: AsyncSession, rows: Sequence[QuietRow], fleet: _Fleet, gaps: dict[tuple[int, str], Gap]
) -> None:
    rules = await rules_of(session, [(row[1], row[0].line) for row in rows], fleet.policy)
    states: dict[SeriesState, list[SeriesLine]] = {state: [] for state in SeriesState}
    for watch, series, schedule in rows:
        key = (watch.series_id, watch.line)
        rule = rules[series.id, watch.line]
        state = _state(watch, series, schedule, rule, fleet)
        if state != watch.state:
            states[state].append(key)
        if state is SeriesState.STALE:
            _add(gaps, watch, series, schedule, rule)
    await store.set_states(session, states)


def _state(watch: SeriesWatch, series: Series, schedule: Schedule | None, rule: Rule, fleet: _Fleet) -> SeriesState:
    assert watch.last_at is not None
    rhythm = Rhythm(
        last_at=watch.last_at,
        spacings=watch.spacings,
        schedule_seconds=float(schedule.interval_seconds) if schedule is not None else None,
        allowed_seconds=rule.missing_after_seconds,
    )
    by = rhythms.due_by(rhythm)
    ignored = rule.ignore is not None and rule.ignore.holds(fleet.now.date())
    if by is None or fleet.now <= by or ignored:
        return SeriesState.ACTIVE
    known = fleet.suites.get(series.suite)
    offered = rhythms.still_offered(known.info if known is not None else None, series.benchmark, series.parameters)
    return SeriesState.STALE if offered else SeriesState.REMOVED


def _add(
    gaps: dict[tuple[int, str], Gap], watch: SeriesWatch, series: Series, schedule: Schedule | None, rule: Rule
) -> None:
    assert watch.last_at is not None
    of_schedule = (series.project_id, f"schedules/{schedule.name}") if schedule is not None else None
    if of_schedule is not None and of_schedule in gaps:
        gap = gaps[of_schedule]
    else:
        key = (series.project_id, f"suites/{series.suite}/{series.device_key}")
        what = f"Suite {series.suite} on {series.device_key}"
        gap = gaps.setdefault(
            key,
            Gap(project_id=series.project_id, subject=key[1], what=what, since=watch.last_at),
        )
        gap.suite, gap.device_key, gap.since = series.suite, series.device_key, min(gap.since, watch.last_at)
    gap.owner = gap.owner or rule.owner
    if series.case_id not in gap.cases:
        gap.cases.append(series.case_id)


async def _tell(database: Database, gaps: Mapping[tuple[int, str], Gap], now: datetime) -> None:
    """Let the findings of each project say what is missing in it."""
    async with database.transaction() as session:
        known = [(row.project_id, row.subject) for row in await store.open_findings(session)]
    for project_id in sorted({project_id for project_id, _ in (*gaps, *known)}):
        async with database.transaction() as session:
            for key in sorted(key for key in gaps if key[0] == project_id):
                await regressions.open_finding(session, _finding(gaps[key], now), now=now)
            for key in sorted(key for key in known if key[0] == project_id and key not in gaps):
                subject = Subject(project_id=project_id, kind=FindingKind.MISSING_DATA, id=key[1])
                await regressions.close_finding(session, subject, comment="nothing is missing any more", now=now)
                _log.info("missing_data.over", subject=key[1])


def _finding(gap: Gap, now: datetime) -> NewFinding:
    return NewFinding(
        subject=Subject(project_id=gap.project_id, kind=FindingKind.MISSING_DATA, id=gap.subject),
        summary=summary(gap, now),
        severity=Severity.MAJOR,
        suite=gap.suite,
        device_key=gap.device_key,
        cause=CauseWord.UNKNOWN,
        owner=gap.owner,
    )


def summary(gap: Gap, now: datetime) -> str:
    """One sentence about what stopped."""
    silent = _duration((now - gap.since).total_seconds())
    named = ", ".join(gap.cases[:_NAMED]) + (f" and {len(gap.cases) - _NAMED} more" if len(gap.cases) > _NAMED else "")
    which = f": {named}" if gap.cases else ""
    due = f"; {gap.due}" if gap.due else ""
    return f"{gap.what} has given no result since {gap.since:%Y-%m-%d %H:%M} UTC ({silent}){due}{which}."


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
