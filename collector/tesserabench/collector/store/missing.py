"""Series and schedules that may have stopped, and the findings about those that have."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Row, and_, func, literal, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer
from tesserabench.collector.store.history import SeriesLine, among
from tesserabench.collector.store.history_tables import SeriesWatch
from tesserabench.collector.store.history_words import SeriesState
from tesserabench.collector.store.tables import Project, Regression, Run, Schedule, Series
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, FindingKind

_LOCK_KEY = 7_232_415_004

QuietRow = Row[SeriesWatch, Series, Schedule | None]
"""A watch that has not got a point for a while, its series, and the schedule that asked for the last one."""


async def try_lock(session: AsyncSession) -> bool:
    """Whether this transaction is the only one that looks for missing data, on any replica."""
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(_LOCK_KEY))))


async def quiet(session: AsyncSession, *, before: datetime, after: SeriesLine | None, limit: int) -> Sequence[QuietRow]:
    """Watches of default branches whose last point is older than `before`, in order, after one of them."""
    key = (SeriesWatch.series_id, SeriesWatch.line)
    statement = (
        select(SeriesWatch, Series, Schedule)
        .join(Series, Series.id == SeriesWatch.series_id)
        .join(Run, Run.id == SeriesWatch.last_run_id)
        .outerjoin(Schedule, and_(Schedule.id == Run.schedule_id, Schedule.paused.is_(False)))
        .where(SeriesWatch.line == "", SeriesWatch.points > 0)
        .where(or_(SeriesWatch.last_at < before, SeriesWatch.state != SeriesState.ACTIVE.value))
        .order_by(*key)
        .limit(limit)
        # What the detector keeps is most of a row, and nobody here reads it.
        .options(*(defer(column, raiseload=True) for column in (SeriesWatch.tail, SeriesWatch.segments)))
        .options(*(defer(column, raiseload=True) for column in (SeriesWatch.known, SeriesWatch.host_offsets)))
        .execution_options(populate_existing=True)
    )
    if after is not None:
        statement = statement.where(tuple_(*key) > tuple_(literal(after[0]), literal(after[1])))
    return (await session.execute(statement)).all()


async def set_states(session: AsyncSession, keys: Mapping[SeriesState, Collection[SeriesLine]]) -> None:
    """Write whether series still get results; their watches are locked in the order in which all of them are."""
    every = [key for some in keys.values() for key in some]
    if not every:
        return
    wanted = among(every)
    here = and_(SeriesWatch.series_id == wanted.c.series_id, SeriesWatch.line == wanted.c.line)
    locked = select(SeriesWatch.series_id).join(wanted, here).order_by(SeriesWatch.series_id, SeriesWatch.line)
    await session.execute(locked.with_for_update(of=SeriesWatch))
    for state, some in keys.items():
        if some:
            where = tuple_(SeriesWatch.series_id, SeriesWatch.line).in_(list(some))
            await session.execute(update(SeriesWatch).where(where).values(state=state.value))


async def running_schedules(session: AsyncSession) -> Sequence[Schedule]:
    """Schedules that are not paused."""
    return (await session.scalars(select(Schedule).where(Schedule.paused.is_(False)).order_by(Schedule.id))).all()


async def open_findings(session: AsyncSession) -> Sequence[Regression]:
    """Open findings about missing data."""
    statement = select(Regression).where(
        Regression.kind == FindingKind.MISSING_DATA.value,
        Regression.state.in_([state.value for state in OPEN_REGRESSION_STATES]),
    )
    return (await session.scalars(statement.order_by(Regression.id))).all()


async def stale_counts(session: AsyncSession) -> dict[tuple[str, str, str], int]:
    """Stale series by project, suite and device."""
    statement = (
        select(Project.name, Series.suite, Series.device_key, func.count())
        .join(Series, Series.project_id == Project.id)
        .join(SeriesWatch, SeriesWatch.series_id == Series.id)
        .where(SeriesWatch.line == "", SeriesWatch.state == SeriesState.STALE.value)
        .group_by(Project.name, Series.suite, Series.device_key)
    )
    return {(row[0], row[1], row[2]): row[3] for row in await session.execute(statement)}
