"""Findings whose time has come: forgotten ones, and those that were ignored until now."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, literal, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from tesserabench.collector.store.tables import Regression
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, RegressionState

_OPEN = [state.value for state in OPEN_REGRESSION_STATES]


async def stale(session: AsyncSession, *, before: datetime) -> Sequence[Regression]:
    """Open findings of other branches, and fixed ones, that nothing happened to since then; locked until the commit."""
    forgotten = or_(Regression.branch != "", Regression.state == RegressionState.FIXED.value)
    conditions = (Regression.state.in_(_OPEN), forgotten, Regression.updated_at < before)
    statement = select(Regression).where(*conditions).order_by(Regression.id).limit(500)
    return (await session.scalars(statement.with_for_update(skip_locked=True))).all()


def _is_due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return Regression.ignored_until <= now, Regression.state == RegressionState.IGNORED.value


async def projects_to_wake(session: AsyncSession, now: datetime) -> Sequence[int]:
    """Projects with findings that were ignored until now, in an order that everybody keeps to."""
    statement = select(Regression.project_id).where(*_is_due(now)).distinct().order_by(Regression.project_id)
    return (await session.scalars(statement)).all()


async def due_to_wake(session: AsyncSession, now: datetime) -> Sequence[Regression]:
    """Findings that were ignored until now, unless another one is open for the same; locked until the commit."""
    other = aliased(Regression)
    taken = select(literal(1)).where(
        other.id != Regression.id,
        other.kind == Regression.kind,
        other.state.in_(_OPEN),
        or_(
            and_(
                Regression.series_id.is_not(None),
                other.series_id == Regression.series_id,
                other.branch == Regression.branch,
                other.drill == Regression.drill,
            ),
            and_(
                Regression.subject != "", other.subject == Regression.subject, other.project_id == Regression.project_id
            ),
        ),
    )
    statement = (
        select(Regression)
        .where(*_is_due(now), not_(taken.exists()))
        .order_by(Regression.id)
        .limit(500)
        .with_for_update(skip_locked=True)
    )
    return (await session.scalars(statement)).all()
