"""Rows of rendezvous, and the attempts that may meet there."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Attempt, Host, Rendezvous


async def find(session: AsyncSession, run_id: int, key: str) -> Rendezvous | None:
    """The rendezvous, locked until the commit."""
    statement = select(Rendezvous).where(Rendezvous.run_id == run_id, Rendezvous.key == key)
    return await session.scalar(statement.with_for_update().execution_options(populate_existing=True))


async def open_or_find(
    session: AsyncSession, run_id: int, key: str, *, world_size: int, state: str, deadline_at: datetime
) -> Rendezvous:
    """The rendezvous, locked until the commit, opened with these values when it is not there: by one of several."""
    statement = insert(Rendezvous).values(
        run_id=run_id, key=key, world_size=world_size, state=state, deadline_at=deadline_at
    )
    await session.execute(statement.on_conflict_do_nothing(index_elements=["run_id", "key"]))
    found = await find(session, run_id, key)
    assert found is not None, "it was there or has just been put there"
    return found


async def attempts(session: AsyncSession, run_id: int) -> Sequence[Row[Attempt, str | None]]:
    """The attempts of a run by ordinal, as they are now, with the names of their hosts."""
    statement = (
        select(Attempt, Host.name)
        .outerjoin(Host, Host.id == Attempt.host_id)
        .where(Attempt.run_id == run_id)
        .order_by(Attempt.ordinal)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).all()
