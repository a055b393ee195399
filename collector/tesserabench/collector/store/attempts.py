"""Attempts: locking, queue, lists."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Row, Select, Text, and_, any_, bindparam, func, literal, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from tesserabench.collector.store.tables import Attempt, CaseResult, Host, IngestLog, Measurement, Run
from tesserabench.collector.store.words import HELD_STATES, AttemptState

_CANDIDATES = 64


async def lock_run(session: AsyncSession, run_id: int) -> Run | None:
    """The run, locked until the commit. A run is always locked before its attempts, so that nobody waits in circles.

    Rows that refer to it may still be added meanwhile: ingest must not wait for decisions about runs.
    """
    statement = (
        select(Run).where(Run.id == run_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    return await session.scalar(statement)


async def lock_attempts(session: AsyncSession, run_id: int) -> Sequence[Attempt]:
    """Every attempt of a run by ordinal, locked until the commit."""
    statement = select(Attempt).where(Attempt.run_id == run_id).order_by(Attempt.ordinal)
    return (
        await session.scalars(statement.with_for_update(key_share=True).execution_options(populate_existing=True))
    ).all()


async def run_of(session: AsyncSession, attempt_id: int) -> int | None:
    """Id of the run that an attempt belongs to."""
    return await session.scalar(select(Attempt.run_id).where(Attempt.id == attempt_id))


async def by_ids(session: AsyncSession, ids: Collection[int]) -> dict[int, Attempt]:
    """Attempts by id, as they are now, not locked."""
    if not ids:
        return {}
    statement = select(Attempt).where(Attempt.id.in_(ids)).execution_options(populate_existing=True)
    return {attempt.id: attempt for attempt in await session.scalars(statement)}


async def of_runs(session: AsyncSession, run_ids: Iterable[int]) -> Sequence[Row[Attempt, str | None, int | None]]:
    """Attempts of some runs by ordinal, with their host's name and how far their log is committed."""
    log = and_(IngestLog.attempt_id == Attempt.id, IngestLog.epoch == Attempt.epoch)
    statement = (
        select(Attempt, Host.name, IngestLog.committed_sequence)
        .outerjoin(Host, Host.id == Attempt.host_id)
        .outerjoin(IngestLog, log)
        .where(Attempt.run_id.in_(list(run_ids)))
        .order_by(Attempt.run_id, Attempt.ordinal)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).all()


def _queue() -> Select[Attempt, dict[str, Any]]:
    sibling = aliased(Attempt)
    elsewhere = select(literal(1)).where(sibling.run_id == Attempt.run_id, sibling.host_id == bindparam("host_id"))
    texts = ARRAY(Text)
    return (
        select(Attempt, Run.spec)
        .join(Run, Run.id == Attempt.run_id)
        .where(
            Attempt.state == AttemptState.QUEUED.value,
            Attempt.suite == any_(bindparam("suites", type_=texts)),
            Attempt.device_kind == any_(bindparam("kinds", type_=texts)),
            or_(func.cardinality(Attempt.hosts) == 0, bindparam("host", type_=Text()) == any_(Attempt.hosts)),
            or_(Attempt.deadline_at.is_(None), Attempt.deadline_at > bindparam("now")),
            # Highest priority first, then oldest: the key is (-priority, id).
            tuple_(-Attempt.priority, Attempt.id) > tuple_(bindparam("after_rank"), bindparam("after_id")),
            # The attempts of one run are measured on different hosts.
            ~elsewhere.exists(),
        )
        .order_by(Attempt.priority.desc(), Attempt.id)
        .limit(_CANDIDATES)
    )


# Built once: an idle host asks with every heartbeat, and building it costs more than running it.
_QUEUE = _queue()
_BEFORE_EVERYTHING = (-(2**15) - 1, 0)


async def candidates(
    session: AsyncSession, host: Host, kinds: Sequence[str], now: datetime, *, after: Attempt | None = None
) -> Sequence[Row[Attempt, dict[str, Any]]]:
    """The next queued attempts that this host could take as far as SQL can tell, with specs, best first; not locked."""
    rank, attempt_id = _BEFORE_EVERYTHING if after is None else (-after.priority, after.id)
    wanted = {"host_id": host.id, "host": host.name, "suites": host.suites, "kinds": list(kinds), "now": now}
    found = await session.execute(_QUEUE, wanted | {"after_rank": rank, "after_id": attempt_id})
    rows: Sequence[Row[Attempt, dict[str, Any]]] = found.all()
    return rows


async def claim(session: AsyncSession, attempt_id: int) -> Attempt | None:
    """The attempt, locked, if it is still queued and nobody else is about to take it."""
    statement = select(Attempt).where(Attempt.id == attempt_id, Attempt.state == AttemptState.QUEUED.value)
    statement = statement.with_for_update(skip_locked=True, key_share=True).execution_options(populate_existing=True)
    return await session.scalar(statement)


async def overdue(
    session: AsyncSession, now: datetime, lost_before: datetime, orphaned_before: datetime
) -> Sequence[Row[int, int]]:
    """Run and attempt ids of attempts whose time has run out in one way or another, by run; not locked."""
    expired = and_(Attempt.state == AttemptState.RUNNING.value, Host.lease_expires_at < now)
    statement = (
        select(Attempt.run_id, Attempt.id)
        .outerjoin(Host, Host.id == Attempt.host_id)
        .where(
            or_(
                and_(Attempt.state == AttemptState.QUEUED.value, Attempt.deadline_at < now),
                and_(Attempt.state == AttemptState.OFFERED.value, Attempt.offered_until < now),
                expired,
                and_(Attempt.state == AttemptState.UNREACHABLE.value, Attempt.unreachable_at < lost_before),
                and_(Attempt.state == AttemptState.UNREACHABLE.value, Attempt.cancel_reason.is_not(None)),
                and_(Attempt.state == AttemptState.RUNNING.value, Attempt.orphaned_at < orphaned_before),
            )
        )
        .order_by(Attempt.run_id, Attempt.id)
        .limit(500)
    )
    return (await session.execute(statement)).all()


async def mark_late(session: AsyncSession, attempt: Attempt) -> None:
    """Mark the results of the attempt's epoch as late: they are kept, and a newer epoch decides."""
    # The log first: that waits for a commit of its records under way, and the next one sees the mark.
    log = and_(IngestLog.attempt_id == attempt.id, IngestLog.epoch == attempt.epoch)
    await session.execute(update(IngestLog).where(log).values(late=True))
    for table in (CaseResult, Measurement):
        newest = and_(table.run_id == attempt.run_id, table.attempt_id == attempt.id, table.epoch == attempt.epoch)
        await session.execute(update(table).where(newest).values(late=True))


async def count_unfinished_on(session: AsyncSession, host_id: int) -> int:
    """How many attempts keep this host to themselves."""
    states = [state.value for state in HELD_STATES]
    return await session.scalar(select(func.count()).where(Attempt.host_id == host_id, Attempt.state.in_(states))) or 0
