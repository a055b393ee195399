"""What became of findings, counted."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Row, case, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Project, Regression, RegressionEvent
from tesserabench.collector.store.words import RegressionState

_FEEDBACK = case((Regression.state == RegressionState.DUPLICATE.value, None), else_=Regression.feedback)
"""What was said of a finding; of one cause only once, so that nothing counts of what repeats another."""


async def outcomes(
    session: AsyncSession, project: str, *, since: datetime
) -> Sequence[Row[str, str, str, str, bool | None, int]]:
    """Policy, class of hosts, kind, state, feedback and number of findings that were once confirmed."""
    what = (Regression.policy, Regression.device_key, Regression.kind, Regression.state, _FEEDBACK)
    statement = select(*what, func.count()).where(*_counted(project, since)).group_by(*what)
    return (await session.execute(statement)).all()


async def times_to_triage(
    session: AsyncSession, project: str, *, since: datetime
) -> Sequence[Row[str, str, str, float]]:
    """Policy, class of hosts and kind with the middle time in seconds until a person did something."""
    what = (Regression.policy, Regression.device_key, Regression.kind)
    seconds = func.extract("epoch", Regression.triaged_at - Regression.created_at)
    middle = func.percentile_cont(0.5).within_group(seconds)
    statement = select(*what, middle).where(*_counted(project, since), Regression.triaged_at.is_not(None))
    return (await session.execute(statement.group_by(*what))).all()


async def feedback(session: AsyncSession, *, since: datetime) -> Sequence[Row[str, str, str, bool | None, int]]:
    """Project, class of hosts, kind, feedback and number of findings that were once confirmed."""
    what = (Project.name, Regression.device_key, Regression.kind, _FEEDBACK)
    statement = select(*what, func.count()).join(Project, Project.id == Regression.project_id)
    return (await session.execute(statement.where(*_counted("", since)).group_by(*what))).all()


def _counted(project: str, since: datetime) -> tuple[ColumnElement[bool], ...]:
    confirmed = select(literal(1)).where(
        RegressionEvent.regression_id == Regression.id, RegressionEvent.state == RegressionState.CONFIRMED.value
    )
    conditions: tuple[ColumnElement[bool], ...] = (
        Regression.drill.is_(False),
        Regression.created_at >= since,
        confirmed.exists(),
    )
    if project:
        named = select(Project.id).where(Project.name == project).scalar_subquery()
        conditions = (*conditions, Regression.project_id == named)
    return conditions
