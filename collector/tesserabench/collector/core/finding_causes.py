"""Where findings come from: changes in histories and findings of runs get a cause, and one cause makes one finding.

What asks for its cause on one line of a project is asked for together, with what is known already around it, so that a
series whose change is seen a run later joins the finding of its cause. A machine that is at fault makes a finding about
the machine, never one about the code. Doing it again changes nothing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ParamSpec, Protocol, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.attribution import Attribution, Evidence, attribute
from tesserabench.collector.core import cause_evidence, metrics, policies
from tesserabench.collector.core.cause_evidence import ChangeSeen, IsCanary, Question
from tesserabench.collector.core.finding_groups import Group, Matter, take_up, tell_unknown
from tesserabench.collector.core.finding_life import Event
from tesserabench.collector.core.regressions import DETECTOR, Act, returned, step
from tesserabench.collector.core.series_rules import rule_of
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.store import finding_changes as store
from tesserabench.collector.store import regressions as regression_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.history_tables import ChangePoint
from tesserabench.collector.store.tables import Project, Regression, Series

TAKEN_UP = timedelta(days=90)
"""A change that began longer ago when it is first seen (results that were imported, say) calls nobody any more."""

_MOST = 200
_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


class Offload(Protocol):
    """Computes a function of values somewhere else, so that the event loop goes on."""

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Awaitable[_T]:
        """The function's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What looking for causes takes."""

    database: Database
    offload: Offload
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was read about one line of a project."""

    project_id: int
    line: str
    evidence: Evidence
    changes: Mapping[int, tuple[ChangePoint, Series]]
    """By key, which is the change's id."""
    findings: Mapping[int, tuple[Regression, Series]]
    """By key, which is the finding's id below zero."""


async def look(asking: Asking) -> int:
    """Look for every cause that is asked for now; gives how many findings were made or told their cause.

    Raises:
        UnavailableError: the database is away.
    """
    await _settle_returned(asking)
    since = asking.clock() - TAKEN_UP
    async with asking.database.transaction() as session:
        places = [(project_id, line) for project_id, line in await store.places(session, since=since, limit=_MOST)]
    count = 0
    for project_id, line in places:
        try:
            count += await _look_at(asking, project_id, line, since)
        except UnavailableError:
            raise
        except Exception:  # noqa: BLE001 - what breaks on one line must not keep every other from its causes
            metrics.DETECTOR_FAILURES.inc()
            _log.exception("causes.failed", project=project_id, line=line)
    return count


async def _look_at(asking: Asking, project_id: int, line: str, since: datetime) -> int:
    async with asking.database.transaction() as session:
        asked = await _read(session, project_id, line, since)
    if asked is None:
        return 0
    found = await asking.offload(attribute, asked.evidence)
    async with asking.database.transaction() as session:
        matter = Matter(project_id=project_id, line=line, now=asking.clock())
        # Before any finding, as whoever judges does.
        await regression_store.lock_project(session, project_id)
        groups = _groups(asked, found)
        told = {row.id for group in groups for row, _ in group.findings}
        for row, _ in asked.findings.values():
            if row.id not in told:
                tell_unknown(await session.get_one(Regression, row.id, with_for_update=True))
        return await take_up(session, matter, groups)


async def _read(session: AsyncSession, project_id: int, line: str, since: datetime) -> _Asked | None:
    project = await store.project(session, project_id)
    new = list(await store.unclaimed(session, project_id, line, since=since, limit=_MOST))
    waiting = list(await store.without_cause(session, project_id, line, limit=_MOST))
    if not new and not waiting:
        return None
    first = min([_first(change) for change, _ in new] + [row.base_run_id or row.run_id or 0 for row, _ in waiting])
    last = max([_last(change) for change, _ in new] + [row.run_id or 0 for row, _ in waiting])
    known = await store.claimed_between(session, project_id, line, first=first, last=last, limit=_MOST)
    changes = {change.id: (change, series) for change, series in [*new, *known]}
    findings = {-row.id: (row, series) for row, series in waiting}
    seen = [_seen(change) for change, _ in changes.values()] + [_seen_by_run(row) for row, _ in findings.values()]
    question = Question(project=project, line=line, changes=seen, is_canary=await _is_canary(session, project, line))
    return _Asked(
        project_id=project_id,
        line=line,
        evidence=await cause_evidence.gather(session, question),
        changes=changes,
        findings=findings,
    )


async def _is_canary(session: AsyncSession, project: Project, line: str) -> IsCanary:
    """A series is a canary by its suite, or because the project's policy says so."""
    rules = (await policies.in_force(session, project)).rules

    def is_canary(series: Series) -> bool:
        rule = rule_of(rules, series, line or project.default_branch)
        return rule.canary or cause_evidence.in_canary_suite(series)

    return is_canary


def _first(change: ChangePoint) -> int:
    return min(change.earliest_run_id or change.run_id, change.run_id)


def _last(change: ChangePoint) -> int:
    return max(change.latest_run_id or change.run_id, change.run_id)


def _seen(change: ChangePoint) -> ChangeSeen:
    return ChangeSeen(
        key=change.id,
        series_id=change.series_id,
        change=change.change,
        run_id=change.run_id,
        before_run_id=change.before_run_id,
        earliest_run_id=change.earliest_run_id,
        latest_run_id=change.latest_run_id,
    )


def _seen_by_run(row: Regression) -> ChangeSeen:
    """A finding of a run as a change: it lies behind the run that was compared with, at the latest in that run."""
    assert row.series_id is not None
    assert row.run_id is not None
    signed = row.evidence.get("change")
    return ChangeSeen(
        key=-row.id,
        series_id=row.series_id,
        change=float(signed if signed is not None else row.change or 0.0),
        run_id=row.run_id,
        before_run_id=row.base_run_id,
    )


def _groups(asked: _Asked, found: Sequence[Attribution]) -> list[Group]:
    groups = []
    for attribution in found:
        changes = [asked.changes[key] for key in attribution.members if key in asked.changes]
        findings = [asked.findings[key] for key in attribution.members if key in asked.findings]
        if changes or findings:
            groups.append(Group(attribution=attribution, changes=changes, findings=findings))
    return groups


async def _settle_returned(asking: Asking) -> None:
    """Close what the history has taken back, and let findings that it made alone know of levels that are back."""
    now = asking.clock()
    async with asking.database.transaction() as session:
        for row in await store.withdrawn(session, limit=_MOST):
            comment = "with more runs the history shows no change there"
            step(session, row, Event.WITHDRAWN, Act(actor=DETECTOR, comment=comment, now=now))
        touched: dict[int, Regression] = {}
        for member, row in await store.returned_members(session, limit=_MOST):
            member.returned_at = now
            touched[row.id] = row
        await session.flush()
        for row in touched.values():
            if await regression_store.still_worse(session, row.id) == 0:
                comment = "the history is back at the level of before"
                returned(session, row, Act(actor=DETECTOR, comment=comment, now=now))
