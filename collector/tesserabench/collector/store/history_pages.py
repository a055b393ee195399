"""Histories as people look at them: lists of series, and the points of one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select, tuple_
from sqlalchemy import literal as value
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.history_tables import (
    ChangePoint,
    FrozenReference,
    HistoryDue,
    HistoryPoint,
    SeriesWatch,
)
from tesserabench.collector.store.tables import Baseline, Project, Run, Series

_RANK = case((Series.primary, 0), else_=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFilter:
    """Which series; what is empty does not filter."""

    project: str
    line: str = ""
    suite: str = ""
    benchmark: str = ""
    metric: str = ""
    mode: str = ""
    device: str = ""
    state: str = ""
    primary_only: bool = False


SeriesRow = Row[Series, SeriesWatch, str]
"""A series with the watch over it on one line, and its project's name."""


async def page(
    session: AsyncSession, wanted: SeriesFilter, *, after: tuple[str, int, int] | None, size: int
) -> Sequence[SeriesRow]:
    """Up to `size` series by case, primary metrics first, after the one with this `place`."""
    statement = (
        select(Series, SeriesWatch, Project.name)
        .join(SeriesWatch, and_(SeriesWatch.series_id == Series.id, SeriesWatch.line == wanted.line))
        .join(Project, Project.id == Series.project_id)
        .where(Project.name == wanted.project, SeriesWatch.points > 0)
        .order_by(Series.case_id, _RANK, Series.id)
        .limit(size)
    )
    for column, text in (
        (Series.suite, wanted.suite),
        (Series.metric, wanted.metric),
        (Series.mode, wanted.mode),
        (SeriesWatch.state, wanted.state),
    ):
        if text:
            statement = statement.where(column == text)
    if wanted.benchmark:
        statement = statement.where(_is_called(wanted.benchmark))
    if wanted.device:
        statement = statement.where(Series.device_key.icontains(wanted.device, autoescape=True))
    if wanted.primary_only:
        statement = statement.where(Series.primary.is_(True))
    if after is not None:
        place_of = tuple_(Series.case_id, _RANK, Series.id)
        statement = statement.where(place_of > tuple_(value(after[0]), value(after[1]), value(after[2])))
    return (await session.execute(statement)).all()


def place(series: Series) -> tuple[str, int, int]:
    """Where a series stands in lists."""
    return series.case_id, int(not series.primary), series.id


def _is_called(name: str) -> ColumnElement[bool]:
    """Whether people mean a series by this name: benchmark or case, with or without the suite before it."""
    suite, slash, rest = name.partition("/")
    names = [
        Series.benchmark == name,
        Series.case_id == name,
        Series.benchmark.endswith("/" + name, autoescape=True),
        Series.case_id.endswith("/" + name, autoescape=True),
    ]
    if slash:
        names.append(and_(Series.suite == suite, or_(Series.benchmark == rest, Series.case_id == rest)))
    return or_(*names)


async def benchmarks(session: AsyncSession, project: str) -> Sequence[str]:
    """Every benchmark of a project that has a history, by name."""
    statement = select(Series.benchmark).join(SeriesWatch, SeriesWatch.series_id == Series.id)
    statement = statement.join(Project, Project.id == Series.project_id).where(Project.name == project)
    return (await session.scalars(statement.distinct().order_by(Series.benchmark))).all()


async def find(session: AsyncSession, series_id: int) -> Row[Series, Project] | None:
    """A series with its project."""
    statement = select(Series, Project).join(Project, Project.id == Series.project_id).where(Series.id == series_id)
    return (await session.execute(statement)).one_or_none()


async def lines(session: AsyncSession, series_id: int) -> Sequence[str]:
    """Lines on which a series has points, the one with the newest first."""
    statement = select(SeriesWatch.line).where(SeriesWatch.series_id == series_id, SeriesWatch.points > 0)
    return (await session.scalars(statement.order_by(SeriesWatch.last_at.desc(), SeriesWatch.line))).all()


PointRow = Row[HistoryPoint, str]
"""A point with its run's commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which points of a series on a line."""

    since: datetime | None = None
    after: int | None = None
    """A run; points of later ones."""
    size: int = 500
    newest: bool = False
    """The last points rather than the first, where there are too many."""


async def points(session: AsyncSession, series_id: int, line: str, window: Window) -> Sequence[PointRow]:
    """Points of a series, oldest run first."""
    order = HistoryPoint.run_id.desc() if window.newest else HistoryPoint.run_id
    statement = (
        select(HistoryPoint, Run.commit)
        .join(Run, Run.id == HistoryPoint.run_id)
        .where(HistoryPoint.series_id == series_id, HistoryPoint.line == line)
        .order_by(order)
        .limit(window.size)
    )
    if window.since is not None:
        statement = statement.where(HistoryPoint.at >= window.since)
    if window.after is not None:
        statement = statement.where(HistoryPoint.run_id > window.after)
    found = (await session.execute(statement)).all()
    return found[::-1] if window.newest else found


async def changes(session: AsyncSession, series_id: int, line: str) -> Sequence[tuple[ChangePoint, str, str]]:
    """The changes of a series, oldest first, each with the commits after and before it."""
    statement = (
        select(ChangePoint)
        .where(ChangePoint.series_id == series_id, ChangePoint.line == line)
        .order_by(ChangePoint.run_id, ChangePoint.id)
    )
    rows = (await session.scalars(statement)).all()
    ids = {run for row in rows for run in (row.run_id, row.before_run_id) if run is not None}
    commits = await run_facts(session, ids)
    return [
        (row, commits[row.run_id][0], commits[row.before_run_id][0] if row.before_run_id is not None else "")
        for row in rows
    ]


async def run_facts(session: AsyncSession, ids: Collection[int]) -> dict[int, tuple[str, datetime]]:
    """By run its commit, and when it was asked for."""
    if not ids:
        return {}
    rows = await session.execute(select(Run.id, Run.commit, Run.created_at).where(Run.id.in_(ids)))
    return {row[0]: (row[1], row[2]) for row in rows}


async def references(session: AsyncSession, series_id: int, line: str) -> Sequence[Row[FrozenReference, Baseline]]:
    """Levels of releases of a series, oldest first."""
    statement = (
        select(FrozenReference, Baseline)
        .join(Baseline, Baseline.id == FrozenReference.baseline_id)
        .where(FrozenReference.series_id == series_id, FrozenReference.line == line)
        .order_by(FrozenReference.run_id)
    )
    return (await session.execute(statement)).all()


async def due_counts(session: AsyncSession) -> dict[str, int]:
    """Ended runs that are not in the histories: how many wait, and how many failed."""
    waiting = HistoryDue.error == ""
    statement = select(func.count().filter(waiting), func.count().filter(~waiting))
    row = (await session.execute(statement)).one()
    return {"waiting": row[0], "failed": row[1]}
