"""Findings in the database: steps of their lives, and those that no comparison opens.

What should happen is decided by the pure functions of `finding_life`; here it is applied. Every step leaves an event.
What people do stands in `triage`, what comparisons mean in `findings`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core.finding_life import (
    REMEMBERED,
    VERIFYING_RUNS,
    Event,
    is_quiet,
    is_worse,
    next_state,
)
from tesserabench.collector.errors import NotFoundError
from tesserabench.collector.store import findings_due
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.regressions import TOUCHES
from tesserabench.collector.store.tables import Regression, RegressionEvent
from tesserabench.collector.store.words import (
    OPEN_REGRESSION_STATES,
    CauseWord,
    FindingKind,
    RegressionState,
    Severity,
)
from tesserabench.wire.names import regression_name
from tesserabench.wire.reasons import Reason

DETECTOR = "detector"
"""Actor of what the collector finds by itself."""

QUIET_BRANCH_DAYS = 30
"""An open finding of a branch that nothing happens to for this long is closed: the branch is merged or given up."""

_ANSWERED = (RegressionState.FALSE_POSITIVE, RegressionState.INFRASTRUCTURE, RegressionState.DUPLICATE)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who or what makes a step, when, and why."""

    actor: str
    comment: str
    now: datetime
    run_id: int | None = None


def step(session: AsyncSession, regression: Regression, event: Event, act: Act) -> None:
    """Let an event happen to a locked row.

    Raises:
        ValueError: the event cannot happen in the row's state.
    """
    before = regression.state
    regression.state = next_state(RegressionState(before), event).value
    regression.updated_at = act.now
    if regression.state != before:
        regression.good_runs = 0
        regression.ignored_until = None
    elif event is Event.SEEN:
        regression.good_runs = 0
    note(session, regression, act)
    _log.info("regression.changed", regression=regression.id, what=event, before=before, after=regression.state)


def note(session: AsyncSession, regression: Regression, act: Act) -> None:
    """Add a line to the history of a row that has an id."""
    session.add(
        RegressionEvent(
            regression_id=regression.id,
            at=act.now,
            state=regression.state,
            actor=act.actor,
            comment=act.comment,
            run_id=act.run_id,
        )
    )


def returned(session: AsyncSession, regression: Regression, act: Act) -> None:
    """A later run shows the level of before: it is fixed, and verified when enough runs say so; a drill at once."""
    step(session, regression, Event.RETURNED, act)
    if regression.state != RegressionState.FIXED:
        return
    regression.good_runs += 1
    # The first one says that it is fixed; those after it verify that.
    if regression.drill or regression.good_runs > VERIFYING_RUNS:
        step(session, regression, Event.VERIFIED, Act(actor=DETECTOR, comment="the fix holds", now=act.now))


def hand_over_mark(original: Regression, duplicate: Regression) -> None:
    """Let a finding keep what somebody said of the detector about one that turns out to repeat it."""
    said = duplicate.feedback is not None and not duplicate.feedback_implied
    if said and (original.feedback is None or original.feedback_implied):
        original.feedback, original.feedback_by = duplicate.feedback, duplicate.feedback_by
        original.feedback_implied = False


async def get(session: AsyncSession, regression_id: int, *, lock: bool = False) -> store.RegressionRow:
    """A finding with its series, first run (as far as it has them) and project's name.

    Raises:
        NotFoundError: there is no such finding.
    """
    found = await store.find(session, regression_id, lock=lock)
    if found is None:
        raise missing(regression_id)
    return found


def missing(regression_id: int) -> NotFoundError:
    """The error for a finding that is not there."""
    message = f"{regression_name(regression_id)} does not exist; list the regressions to find its name"
    return NotFoundError(message, reason=Reason.REGRESSION_NOT_FOUND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a finding is about when that is no series.

    `id` names it for machines, at most one finding is open for it: `devices/{uuid}`, `schedules/{name}`, `series/{id}`.
    """

    project_id: int
    kind: FindingKind
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFinding:
    """What is found out about a subject."""

    subject: Subject
    summary: str
    """One sentence with its numbers, for people."""
    severity: Severity
    change: float | None = None
    """How much worse: 0.1 is 10 %; none where nothing is compared."""
    suite: str = ""
    device_key: str = ""
    """Device model of GPUs, host for a CPU; empty when it is about none."""
    cause: CauseWord = CauseWord.UNKNOWN
    attribution: Mapping[str, Any] = field(default_factory=dict)
    """Evidence as JSON: see `attributions.attribution_json` for the fields that people are shown."""
    touches: Collection[int] = ()
    """Ids of the projects that measured on it: their people see it, too."""
    owner: str = ""
    run_id: int | None = None
    policy: str = ""


async def open_finding(session: AsyncSession, new: NewFinding, *, now: datetime) -> Regression:
    """The finding about a subject, opened or brought up to date; doing it again changes nothing.

    One that was closed not long ago is opened again. One that people have answered (ignored, infrastructure, false
    positive, ...) stays closed until it is worse by a severity or, unless it was ignored or accepted, 30 days old.
    """
    await store.lock_project(session, new.subject.project_id)
    subject = new.subject
    row = await store.newest_about(session, subject.project_id, subject.kind.value, subject.id)
    if row is None or _forgotten(row, now):
        return await _create(session, new, now)
    worse = is_worse(new.severity, Severity(row.severity))
    state = RegressionState(row.state)
    act = Act(actor=DETECTOR, comment=new.summary, now=now, run_id=new.run_id)
    if is_quiet(state) or state in _ANSWERED:
        if worse:
            _show(row, new)
            step(session, row, Event.WORSENED if is_quiet(state) else Event.RECURRED, act)
        return row
    _show(row, new, keep_severity=not worse)
    if state in {RegressionState.RESOLVED, RegressionState.VERIFIED, RegressionState.FIXED}:
        step(session, row, Event.RECURRED, act)
    elif worse:
        step(session, row, Event.WORSENED, act)
    return row


async def close_finding(
    session: AsyncSession, subject: Subject, *, comment: str, now: datetime, run_id: int | None = None
) -> Regression | None:
    """Close the open finding about a subject that is as it should be; none when there is none to close.

    Whoever calls has made sure that it is over: the finding is verified at once.
    """
    await store.lock_project(session, subject.project_id)
    row = await store.newest_about(session, subject.project_id, subject.kind.value, subject.id)
    if row is None or row.state not in OPEN_REGRESSION_STATES:
        return None
    act = Act(actor=DETECTOR, comment=comment, now=now, run_id=run_id)
    step(session, row, Event.RETURNED, act)
    step(session, row, Event.VERIFIED, act)
    return row


def _forgotten(row: Regression, now: datetime) -> bool:
    over = row.state not in OPEN_REGRESSION_STATES and not is_quiet(RegressionState(row.state))
    return over and now - row.updated_at > REMEMBERED


async def _create(session: AsyncSession, new: NewFinding, now: datetime) -> Regression:
    row = Regression(
        project_id=new.subject.project_id,
        kind=new.subject.kind.value,
        subject=new.subject.id,
        state=RegressionState.CONFIRMED.value,
        evidence={},
        owner=new.owner,
        policy=new.policy,
        run_id=new.run_id,
        created_at=now,
        updated_at=now,
    )
    _show(row, new)
    session.add(row)
    await session.flush()
    note(session, row, Act(actor=DETECTOR, comment=new.summary, now=now, run_id=new.run_id))
    _log.info("regression.opened", regression=row.id, kind=row.kind, subject=row.subject)
    return row


def _show(row: Regression, new: NewFinding, *, keep_severity: bool = False) -> None:
    """Let a row tell what is known now; without `updated_at`, which tells of steps."""
    touches = sorted(new.touches) or (row.attribution or {}).get(TOUCHES)
    row.attribution = {**new.attribution, **({TOUCHES: touches} if touches else {})}
    row.summary, row.change = new.summary, new.change
    row.cause, row.suite, row.device_key = new.cause.value, new.suite, new.device_key
    if not keep_severity:
        row.severity = new.severity.value


async def wake_ignored(session: AsyncSession, now: datetime) -> int:
    """Let findings that were ignored until now ask for attention again; gives how many."""
    for project_id in await findings_due.projects_to_wake(session, now):
        # Or a run that is being judged could open one for the same series meanwhile.
        await store.lock_project(session, project_id)
    woken = set()
    for regression in await findings_due.due_to_wake(session, now):
        about = (regression.series_id, regression.branch, regression.drill, regression.project_id, regression.subject)
        # Of two that were ignored until the same day one is open then, as always.
        if (regression.kind, about) not in woken:
            woken.add((regression.kind, about))
            step(session, regression, Event.WOKEN, Act(actor=DETECTOR, comment="was ignored until now", now=now))
    return len(woken)


async def close_abandoned(session: AsyncSession, now: datetime) -> int:
    """Close open findings of branches that have gone quiet, and fixed ones that nothing verifies; gives how many."""
    stale = await findings_due.stale(session, before=now - timedelta(days=QUIET_BRANCH_DAYS))
    for regression in stale:
        what = "its branch" if regression.branch else "it"
        comment = f"nothing was heard of {what} for {QUIET_BRANCH_DAYS} days"
        step(session, regression, Event.ABANDONED, Act(actor=DETECTOR, comment=comment, now=now))
    return len(stale)
