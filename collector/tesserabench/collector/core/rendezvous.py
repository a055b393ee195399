"""Rendezvous in the database: the rules of `rendezvous_rules`, applied to a locked row."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import rendezvous_rules as rules
from tesserabench.collector.core.rendezvous_rules import Expected, Meeting, Member
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.errors import FailedPreconditionError, NotFoundError, invalid_field
from tesserabench.collector.store import hosts as host_store
from tesserabench.collector.store import rendezvous as store
from tesserabench.collector.store.notices import notify_run
from tesserabench.collector.store.tables import Rendezvous, Run
from tesserabench.collector.store.words import HELD_STATES, AttemptState, RendezvousState
from tesserabench.wire.names import AttemptName
from tesserabench.wire.reasons import Reason

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An attempt, as its host's agent holds it."""

    host: str
    process_id: str
    attempt: AttemptName
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a caller wants of a rendezvous."""

    key: str
    world_size: int
    rank: int | None
    payload: bytes
    timeout_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A rendezvous as it is now; `reason` also says whom it waits for."""

    meeting: Meeting
    reason: str


async def join(session: AsyncSession, caller: Caller, wish: Wish, now: datetime) -> Answer:
    """Join, opening the rendezvous when nobody has.

    Raises:
        FailedPreconditionError: the caller does not hold the attempt any more, or contradicts the others.
        InvalidArgumentError: it wants to meet more than the run has attempts.
        NotFoundError: there is no such attempt.
    """
    expected = await _admit(session, caller)
    run = await session.get_one(Run, caller.attempt.run)
    most = RunSpec.from_json(run.spec).selector.count
    if wish.world_size > most:
        remedy = f"the run is for {most} host(s); ask for at most as many, or for a run with a larger selector.count"
        raise invalid_field("world_size", wish.world_size, remedy)
    row = await store.open_or_find(
        session,
        run.id,
        wish.key,
        world_size=wish.world_size,
        state=RendezvousState.GATHERING,
        deadline_at=now + timedelta(seconds=wish.timeout_seconds),
    )
    member = Member(
        attempt_id=caller.attempt.attempt,
        epoch=caller.epoch,
        host=caller.host,
        payload=wish.payload,
        wish=wish.rank,
    )
    # Whoever comes too late does not complete it.
    return await _apply(session, row, expected, now, lambda met: rules.join(met, member, wish.world_size))


async def leave(session: AsyncSession, caller: Caller, key: str, now: datetime) -> Answer:
    """Leave; whoever leaves last closes it.

    Raises:
        FailedPreconditionError: the caller does not hold the attempt any more.
        NotFoundError: there is no such attempt or rendezvous.
    """
    expected = await _admit(session, caller)
    row = await _existing(session, caller, key)
    attempt = caller.attempt.attempt
    return await _apply(session, row, expected, now, lambda met: rules.leave(met, attempt, caller.epoch))


async def fail(session: AsyncSession, caller: Caller, key: str, why: str, now: datetime) -> Answer:
    """Fail it for everybody.

    Raises:
        FailedPreconditionError: the caller does not hold the attempt any more.
        NotFoundError: there is no such attempt or rendezvous, or the caller is no member.
    """
    expected = await _admit(session, caller)
    row = await _existing(session, caller, key)
    if _meeting(row).member(caller.attempt.attempt) is None:
        raise _not_found(key, caller)
    return await _apply(session, row, expected, now, lambda met: rules.fail(met, caller.host, why))


async def _admit(session: AsyncSession, caller: Caller) -> list[Expected]:
    """The attempts of the caller's run, once it is sure that the caller holds its own."""
    host = await host_store.find(session, caller.host)
    if host is None:
        message = f"host: {caller.host!r}: has not registered with this collector; call Register first"
        raise NotFoundError(message, reason=Reason.HOST_NOT_REGISTERED)
    if host.process_id != caller.process_id:
        message = f"process_id: a newer agent process of {caller.host} has registered; this one must stop"
        raise FailedPreconditionError(message, reason=Reason.SUPERSEDED)
    rows = await store.attempts(session, caller.attempt.run)
    expected = [
        Expected(
            attempt_id=attempt.id,
            epoch=attempt.epoch,
            host=name or "",
            state=attempt.state,
            ended=AttemptState(attempt.state) not in HELD_STATES,
        )
        for attempt, name in rows
    ]
    own = next((item for item in expected if item.attempt_id == caller.attempt.attempt), None)
    if own is None:
        message = f"attempt: {caller.attempt}: there is no such attempt"
        raise NotFoundError(message, reason=Reason.ATTEMPT_NOT_FOUND)
    if own.host != caller.host or own.epoch != caller.epoch or own.ended:
        holder = f"{own.host or 'nobody'} has epoch {own.epoch}, {own.state}"
        message = f"attempt: {caller.attempt}: epoch {caller.epoch} is not {caller.host}'s ({holder}); stop it"
        raise FailedPreconditionError(message, reason=Reason.SUPERSEDED)
    return expected


async def _existing(session: AsyncSession, caller: Caller, key: str) -> Rendezvous:
    row = await store.find(session, caller.attempt.run, key)
    if row is None:
        raise _not_found(key, caller)
    return row


def _not_found(key: str, caller: Caller) -> NotFoundError:
    message = f"key: {key!r}: {caller.host} has joined no such rendezvous of the run; join it first"
    return NotFoundError(message, reason=Reason.RENDEZVOUS_NOT_FOUND)


async def _apply(
    session: AsyncSession,
    row: Rendezvous,
    expected: list[Expected],
    now: datetime,
    change: Callable[[Meeting], Meeting],
) -> Answer:
    """Bring the row up to date, change it, and wake those who wait when its state is not what it was."""
    before = _meeting(row)
    after = rules.look(change(rules.look(before, expected, now)), expected, now)
    if after != before:
        row.state, row.reason = after.state, after.reason
        row.members = [member.to_json() for member in after.members]
        await session.flush()
    if after.state != before.state:
        # Waiters listen to their run: that wakes them also when one of its attempts ends. One more member is no news to
        # them, and waking all of them for each would be work for the square of their number.
        await notify_run(session, row.run_id)
        _log.info("rendezvous.changed", run=row.run_id, key=row.key, state=after.state, why=after.reason)
    return Answer(meeting=after, reason=rules.waits_for(after, expected))


def _meeting(row: Rendezvous) -> Meeting:
    return Meeting(
        key=row.key,
        world_size=row.world_size,
        deadline_at=row.deadline_at,
        state=RendezvousState(row.state),
        reason=row.reason,
        members=tuple(Member.from_json(item) for item in row.members),
    )
