"""Regressions and their histories."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, literal, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Project, Regression, RegressionEvent, RegressionMember, Run, Series
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, FindingKind, Severity

_OPEN = [state.value for state in OPEN_REGRESSION_STATES]
_severity_rank = case({severity.value: rank for rank, severity in enumerate(Severity)}, value=Regression.severity)

TOUCHES = "touches"
"""In the attribution of a finding about a device: ids of the projects that measured on it."""

RegressionRow = Row[Regression, Series | None, Run | None, str]
"""A finding with its series and the run that it was first seen in, as far as it has them, and its project's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionFilter:
    """Which regressions; what is empty does not filter."""

    project: str = ""
    """Its findings, and those about devices that it measured on."""
    states: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    min_severity: str = ""
    suite: str = ""
    owner: str = ""
    run_id: int | None = None
    series_id: int | None = None
    """Only those that this series is a member of."""
    subject: str = ""


async def lock_project(session: AsyncSession, project_id: int) -> None:
    """Let only one transaction at a time change the findings of a project, until the commit.

    Locks are taken in one order, so that no two transactions wait for each other: a run before its attempts; then the
    findings of one project, by this; then findings by id. Watches over series are locked by those who take runs into
    histories, in the order of their keys, and by nobody who has a project's findings; of the changes in those series
    whoever has findings takes what is free (`finding_changes.lock_changes`).
    """
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
        .outerjoin(Series, Series.id == Regression.series_id)
        .outerjoin(Run, Run.id == Regression.run_id)
        .join(Project, Project.id == Regression.project_id)
    )


def _conditions(wanted: RegressionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Regression.state.in_(wanted.states or _OPEN)]
    if wanted.project:
        conditions.append(or_(Project.name == wanted.project, touches(wanted.project)))
    if wanted.min_severity:
        conditions.append(_severity_rank > rank(wanted.min_severity) - 1)
    if wanted.suite:
        conditions.append(
            or_(Run.suite == wanted.suite, Series.suite == wanted.suite, Regression.suite == wanted.suite)
        )
    conditions += _exact(wanted)
    if wanted.run_id is not None:
        touched = select(literal(1)).where(
            RegressionEvent.regression_id == Regression.id, RegressionEvent.run_id == wanted.run_id
        )
        conditions.append(
            or_(Regression.run_id == wanted.run_id, Regression.confirming_run_id == wanted.run_id, touched.exists())
        )
    return conditions


def touches(project: str) -> ColumnElement[bool]:
    """The condition under which a finding is about a device that a project measured on."""
    number = select(Project.id).where(Project.name == project).scalar_subquery()
    return and_(
        Regression.kind == FindingKind.SLOW_DEVICE.value,
        func.coalesce(Regression.attribution[TOUCHES], text("'[]'::jsonb")).contains(func.to_jsonb(number)),
    )


async def may_see(session: AsyncSession, regression_ids: Collection[int], project: str) -> set[int]:
    """Which of some findings are a project's, or about a device that it measured on."""
    statement = select(Regression.id).join(Project, Project.id == Regression.project_id)
    seen = or_(Project.name == project, touches(project))
    return set(await session.scalars(statement.where(Regression.id.in_(regression_ids), seen)))


def _exact(wanted: RegressionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.kinds:
        conditions.append(Regression.kind.in_(wanted.kinds))
    if wanted.causes:
        conditions.append(Regression.cause.in_(wanted.causes))
    if wanted.owner:
        conditions.append(Regression.owner == wanted.owner)
    if wanted.subject:
        conditions.append(Regression.subject == wanted.subject)
    if wanted.series_id is not None:
        member = select(literal(1)).where(
            RegressionMember.regression_id == Regression.id, RegressionMember.series_id == wanted.series_id
        )
        conditions.append(member.exists())
    return conditions


async def events(session: AsyncSession, regression_id: int) -> Sequence[RegressionEvent]:
    """The history of a regression, oldest first."""
    statement = select(RegressionEvent).where(RegressionEvent.regression_id == regression_id)
    return (await session.scalars(statement.order_by(RegressionEvent.id))).all()


async def members(session: AsyncSession, regression_id: int) -> Sequence[Row[RegressionMember, Series]]:
    """The series of a finding, the worst first."""
    statement = (
        select(RegressionMember, Series)
        .join(Series, Series.id == RegressionMember.series_id)
        .where(RegressionMember.regression_id == regression_id)
        .order_by(func.abs(RegressionMember.change).desc(), RegressionMember.series_id)
    )
    return (await session.execute(statement)).all()


async def member_counts(session: AsyncSession, regression_ids: Sequence[int]) -> dict[int, int]:
    """How many series each of some findings is about; a finding about none is left out."""
    statement = (
        select(RegressionMember.regression_id, func.count())
        .where(RegressionMember.regression_id.in_(regression_ids))
        .group_by(RegressionMember.regression_id)
    )
    return {regression_id: count for regression_id, count in await session.execute(statement)}  # noqa: C416 - rows are no pairs for dict()


async def member(session: AsyncSession, regression_id: int, series_id: int) -> RegressionMember | None:
    """One series of a finding."""
    return await session.get(RegressionMember, (regression_id, series_id), populate_existing=True)


async def newest_of(
    session: AsyncSession, series_ids: Iterable[int], *, branch: str, drill: bool
) -> dict[int, Regression]:
    """By series its open finding, else the newest closed one, of a branch; locked until the commit."""
    statement = (
        select(RegressionMember.series_id, Regression)
        .join(Regression, Regression.id == RegressionMember.regression_id)
        .where(
            RegressionMember.series_id.in_(list(series_ids)),
            Regression.kind == FindingKind.REGRESSION.value,
            Regression.branch == branch,
            Regression.drill.is_(drill),
        )
        # Ascending, so that the last one kept for a series is the one wanted.
        .order_by(Regression.state.in_(_OPEN), Regression.updated_at, Regression.id)
        .with_for_update(of=Regression)
    )
    found = await session.execute(statement, execution_options={"populate_existing": True})
    return {series_id: regression for series_id, regression in found}  # noqa: C416 - rows are no pairs for dict()


async def newest_about(session: AsyncSession, project_id: int, kind: str, subject: str) -> Regression | None:
    """The open finding about a subject, else the newest closed one; locked until the commit."""
    statement = (
        select(Regression)
        .where(Regression.project_id == project_id, Regression.kind == kind, Regression.subject == subject)
        .order_by(Regression.state.in_(_OPEN).desc(), Regression.updated_at.desc(), Regression.id.desc())
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return await session.scalar(statement)


async def open_on(
    session: AsyncSession, series_ids: Iterable[int], *, branch: str, only_drills: bool
) -> Sequence[Row[RegressionMember, Regression, Run | None]]:
    """Findings of some series on a branch that are open or ignored for a while, with the runs that found them.

    One row a series; the findings are locked until the commit.
    """
    conditions = [
        RegressionMember.series_id.in_(list(series_ids)),
        Regression.kind == FindingKind.REGRESSION.value,
        Regression.branch == branch,
        or_(Regression.state.in_(_OPEN), Regression.ignored_until.is_not(None)),
    ]
    if only_drills:
        conditions.append(Regression.drill.is_(True))
    statement = (
        select(RegressionMember, Regression, Run)
        .join(Regression, Regression.id == RegressionMember.regression_id)
        .outerjoin(Run, Run.id == Regression.run_id)
        .where(*conditions)
        .order_by(Regression.id, RegressionMember.series_id)
        .with_for_update(of=Regression)
    )
    return (await session.execute(statement, execution_options={"populate_existing": True})).all()


async def still_worse(session: AsyncSession, regression_id: int) -> int:
    """How many series of a finding have not returned to the level of before."""
    statement = select(func.count()).where(
        RegressionMember.regression_id == regression_id, RegressionMember.returned_at.is_(None)
    )
    return await session.scalar(statement) or 0


async def blocking(session: AsyncSession, regression: Regression) -> int | None:
    """Id of another open finding of the same series and branch, or about the same subject."""
    same: tuple[ColumnElement[bool], ...]
    if regression.kind == FindingKind.REGRESSION:
        same = (
            Regression.series_id == regression.series_id,
            Regression.branch == regression.branch,
            Regression.drill.is_(regression.drill),
        )
    else:
        same = (Regression.project_id == regression.project_id, Regression.subject == regression.subject)
    statement = select(Regression.id).where(
        *same, Regression.kind == regression.kind, Regression.state.in_(_OPEN), Regression.id != regression.id
    )
    return await session.scalar(statement)


def alerts() -> ColumnElement[bool]:
    """The condition on Regression, Run and Project rows under which somebody is to be woken.

    A change that is still under review is its author's business: it fails the gate and wakes nobody.
    """
    own_base = and_(Run.branch != "", Run.branch == Run.base_branch)
    merged = and_(Run.pull_request == "", or_(Regression.branch == "", own_base))
    return case((Regression.run_id.is_(None), Regression.branch == ""), else_=merged)


async def gauges(session: AsyncSession) -> Sequence[Row[Regression, Series | None, Run | None, str, bool]]:
    """Every open finding with its series, run and project, and whether it is to wake somebody."""
    statement = _rows().add_columns(alerts()).where(Regression.state.in_(_OPEN))
    return (await session.execute(statement.order_by(Regression.id))).all()
