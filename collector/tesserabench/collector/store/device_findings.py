"""Open findings about devices, and how much of the fleet is out of use."""

from collections.abc import Collection, Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Host, Regression, RegressionMember, Series
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, FindingKind, RegressionState

_OPEN = [state.value for state in OPEN_REGRESSION_STATES]
_LOCK_KEY = "siblings"


async def alone(session: AsyncSession) -> bool:
    """Whether no other replica compares siblings now; nobody else does until the transaction ends."""
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(func.hashtextextended(_LOCK_KEY, 0)))))


async def slow_devices(session: AsyncSession, subjects: Collection[str] | None = None) -> Sequence[Regression]:
    """Open findings of slow devices that nobody has called fixed, by id; about these subjects only when given."""
    statement = select(Regression).where(
        Regression.kind == FindingKind.SLOW_DEVICE.value,
        Regression.state.in_(_OPEN),
        Regression.state != RegressionState.FIXED.value,
    )
    if subjects is not None:
        statement = statement.where(Regression.subject.in_(subjects))
    return (await session.scalars(statement.order_by(Regression.id))).all()


async def members(session: AsyncSession) -> dict[int, list[Series]]:
    """By finding of a slow device, open ones only, the series that showed it; none where siblings alone did."""
    statement = (
        select(RegressionMember.regression_id, Series)
        .join(Series, Series.id == RegressionMember.series_id)
        .join(Regression, Regression.id == RegressionMember.regression_id)
        .where(Regression.kind == FindingKind.SLOW_DEVICE.value, Regression.state.in_(_OPEN))
        .order_by(RegressionMember.regression_id, Series.id)
    )
    found: dict[int, list[Series]] = {}
    for regression_id, series in await session.execute(statement):
        found.setdefault(regression_id, []).append(series)
    return found


async def cordoned_and_all(session: AsyncSession) -> tuple[int, int]:
    """How many hosts are kept out of use, and how many there are."""
    row = (await session.execute(select(func.count().filter(Host.cordoned), func.count(Host.id)))).one()
    return row[0], row[1]
