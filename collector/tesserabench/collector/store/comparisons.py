"""Comparisons that decided verdicts, and runs that wait for one."""

from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from tesserabench.collector.store.look_tables import Look
from tesserabench.collector.store.tables import Comparison, Run
from tesserabench.collector.store.words import RunState


async def find(session: AsyncSession, run_id: int) -> Comparison | None:
    """The comparison of a run."""
    statement = select(Comparison).where(Comparison.run_id == run_id)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def put(
    session: AsyncSession,
    run_id: int,
    *,
    base_run_id: int | None,
    content: dict[str, Any],
    now: datetime,
    grounds: dict[str, Any] | None = None,
) -> None:
    """Store the comparison of a run, in place of one of before."""
    values = {"base_run_id": base_run_id, "content": content, "created_at": now, "grounds": grounds or {}}
    statement = insert(Comparison).values(run_id=run_id, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["run_id"], set_=values))


async def claim(session: AsyncSession, *, now: datetime, until: datetime, limit: int) -> list[int]:
    """Take up to `limit` runs to judge, oldest first, and keep other replicas off them until `until`.

    A run with a look that is still being measured is left alone, as long as that look is waited for.
    """
    measuring = aliased(Run)
    waiting = select(Look.run_id).where(
        Look.run_id == Run.id,
        Look.measuring_run_id == measuring.id,
        measuring.state != RunState.FINISHED.value,
        Look.waits_until > now,
    )
    statement = (
        select(Run)
        .where(
            Run.state == RunState.JUDGING.value,
            or_(Run.judged_until.is_(None), Run.judged_until < now),
            ~waiting.exists(),
        )
        .order_by(Run.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    runs = (await session.scalars(statement)).all()
    for run in runs:
        run.judged_until = until
    return [run.id for run in runs]


async def put_back(session: AsyncSession, run_id: int, *, until: datetime) -> None:
    """Leave a run alone until then, and let whoever comes first judge it afterwards."""
    waits = (Run.id == run_id, Run.state == RunState.JUDGING.value)
    await session.execute(update(Run).where(*waits).values(judged_until=until))
