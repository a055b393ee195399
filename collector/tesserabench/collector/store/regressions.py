"""Regressions and their histories."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Project, Regression, RegressionEvent, Run, Series
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, Severity

_OPEN = [state.value for state in OPEN_REGRESSION_STATES]
_severity_rank = case({severity.value: rank for rank, severity in enumerate(Severity)}, value=Regression.severity)

RegressionRow = Row[Regression, Series, Run, str]
"""A regression with its series, the run that it was first seen in, and its project's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionFilter:
    """Which regressions; what is empty does not filter."""

    project: str = ""
    states: tuple[str, ...] = ()
    min_severity: str = ""
    suite: str = ""
    run_id: int | None = None


async def lock_project(session: AsyncSession, project_id: int) -> None:
    """Let only one transaction at a time change the findings of a project, until the commit."""
    key = func.hashtextextended(f"regressions/{project_id}", 0)
    await session.execute(select(func.pg_advisory_xact_lock(key)))


async def find(session: AsyncSession, regression_id: int, *, lock: bool = False) -> RegressionRow | None:
    """One regression; its row locked until the commit when asked."""
    statement = _rows().where(Regression.id == regression_id)
    if lock:
        statement = statement.with_for_update(of=Regression)
    return (await session.execute(statement, execution_options={"populate_existing": True})).one_or_none()


async def page(
    session: AsyncSession, wanted: RegressionFilter, *, after: tuple[int, int] | None, size: int
) -> Sequence[RegressionRow]:
    """Up to `size` regressions, worst and newest first, after one of this severity rank and id."""
    statement = _rows().where(*_conditions(wanted)).order_by(_severity_rank.desc(), Regression.id.desc()).limit(size)
    if after is not None:
        statement = statement.where(
            tuple_(_severity_rank, Regression.id) < tuple_(literal(after[0]), literal(after[1]))
        )
    return (await session.execute(statement)).all()


def rank(severity: str) -> int:
    """The place of a severity in the order of lists."""
    return list(Severity).index(Severity(severity))


def _rows() -> Any:
    return (
        select(Regression, Series, Run, Project.name)
        .join(Series, Series.id == Regression.series_id)
        .join(Run, Run.id == Regression.run_id)
        .join(Project, Project.id == Regression.project_id)
    )


def _conditions(wanted: RegressionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Regression.state.in_(wanted.states or _OPEN)]
    if wanted.project:
        conditions.append(Project.name == wanted.project)
    if wanted.min_severity:
        conditions.append(_severity_rank > rank(wanted.min_severity) - 1)
    if wanted.suite:
        conditions.append(or_(Run.suite == wanted.suite, Series.suite == wanted.suite))
    if wanted.run_id is not None:
        touched = select(literal(1)).where(
            RegressionEvent.regression_id == Regression.id, RegressionEvent.run_id == wanted.run_id
        )
        conditions.append(
            or_(Regression.run_id == wanted.run_id, Regression.confirming_run_id == wanted.run_id, touched.exists())
        )
    return conditions


async def events(session: AsyncSession, regression_id: int) -> Sequence[RegressionEvent]:
    """The history of a regression, oldest first."""
    statement = select(RegressionEvent).where(RegressionEvent.regression_id == regression_id)
    return (await session.scalars(statement.order_by(RegressionEvent.id))).all()


async def newest_of(
    session: AsyncSession, series_ids: Iterable[int], *, branch: str, drill: bool
) -> dict[int, Regression]:
    """By series the open regression, else the newest closed one, of a branch; locked until the commit."""
    statement = (
        select(Regression)
        .where(Regression.series_id.in_(list(series_ids)), Regression.branch == branch, Regression.drill.is_(drill))
        # Ascending, so that the last one kept for a series is the one wanted.
        .order_by(Regression.state.in_(_OPEN), Regression.updated_at, Regression.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {regression.series_id: regression for regression in await session.scalars(statement)}


async def open_on(
    session: AsyncSession, series_ids: Iterable[int], *, branch: str, only_drills: bool
) -> Sequence[Row[Regression, Run]]:
    """Open regressions of some series on a branch with the runs that found them; locked until the commit."""
    conditions = [
        Regression.series_id.in_(list(series_ids)),
        Regression.branch == branch,
        Regression.state.in_(_OPEN),
    ]
    if only_drills:
        conditions.append(Regression.drill.is_(True))
    statement = select(Regression, Run).join(Run, Run.id == Regression.run_id).where(*conditions)
    statement = statement.order_by(Regression.id).with_for_update(of=Regression)
    return (await session.execute(statement, execution_options={"populate_existing": True})).all()


async def blocking(session: AsyncSession, regression: Regression) -> int | None:
    """Id of another open regression of the same series, branch and kind."""
    statement = select(Regression.id).where(
        Regression.series_id == regression.series_id,
        Regression.branch == regression.branch,
        Regression.drill.is_(regression.drill),
        Regression.state.in_(_OPEN),
        Regression.id != regression.id,
    )
    return await session.scalar(statement)


def alerts() -> ColumnElement[bool]:
    """The condition on Regression, Run and Project rows under which somebody is to be woken.

    A change that is still under review is its author's business: it fails the gate and wakes nobody.
    """
    own_base = and_(Run.branch != "", Run.branch == Run.base_branch)
    return and_(Run.pull_request == "", or_(Regression.branch == "", own_base))


async def gauges(session: AsyncSession) -> Sequence[Row[Regression, Series, Run, str, bool]]:
    """Every open regression with its series, run and project, and whether it is to wake somebody."""
    statement = _rows().add_columns(alerts()).where(Regression.state.in_(_OPEN))
    return (await session.execute(statement.order_by(Regression.id))).all()


async def stale_branches(session: AsyncSession, *, before: datetime) -> Sequence[Regression]:
    """Open regressions of other branches that nothing has happened to since then; locked until the commit."""
    conditions = (Regression.state.in_(_OPEN), Regression.branch != "", Regression.updated_at < before)
    statement = select(Regression).where(*conditions).order_by(Regression.id).limit(500)
    return (await session.scalars(statement.with_for_update(skip_locked=True))).all()
