"""How the launches of each series spread in each run, and what they cost."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Attempt, CaseResult, Host, Measurement, Project, Run, Series, Trial
from tesserabench.collector.store.tracks import device_id, on_devices, undisturbed


@dataclass(frozen=True, slots=True)
class SpreadRow:
    """The launches of one series in one run on one device, in natural logarithms."""

    series_id: int
    run_id: int
    host: str
    device: str
    launches: int
    mean: float
    variance: float | None


async def runs_since(
    session: AsyncSession, *, since: datetime, project: str, suite: str, host: str, most: int
) -> list[int]:
    """Undisturbed runs that were asked for since then, the youngest `most`; empty names do not filter."""
    statement = select(Run.id).where(Run.created_at >= since, *undisturbed())
    if project:
        statement = statement.join(Project, Project.id == Run.project_id).where(Project.name == project)
    if suite:
        statement = statement.where(Run.suite == suite)
    if host:
        here = select(Attempt.id).join(Host, Host.id == Attempt.host_id)
        statement = statement.where(here.where(Attempt.run_id == Run.id, Host.name == host).exists())
    return sorted(await session.scalars(statement.order_by(Run.id.desc()).limit(most)))


async def spreads(session: AsyncSession, runs: Collection[int], *, host: str = "") -> list[SpreadRow]:
    """Of every primary series in these runs, on one host when it is named."""
    if not runs:
        return []
    logarithm = func.ln(Measurement.value)
    aggregates = (func.count(), func.avg(logarithm), func.var_samp(logarithm))
    statement = on_devices(*aggregates, runs=runs).where(Series.primary.is_(True))
    if host:
        statement = statement.where(Host.name == host)
    return [
        SpreadRow(row[0], row[1], row[2], device_id(row[2], row[3]), row[4], row[5], row[6])
        for row in await session.execute(statement)
    ]


async def spent(session: AsyncSession, runs: Collection[int]) -> dict[tuple[str, str], float]:
    """Seconds of worker processes by case and mode: a process's time is shared by the cases that it measured."""
    if not runs:
        return {}
    key = (CaseResult.attempt_id, CaseResult.epoch, CaseResult.trial)
    counted = (
        select(*key, CaseResult.case_id, CaseResult.mode, func.count().over(partition_by=key).label("cases"))
        .where(CaseResult.run_id.in_(runs), CaseResult.late.is_(False))
        .subquery()
    )
    trial = and_(
        Trial.attempt_id == counted.c.attempt_id, Trial.epoch == counted.c.epoch, Trial.trial == counted.c.trial
    )
    seconds = func.extract("epoch", Trial.ended_at - Trial.started_at) / counted.c.cases
    statement = (
        select(counted.c.case_id, counted.c.mode, func.sum(seconds))
        .join(Trial, trial)
        .where(Trial.ended_at.is_not(None))
        .group_by(counted.c.case_id, counted.c.mode)
    )
    return {(row[0], row[1]): float(row[2]) for row in await session.execute(statement)}
