"""Numbers for Prometheus that are read from the database."""

from datetime import datetime

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Attempt, Project, Schedule
from tesserabench.collector.store.words import AttemptState


async def queue(session: AsyncSession) -> list[Row[str, int, datetime]]:
    """By device kind: attempts that wait, and since when the one that has waited longest."""
    statement = (
        select(Attempt.device_kind, func.count(), func.min(Attempt.created_at))
        .where(Attempt.state == AttemptState.QUEUED.value)
        .group_by(Attempt.device_kind)
    )
    return list((await session.execute(statement)).all())


async def schedules(session: AsyncSession) -> list[Row[str, str, int, datetime | None]]:
    """Project, name, interval and last success of each schedule that is not paused."""
    statement = (
        select(Project.name, Schedule.name, Schedule.interval_seconds, Schedule.last_success_at)
        .join(Project, Project.id == Schedule.project_id)
        .where(Schedule.paused.is_(False))
    )
    return list((await session.execute(statement)).all())
