"""Schedules."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Project, Run, Schedule
from tesserabench.collector.store.words import RunState


async def find(session: AsyncSession, project: str, name: str, *, lock: bool = False) -> Schedule | None:
    """A project's schedule; locked until the commit when asked."""
    statement = select(Schedule).join(Project, Project.id == Schedule.project_id)
    statement = statement.where(Project.name == project, Schedule.name == name)
    if lock:
        statement = statement.with_for_update(of=Schedule).execution_options(populate_existing=True)
    return await session.scalar(statement)


async def page(session: AsyncSession, project: str, *, after: str, size: int) -> Sequence[Schedule]:
    """Up to `size` schedules of a project by name, after a name."""
    statement = select(Schedule).join(Project, Project.id == Schedule.project_id)
    statement = statement.where(Project.name == project, Schedule.name > after).order_by(Schedule.name).limit(size)
    return (await session.scalars(statement)).all()


async def lock_due(session: AsyncSession, now: datetime) -> Row[Schedule, str] | None:
    """A schedule that is due and that no other replica is busy with, locked, with its project's name."""
    statement = (
        select(Schedule, Project.name)
        .join(Project, Project.id == Schedule.project_id)
        .where(Schedule.paused.is_(False), Schedule.next_at <= now)
        .order_by(Schedule.next_at)
        .limit(1)
        .with_for_update(of=Schedule, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).one_or_none()


async def last_run_goes_on(session: AsyncSession, schedule: Schedule) -> bool:
    """Whether the schedule's last run has not ended."""
    if schedule.last_run_id is None:
        return False
    state = await session.scalar(select(Run.state).where(Run.id == schedule.last_run_id))
    return state not in {None, RunState.FINISHED.value}


async def set_last_run(session: AsyncSession, schedule_id: int, run_id: int) -> None:
    """Let a schedule wait for this run before it asks for the next one."""
    await session.execute(update(Schedule).where(Schedule.id == schedule_id).values(last_run_id=run_id))
