"""Changes in histories, and findings of runs, that ask for their cause."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Row, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from tesserabench.collector.store.history_tables import ChangePoint, HistoryDue, HistoryPoint, SeriesWatch
from tesserabench.collector.store.history_words import ChangeState
from tesserabench.collector.store.tables import Project, Regression, RegressionMember, Series
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, FindingKind, RegressionState

_SMALLEST_LEVEL = 1e-300
_LOCK_KEY = "causes"
_SURE = (RegressionState.CONFIRMED.value, RegressionState.ACKNOWLEDGED.value, RegressionState.ASSIGNED.value)


async def places(session: AsyncSession, *, since: datetime, limit: int) -> Sequence[Row[int, str]]:
    """Projects and lines with something that asks for its cause."""
    changes = (
        select(Series.project_id, ChangePoint.line)
        .join(Series, Series.id == ChangePoint.series_id)
        .where(Series.primary.is_(True), *_unclaimed(since))
    )
    findings = select(Regression.project_id, Regression.branch).where(*_without_cause())
    both = changes.union(findings).subquery()
    return (await session.execute(select(both.c[0], both.c[1]).limit(limit))).all()


def _log(level: InstrumentedAttribute[float]) -> ColumnElement[float]:
    """The logarithm of a level; that of none above zero would be an error."""
    return func.ln(func.greatest(level, _SMALLEST_LEVEL))


async def alone(session: AsyncSession) -> bool:
    """Whether no other replica looks for causes now; nobody else begins to until the transaction ends."""
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(_LOCK_KEY, 0)))))


def _unclaimed(since: datetime) -> tuple[ColumnElement[bool], ...]:
    log_before, log_after = _log(ChangePoint.before_level), _log(ChangePoint.after_level)
    # A step that went back on its own is history; nobody is to be called for it.
    still = (
        select(SeriesWatch.series_id)
        .where(
            SeriesWatch.series_id == ChangePoint.series_id,
            SeriesWatch.line == ChangePoint.line,
            func.abs(SeriesWatch.level - log_after) < func.abs(SeriesWatch.level - log_before),
        )
        .exists()
    )
    return (
        ChangePoint.state == ChangeState.CONFIRMED.value,
        ChangePoint.worse.is_(True),
        # Steps that the policy calls too small to matter, or ignores, are shown and open no finding.
        ChangePoint.severity.is_not(None),
        ChangePoint.regression_id.is_(None),
        ChangePoint.at >= since,
        still,
    )


def _without_cause() -> tuple[ColumnElement[bool], ...]:
    """Findings of runs that are sure, and whose run has been taken into the histories."""
    due = select(HistoryDue.run_id).where(HistoryDue.run_id == Regression.run_id, HistoryDue.error == "")
    return (
        Regression.kind == FindingKind.REGRESSION.value,
        Regression.cause == "",
        Regression.state.in_(_SURE),
        Regression.drill.is_(False),
        Regression.run_id.is_not(None),
        Regression.series_id.is_not(None),
        ~due.exists(),
    )


async def unclaimed(
    session: AsyncSession, project_id: int, line: str, *, since: datetime, limit: int
) -> Sequence[Row[ChangePoint, Series]]:
    """Changes for the worse of a line that belong to no finding yet and still hold, oldest first."""
    statement = (
        select(ChangePoint, Series)
        .join(Series, Series.id == ChangePoint.series_id)
        .where(Series.project_id == project_id, Series.primary.is_(True), ChangePoint.line == line, *_unclaimed(since))
        .order_by(ChangePoint.run_id, ChangePoint.id)
        .limit(limit)
    )
    return (await session.execute(statement)).all()


async def claimed_between(
    session: AsyncSession, project_id: int, line: str, *, first: int, last: int, limit: int
) -> Sequence[Row[ChangePoint, Series]]:
    """Changes of a line between two runs that belong to a finding which is not over."""
    statement = (
        select(ChangePoint, Series)
        .join(Series, Series.id == ChangePoint.series_id)
        .join(Regression, Regression.id == ChangePoint.regression_id)
        .where(
            Series.project_id == project_id,
            ChangePoint.line == line,
            ChangePoint.state == ChangeState.CONFIRMED.value,
            Regression.state.in_([state.value for state in OPEN_REGRESSION_STATES]),
            func.coalesce(ChangePoint.earliest_run_id, ChangePoint.run_id) <= last,
            func.coalesce(ChangePoint.latest_run_id, ChangePoint.run_id) >= first,
        )
        .order_by(ChangePoint.id)
        .limit(limit)
    )
    return (await session.execute(statement)).all()


async def without_cause(
    session: AsyncSession, project_id: int, line: str, *, limit: int
) -> Sequence[Row[Regression, Series]]:
    """Findings of runs on a line whose cause nobody has looked for, with the series that shows them most."""
    statement = (
        select(Regression, Series)
        .join(Series, Series.id == Regression.series_id)
        .where(Regression.project_id == project_id, Regression.branch == line, *_without_cause())
        .order_by(Regression.id)
        .limit(limit)
    )
    return (await session.execute(statement)).all()


async def lock_changes(session: AsyncSession, ids: Collection[int]) -> dict[int, ChangePoint]:
    """Changes by id, locked until the commit, without those that the detector moves just now.

    It takes them in the order of its series; waiting for one while holding another could be for ever.
    """
    statement = select(ChangePoint).where(ChangePoint.id.in_(ids)).order_by(ChangePoint.id)
    statement = statement.with_for_update(skip_locked=True)
    rows = await session.scalars(statement, execution_options={"populate_existing": True})
    return {row.id: row for row in rows}


async def of_series(session: AsyncSession, series_ids: Collection[int], line: str) -> Sequence[Row[int, Regression]]:
    """Findings (drills aside) that some series belong to on a line, oldest first; locked until the commit."""
    statement = (
        select(RegressionMember.series_id, Regression)
        .join(Regression, Regression.id == RegressionMember.regression_id)
        .where(
            RegressionMember.series_id.in_(series_ids),
            Regression.branch == line,
            Regression.drill.is_(False),
        )
        .order_by(Regression.id)
        .with_for_update(of=Regression)
    )
    return (await session.execute(statement, execution_options={"populate_existing": True})).all()


async def withdrawn(session: AsyncSession, *, limit: int) -> Sequence[Regression]:
    """Open findings that the history alone made and whose changes it has all taken back; locked until the commit."""
    standing = (
        select(ChangePoint.id)
        .where(ChangePoint.regression_id == Regression.id, ChangePoint.state == ChangeState.CONFIRMED.value)
        .exists()
    )
    any_change = select(ChangePoint.id).where(ChangePoint.regression_id == Regression.id).exists()
    statement = (
        select(Regression)
        .where(
            Regression.state.in_([state.value for state in OPEN_REGRESSION_STATES]),
            Regression.kind == FindingKind.REGRESSION.value,
            Regression.attribution["found_by"].astext == "history",
            and_(any_change, ~standing),
        )
        .order_by(Regression.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await session.scalars(statement, execution_options={"populate_existing": True})).all()


async def returned_members(session: AsyncSession, *, limit: int) -> Sequence[Row[RegressionMember, Regression]]:
    """Series of open findings that the history alone made whose level is back; the findings are locked."""
    log_before, log_after = _log(ChangePoint.before_level), _log(ChangePoint.after_level)
    statement = (
        select(RegressionMember, Regression)
        .join(Regression, Regression.id == RegressionMember.regression_id)
        .join(ChangePoint, ChangePoint.id == RegressionMember.change_point_id)
        .join(SeriesWatch, and_(SeriesWatch.series_id == ChangePoint.series_id, SeriesWatch.line == ChangePoint.line))
        .where(
            RegressionMember.returned_at.is_(None),
            Regression.state.in_(_SURE),
            func.abs(SeriesWatch.level - log_before) < func.abs(SeriesWatch.level - log_after) / 2,
        )
        .order_by(Regression.id)
        .limit(limit)
        .with_for_update(of=Regression, skip_locked=True)
    )
    return (await session.execute(statement, execution_options={"populate_existing": True})).all()


async def project(session: AsyncSession, project_id: int) -> Project:
    """A project."""
    return await session.get_one(Project, project_id)


async def runs_between(session: AsyncSession, series_id: int, line: str, first: int, last: int) -> int:
    """How many points of a series lie between two runs, neither of them counted."""
    statement = select(func.count()).where(
        HistoryPoint.series_id == series_id,
        HistoryPoint.line == line,
        HistoryPoint.run_id > first,
        HistoryPoint.run_id < last,
    )
    return await session.scalar(statement) or 0
