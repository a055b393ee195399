"""The life of a regression. `docs/states/regression.md` draws the machine of `TRANSITIONS`.

What should happen is decided by pure functions on values (`next_state`, `meet`); the functions with a session apply it.
Every step leaves an event; what a person does leaves an audit row too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import audit
from tesserabench.collector.errors import FailedPreconditionError, NotFoundError, invalid_field
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.tables import Regression, RegressionEvent
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, RegressionState, Severity
from tesserabench.wire.names import regression_name
from tesserabench.wire.reasons import Reason

DETECTOR = "detector"
"""Actor of what the collector finds by itself."""

REMEMBERED = timedelta(days=30)
"""A series that gets worse again within this time has the same regression, not a new one."""

QUIET_BRANCH_DAYS = 30
"""An open regression of a branch that nothing happens to for this long is closed: the branch is merged or given up."""

_log = structlog.get_logger(__name__)


class Event(StrEnum):
    """What can happen to a regression."""

    SEEN = "seen"  # a run shows it (again)
    REPRODUCED = "reproduced"  # a second measurement shows it too
    NOT_REPRODUCED = "not_reproduced"  # a second measurement does not
    WORSENED = "worsened"  # a second measurement shows it worse by a severity
    RETURNED = "returned"  # a later run shows the level of before
    ABANDONED = "abandoned"  # nothing was heard of its branch for long
    ACKNOWLEDGED = "acknowledged"  # somebody looks after it
    IGNORED = "ignored"  # somebody says that it does not matter
    RESOLVED = "resolved"  # somebody says that it is fixed or accepted
    REOPENED = "reopened"  # somebody says that it is not over


_SUSPECTED, _CONFIRMED, _ACKNOWLEDGED = OPEN_REGRESSION_STATES
_IGNORED, _RESOLVED = RegressionState.IGNORED, RegressionState.RESOLVED

TRANSITIONS: Mapping[tuple[RegressionState, Event], RegressionState] = {
    (_SUSPECTED, Event.SEEN): _SUSPECTED,
    (_SUSPECTED, Event.REPRODUCED): _CONFIRMED,
    (_SUSPECTED, Event.NOT_REPRODUCED): _RESOLVED,
    (_ACKNOWLEDGED, Event.REPRODUCED): _ACKNOWLEDGED,
    (_ACKNOWLEDGED, Event.NOT_REPRODUCED): _RESOLVED,
    (_CONFIRMED, Event.WORSENED): _CONFIRMED,
    (_ACKNOWLEDGED, Event.WORSENED): _CONFIRMED,
    (_IGNORED, Event.WORSENED): _CONFIRMED,
    (_RESOLVED, Event.SEEN): _SUSPECTED,
    **{(state, Event.RETURNED): _RESOLVED for state in OPEN_REGRESSION_STATES},
    **{(state, Event.ABANDONED): _RESOLVED for state in OPEN_REGRESSION_STATES},
    **{(state, Event.ACKNOWLEDGED): _ACKNOWLEDGED for state in OPEN_REGRESSION_STATES},
    **{(state, Event.IGNORED): _IGNORED for state in OPEN_REGRESSION_STATES},
    **{(state, Event.RESOLVED): _RESOLVED for state in OPEN_REGRESSION_STATES},
    (_IGNORED, Event.REOPENED): _CONFIRMED,
    (_RESOLVED, Event.REOPENED): _CONFIRMED,
}
"""Every step that there is; what is not here does not happen."""


def next_state(state: RegressionState, event: Event) -> RegressionState:
    """The state after an event.

    Raises:
        ValueError: the event cannot happen in this state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"a regression that is {state} cannot be {event}") from None


class Meeting(StrEnum):
    """What a run's regressed series is to what is known of the series."""

    NEW = "new"  # nothing is known, or it is long forgotten
    BACK = "back"  # it was resolved not long ago
    PENDING = "pending"  # already suspected, not settled
    KNOWN = "known"  # already confirmed or acknowledged, no worse than then
    WORSE = "worse"  # confirmed, acknowledged or ignored when it was a severity less
    IGNORED = "ignored"  # ignored, and no worse than then

    @property
    def needs_second_look(self) -> bool:
        """Whether it counts only once it has been measured again."""
        return self not in {Meeting.KNOWN, Meeting.IGNORED}


def meet(
    state: RegressionState | None, known: Severity | None, updated_at: datetime | None, now_is: Severity, now: datetime
) -> Meeting:
    """What a series that regressed with severity `now_is` is to its newest regression; none when there is none."""
    if state is None or known is None or updated_at is None:
        return Meeting.NEW
    if state is RegressionState.RESOLVED:
        return Meeting.BACK if now - updated_at <= REMEMBERED else Meeting.NEW
    if state is RegressionState.SUSPECTED:
        return Meeting.PENDING
    if is_worse(now_is, known):
        return Meeting.WORSE
    return Meeting.IGNORED if state is RegressionState.IGNORED else Meeting.KNOWN


def is_worse(severity: Severity, than: Severity) -> bool:
    """Whether a severity is a worse one."""
    order = list(Severity)
    return order.index(severity) > order.index(than)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Who or what makes a step, and why."""

    actor: str
    comment: str
    now: datetime
    run_id: int | None = None


def step(session: AsyncSession, regression: Regression, event: Event, cause: Cause) -> None:
    """Let an event happen to a locked row.

    Raises:
        ValueError: the event cannot happen in the row's state.
    """
    before = regression.state
    regression.state = next_state(RegressionState(before), event).value
    regression.updated_at = cause.now
    note(session, regression, cause)
    _log.info("regression.changed", regression=regression.id, what=event, before=before, after=regression.state)


def note(session: AsyncSession, regression: Regression, cause: Cause) -> None:
    """Add a line to the history of a row that has an id."""
    session.add(
        RegressionEvent(
            regression_id=regression.id,
            at=cause.now,
            state=regression.state,
            actor=cause.actor,
            comment=cause.comment,
            run_id=cause.run_id,
        )
    )


async def get(session: AsyncSession, regression_id: int, *, lock: bool = False) -> store.RegressionRow:
    """A regression with its series, first run and project's name.

    Raises:
        NotFoundError: there is no such regression.
    """
    found = await store.find(session, regression_id, lock=lock)
    if found is None:
        message = f"{regression_name(regression_id)} does not exist; list the regressions to find its name"
        raise NotFoundError(message, reason=Reason.REGRESSION_NOT_FOUND)
    return found


async def acknowledge(session: AsyncSession, regression_id: int, *, owner: str, cause: Cause) -> None:
    """Somebody looks after it: its alert ends, it stays open.

    Raises:
        NotFoundError: there is no such regression.
        FailedPreconditionError: it is closed.
    """
    regression = await _open(session, regression_id)
    regression.owner = owner or cause.actor
    await _by_person(session, regression, Event.ACKNOWLEDGED, cause)


async def ignore(session: AsyncSession, regression_id: int, *, cause: Cause) -> None:
    """It does not matter: its alert ends and it is closed.

    Raises:
        InvalidArgumentError: there is no comment.
        NotFoundError: there is no such regression.
        FailedPreconditionError: it is closed.
    """
    if not cause.comment.strip():
        raise invalid_field("comment", cause.comment, "say why it does not matter; whoever finds it next will ask")
    await _by_person(session, await _open(session, regression_id), Event.IGNORED, cause)


async def resolve(session: AsyncSession, regression_id: int, *, cause: Cause) -> None:
    """It is fixed or accepted: its alert ends and it is closed.

    Raises:
        NotFoundError: there is no such regression.
        FailedPreconditionError: it is closed.
    """
    await _by_person(session, await _open(session, regression_id), Event.RESOLVED, cause)


async def reopen(session: AsyncSession, regression_id: int, *, cause: Cause) -> None:
    """It is open again after all.

    Raises:
        NotFoundError: there is no such regression.
        FailedPreconditionError: it is open, or another one of the same series is.
    """
    regression = (await get(session, regression_id, lock=True))[0]
    await store.lock_project(session, regression.project_id)
    if regression.state in OPEN_REGRESSION_STATES:
        message = f"{regression_name(regression_id)} is {regression.state}, which is open; there is nothing to reopen"
        raise FailedPreconditionError(message, reason=Reason.REGRESSION_OPEN)
    other = await store.blocking(session, regression)
    if other is not None:
        message = f"{regression_name(other)} is open for the same series; look there instead of reopening this one"
        raise FailedPreconditionError(message, reason=Reason.REGRESSION_OPEN)
    await _by_person(session, regression, Event.REOPENED, cause)


async def _open(session: AsyncSession, regression_id: int) -> Regression:
    regression = (await get(session, regression_id, lock=True))[0]
    if regression.state not in OPEN_REGRESSION_STATES:
        message = f"{regression_name(regression_id)} is {regression.state}, which is closed; reopen it first"
        raise FailedPreconditionError(message, reason=Reason.REGRESSION_CLOSED)
    return regression


async def _by_person(session: AsyncSession, regression: Regression, event: Event, cause: Cause) -> None:
    step(session, regression, event, cause)
    detail = {"comment": cause.comment, "owner": regression.owner}
    await audit.record(session, cause.actor, f"regression.{event}", regression_name(regression.id), detail)


async def close_abandoned(session: AsyncSession, now: datetime) -> int:
    """Close open regressions of branches that have gone quiet; gives how many."""
    stale = await store.stale_branches(session, before=now - timedelta(days=QUIET_BRANCH_DAYS))
    comment = f"nothing was heard of its branch for {QUIET_BRANCH_DAYS} days"
    for regression in stale:
        step(session, regression, Event.ABANDONED, Cause(actor=DETECTOR, comment=comment, now=now))
    return len(stale)
