"""Runs that wait to be taken into the histories of their series."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.history_tables import HistoryDue
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import RunState


async def enqueue(session: AsyncSession, run_id: int) -> None:
    """Let the points of a run that ends in this transaction be taken into the histories."""
    await session.execute(insert(HistoryDue).values(run_id=run_id).on_conflict_do_nothing())


async def enqueue_everything(session: AsyncSession) -> int:
    """Let every run that has ended be taken in anew; gives how many. What is known stays, and is put right."""
    finished = select(Run.id).where(Run.state == RunState.FINISHED.value)
    statement = insert(HistoryDue).from_select(["run_id"], finished)
    fresh = {"tries": 0, "error": "", "not_before": func.now()}
    changed = await session.execute(
        statement.on_conflict_do_update(index_elements=["run_id"], set_=fresh).returning(HistoryDue.run_id)
    )
    return len(changed.all())


async def claim_due(session: AsyncSession, *, now: datetime, limit: int) -> list[int]:
    """Runs to take in, oldest first, kept from other replicas until the transaction ends, however it ends."""
    statement = (
        select(HistoryDue.run_id)
        .where(HistoryDue.error == "", HistoryDue.not_before <= now)
        .order_by(HistoryDue.run_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(await session.scalars(statement))


async def done(session: AsyncSession, run_ids: Collection[int]) -> None:
    """These runs have been taken in."""
    await session.execute(delete(HistoryDue).where(HistoryDue.run_id.in_(run_ids)))


async def failed(session: AsyncSession, run_id: int, *, until: datetime, most_tries: int, error: str) -> bool:
    """Leave a run alone until then; with too many tries for good. Gives whether it was given up."""
    row = await session.get(HistoryDue, run_id, with_for_update=True, populate_existing=True)
    if row is None:
        return False
    row.tries += 1
    row.not_before = until
    if row.tries >= most_tries:
        row.error = error
    return bool(row.error)
