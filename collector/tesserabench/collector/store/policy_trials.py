"""What trying a policy out reads: judged runs of a time, and the series that they measured."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.history import SeriesLine
from tesserabench.collector.store.history_tables import HistoryPoint
from tesserabench.collector.store.tables import Comparison, Run, Series
from tesserabench.collector.store.words import RunState, TriggerKind


async def judged_runs(
    session: AsyncSession, project_id: int, *, since: datetime, until: datetime, suite: str
) -> Sequence[int]:
    """Runs of a project that were asked for in a time and judged by comparison, oldest first; no drills."""
    statement = (
        select(Run.id)
        .join(Comparison, Comparison.run_id == Run.id)
        .where(
            Run.project_id == project_id,
            Run.state == RunState.FINISHED.value,
            Run.drill.is_(False),
            Run.trigger != TriggerKind.CONFIRMATION.value,
            ~Run.spec.has_key("duet"),
            Run.created_at >= since,
            Run.created_at <= until,
        )
    )
    if suite:
        statement = statement.where(Run.suite == suite)
    return (await session.scalars(statement.order_by(Run.id))).all()


async def base_run_id(session: AsyncSession, run_id: int) -> int | None:
    """The run that a run was compared with; none when there was none."""
    return await session.scalar(select(Comparison.base_run_id).where(Comparison.run_id == run_id))


async def again(session: AsyncSession, run_id: int) -> Sequence[Run]:
    """Runs that measured parts of a run again, oldest first."""
    statement = select(Run).where(
        Run.parent_id == run_id,
        Run.trigger == TriggerKind.CONFIRMATION.value,
        Run.state == RunState.FINISHED.value,
    )
    return (await session.scalars(statement.order_by(Run.id))).all()


async def histories(
    session: AsyncSession, project_id: int, *, since: datetime, suite: str
) -> list[tuple[SeriesLine, Series]]:
    """Series of primary metrics that have a point from `since` on, with their lines."""
    statement = (
        select(HistoryPoint.series_id, HistoryPoint.line, Series)
        .join(Series, Series.id == HistoryPoint.series_id)
        .where(Series.project_id == project_id, Series.primary.is_(True), Series.better.in_(("lower", "higher")))
        .group_by(HistoryPoint.series_id, HistoryPoint.line, Series.id)
        .having(func.max(HistoryPoint.at) >= since)
        .order_by(HistoryPoint.series_id, HistoryPoint.line)
    )
    if suite:
        statement = statement.where(Series.suite == suite)
    return [((row[0], row[1]), row[2]) for row in await session.execute(statement)]
