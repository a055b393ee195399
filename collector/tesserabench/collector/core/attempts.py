"""The life of an attempt. `docs/states/attempt.md` draws the machine of `TRANSITIONS`.

What should happen is decided by pure functions on values (`next_state`, `overdue_step`, `may_go_again`); the functions
with a session apply it. A run is always locked before its attempts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import endings
from tesserabench.collector.store import attempts as store
from tesserabench.collector.store import hosts as host_store
from tesserabench.collector.store.database import EVERYTHING, notify
from tesserabench.collector.store.notices import SYNC_CHANNEL, notify_run, wake_hosts
from tesserabench.collector.store.tables import Attempt, Run
from tesserabench.collector.store.words import AttemptState, Outcome

LARGEST_EPOCH = 3
"""How often an attempt is handed out at most; a case that kills its host must not take the fleet with it."""

_log = structlog.get_logger(__name__)


class Event(StrEnum):
    """What can happen to an attempt."""

    OFFERED = "offered"  # given to a host in an answer to its Sync
    LISTED = "listed"  # its host says that it holds it
    WITHDRAWN = "withdrawn"  # it goes back to the queue with the next epoch
    CONTACT_LOST = "contact_lost"  # its host's lease ended
    ENDED = "ended"  # closed by its host, cancelled, given up, or too late


TRANSITIONS: Mapping[tuple[AttemptState, Event], AttemptState] = {
    (AttemptState.QUEUED, Event.OFFERED): AttemptState.OFFERED,
    (AttemptState.QUEUED, Event.ENDED): AttemptState.FINISHED,
    (AttemptState.OFFERED, Event.LISTED): AttemptState.RUNNING,
    (AttemptState.OFFERED, Event.WITHDRAWN): AttemptState.QUEUED,
    (AttemptState.OFFERED, Event.ENDED): AttemptState.FINISHED,
    (AttemptState.RUNNING, Event.LISTED): AttemptState.RUNNING,
    (AttemptState.RUNNING, Event.CONTACT_LOST): AttemptState.UNREACHABLE,
    (AttemptState.RUNNING, Event.WITHDRAWN): AttemptState.QUEUED,
    (AttemptState.RUNNING, Event.ENDED): AttemptState.FINISHED,
    (AttemptState.UNREACHABLE, Event.LISTED): AttemptState.RUNNING,
    (AttemptState.UNREACHABLE, Event.WITHDRAWN): AttemptState.QUEUED,
    (AttemptState.UNREACHABLE, Event.ENDED): AttemptState.FINISHED,
}
"""Every step that there is; what is not here does not happen."""


def next_state(state: AttemptState, event: Event) -> AttemptState:
    """The state after an event.

    Raises:
        ValueError: the event cannot happen in this state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"an attempt that is {state} cannot be {event}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long things are waited for, in seconds."""

    lost_after_seconds: float
    orphan_grace_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An attempt with what decides its next step."""

    state: AttemptState
    epoch: int
    deadline_at: datetime | None
    offered_until: datetime | None
    unreachable_at: datetime | None
    orphaned_at: datetime | None
    cancel_reason: str | None
    lease_expires_at: datetime | None
    host: str

    @classmethod
    def of(cls, attempt: Attempt, *, host: str, lease_expires_at: datetime | None) -> "Held":
        """The values of a row."""
        return cls(
            state=AttemptState(attempt.state),
            epoch=attempt.epoch,
            deadline_at=attempt.deadline_at,
            offered_until=attempt.offered_until,
            unreachable_at=attempt.unreachable_at,
            orphaned_at=attempt.orphaned_at,
            cancel_reason=attempt.cancel_reason,
            lease_expires_at=lease_expires_at,
            host=host,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to happen. `outcome` says how it ends when it ends (or cannot be handed out again)."""

    event: Event
    reason: str = ""
    outcome: Outcome | None = None


def may_go_again(epoch: int, deadline_at: datetime | None, cancel_reason: str | None, now: datetime) -> bool:
    """Whether an attempt may be handed out once more."""
    return epoch < LARGEST_EPOCH and cancel_reason is None and (deadline_at is None or deadline_at > now)


def overdue_step(held: Held, now: datetime, patience: Patience) -> Step | None:
    """What time alone does to an attempt at this moment; none when nothing is due."""
    match held.state:
        case AttemptState.QUEUED:
            return _queued_step(held, now)
        case AttemptState.OFFERED:
            if held.offered_until is not None and held.offered_until < now:
                return _again_or_end(held, now, f"host {held.host} did not take it in time", Outcome.NO_ELIGIBLE_HOST)
            return None
        case AttemptState.RUNNING:
            return _running_step(held, now, patience)
        case AttemptState.UNREACHABLE:
            return _unreachable_step(held, now, patience)
        case _:
            return None


def _queued_step(held: Held, now: datetime) -> Step | None:
    if held.deadline_at is not None and held.deadline_at < now:
        return Step(event=Event.ENDED, outcome=Outcome.NO_ELIGIBLE_HOST)
    return None


def _running_step(held: Held, now: datetime, patience: Patience) -> Step | None:
    if held.lease_expires_at is not None and held.lease_expires_at < now:
        if held.cancel_reason is not None:
            return _cancelled(held)
        return Step(event=Event.CONTACT_LOST, reason=f"host {held.host} has not been heard of since its lease ended")
    if held.orphaned_at is not None and held.orphaned_at + timedelta(seconds=patience.orphan_grace_seconds) < now:
        reason = f"the agent on {held.host} does not know it any more; its process was probably restarted"
        return _again_or_end(held, now, reason, Outcome.INTERRUPTED)
    return None


def _unreachable_step(held: Held, now: datetime, patience: Patience) -> Step | None:
    if held.cancel_reason is not None:
        return _cancelled(held)
    lost_after = timedelta(seconds=patience.lost_after_seconds)
    if held.unreachable_at is not None and held.unreachable_at + lost_after < now:
        reason = f"host {held.host} was not heard of for {patience.lost_after_seconds:g} s"
        return _again_or_end(held, now, reason, Outcome.INTERRUPTED)
    return None


def _cancelled(held: Held) -> Step:
    reason = f"{held.cancel_reason} (host {held.host} is out of contact)"
    return Step(event=Event.ENDED, outcome=Outcome.CANCELLED, reason=reason)


def _again_or_end(held: Held, now: datetime, reason: str, outcome: Outcome) -> Step:
    if held.cancel_reason is not None:
        return Step(event=Event.ENDED, outcome=Outcome.CANCELLED, reason=held.cancel_reason)
    if may_go_again(held.epoch, held.deadline_at, held.cancel_reason, now):
        return Step(event=Event.WITHDRAWN, reason=reason)
    tries = f"handed out {held.epoch} time{'s' if held.epoch > 1 else ''}"
    why = "no more tries" if held.epoch >= LARGEST_EPOCH else "the deadline has passed"
    return Step(event=Event.ENDED, outcome=outcome, reason=f"{reason}; {tries}, {why}")


async def apply(session: AsyncSession, run: Run, attempt: Attempt, step: Step, now: datetime) -> None:
    """Carry a step out on locked rows; settles the run when the attempt ends."""
    match step.event:
        case Event.CONTACT_LOST:
            attempt.state = next_state(AttemptState(attempt.state), step.event)
            attempt.unreachable_at = now
            attempt.reason = step.reason
            await _changed(session, run)
        case Event.WITHDRAWN:
            await _withdraw(session, run, attempt, step.reason)
        case Event.ENDED:
            assert step.outcome is not None
            await end(session, run, attempt, step.outcome, reason=step.reason, now=now)
        case _:
            raise ValueError(f"{step.event} is not a step that time takes")
    _log.info(
        "attempt.overdue", run=run.id, attempt=attempt.id, event_kind=step.event, outcome=step.outcome, why=step.reason
    )


async def list_as_held(session: AsyncSession, run: Run, attempt: Attempt, now: datetime) -> None:
    """The host says that it holds the attempt: it runs. Rows are locked."""
    attempt.state = next_state(AttemptState(attempt.state), Event.LISTED)
    attempt.started_at = attempt.started_at or now
    attempt.offered_until = attempt.unreachable_at = attempt.orphaned_at = None
    attempt.reason = ""
    endings.begin(run, now)
    await _changed(session, run)


async def end(
    session: AsyncSession, run: Run, attempt: Attempt, outcome: Outcome, *, reason: str, now: datetime
) -> None:
    """Finish an attempt and settle its run. Rows are locked, the run first."""
    attempt.state = next_state(AttemptState(attempt.state), Event.ENDED)
    attempt.outcome = outcome
    attempt.reason = reason
    attempt.ended_at = now
    attempt.offered_until = attempt.unreachable_at = attempt.orphaned_at = None
    attempt.current_case = attempt.phase = ""
    await session.flush()
    await endings.settle(session, run, now)
    if attempt.host_id is not None:
        # Its host is free again.
        await wake_hosts(session, await host_store.names(session, [attempt.host_id]))


async def close(
    session: AsyncSession, attempt_id: int, epoch: int, outcome: Outcome, *, reason: str, now: datetime
) -> None:
    """The closing record of an attempt's log has been committed.

    An older epoch's record, or one of an attempt that has ended otherwise, changes nothing. An interrupted attempt is
    handed out again while it may; the results of its epoch are kept and marked late.
    """
    run_id = await store.run_of(session, attempt_id)
    run = await store.lock_run(session, run_id) if run_id is not None else None
    if run is None:
        return
    attempt = next(row for row in await store.lock_attempts(session, run.id) if row.id == attempt_id)
    if attempt.epoch != epoch or attempt.state in {AttemptState.FINISHED, AttemptState.QUEUED}:
        return
    if outcome is Outcome.INTERRUPTED:
        if attempt.cancel_reason is not None:
            await end(session, run, attempt, Outcome.CANCELLED, reason=attempt.cancel_reason, now=now)
            return
        if may_go_again(epoch, attempt.deadline_at, attempt.cancel_reason, now):
            await _withdraw(session, run, attempt, reason)
            return
    await end(session, run, attempt, outcome, reason=reason, now=now)
    _log.info("attempt.closed", run=run.id, attempt=attempt.id, epoch=epoch, outcome=outcome, why=reason)


async def _withdraw(session: AsyncSession, run: Run, attempt: Attempt, reason: str) -> None:
    await session.flush()
    await store.mark_late(session, attempt)
    attempt.state = next_state(AttemptState(attempt.state), Event.WITHDRAWN)
    attempt.epoch += 1
    attempt.reason = f"handed out again: {reason}"
    attempt.host_id = None
    attempt.started_at = attempt.offered_until = attempt.unreachable_at = attempt.orphaned_at = None
    attempt.cases_done = attempt.cases_total = 0
    attempt.current_case = attempt.phase = ""
    await session.flush()
    await _changed(session, run)
    await notify(session, SYNC_CHANNEL, EVERYTHING)


async def _changed(session: AsyncSession, run: Run) -> None:
    run.revision_number += 1
    await notify_run(session, run.id)
