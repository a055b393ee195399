"""Hosts and the attempts that they hold."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Attempt, Host
from tesserabench.collector.store.words import HELD_STATES


async def register(session: AsyncSession, name: str, values: dict[str, Any]) -> Host:
    """The host's row with the values of its newest process, created when it is new; locked until the commit."""
    statement = insert(Host).values(name=name, **values)
    statement = statement.on_conflict_do_update(index_elements=["name"], set_=values)
    return (await session.scalars(statement.returning(Host), execution_options={"populate_existing": True})).one()


async def find(session: AsyncSession, name: str, *, lock: bool = False) -> Host | None:
    """The host of this name; locked until the commit when asked."""
    statement = select(Host).where(Host.name == name)
    if lock:
        statement = statement.with_for_update(key_share=True).execution_options(populate_existing=True)
    return await session.scalar(statement)


async def all_hosts(session: AsyncSession) -> Sequence[Host]:
    """Every host by name."""
    return (await session.scalars(select(Host).order_by(Host.name))).all()


async def names(session: AsyncSession, ids: Collection[int]) -> list[str]:
    """Names of the hosts with these ids."""
    return list(await session.scalars(select(Host.name).where(Host.id.in_(ids)))) if ids else []


async def held_attempts(session: AsyncSession, host_id: int) -> Sequence[Attempt]:
    """Attempts that keep this host to themselves: at most one, by the unique index."""
    states = [state.value for state in HELD_STATES]
    return (await session.scalars(select(Attempt).where(Attempt.host_id == host_id, Attempt.state.in_(states)))).all()


async def holders(session: AsyncSession) -> dict[int, tuple[int, int]]:
    """By host id: ids of the attempt that it has to itself and of its run."""
    states = [state.value for state in HELD_STATES]
    columns = select(Attempt.host_id, Attempt.id, Attempt.run_id)
    rows = await session.execute(columns.where(Attempt.state.in_(states)))
    return {host_id: (attempt_id, run_id) for host_id, attempt_id, run_id in rows if host_id is not None}


async def count_alive(session: AsyncSession, now: datetime) -> int:
    """How many hosts have a lease."""
    return await session.scalar(select(func.count()).where(Host.lease_expires_at > now)) or 0
