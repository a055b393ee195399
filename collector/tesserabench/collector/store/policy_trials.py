"""What trying a policy out reads: judged runs of a time, and the series that they measured."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.history import SeriesLine
from tesserabench.collector.store.history_tables import HistoryPoint
from tesserabench.collector.store.tables import (
    Comparison,
    Regression,
    RegressionEvent,
    RegressionMember,
    Run,
    Series,
)
from tesserabench.collector.store.words import FindingKind, RunState, TriggerKind


async def judged_runs(
    session: AsyncSession, project_id: int, *, since: datetime, until: datetime, suite: str
) -> Sequence[int]:
    """Runs of a project that were asked for in a time and judged by comparison, oldest first; no drills."""
    statement = (
        select(Run.id)
        .join(Comparison, Comparison.run_id == Run.id)
        .where(
            Run.project_id == project_id,
            Run.state == RunState.FINISHED.value,
            Run.drill.is_(False),
            Run.trigger != TriggerKind.CONFIRMATION.value,
            # What identical code gives is no finding, whatever the policy.
            Run.identical == "",
            ~Run.spec.has_key("duet"),
            Run.created_at >= since,
            Run.created_at <= until,
        )
    )
    if suite:
        statement = statement.where(Run.suite == suite)
    return (await session.scalars(statement.order_by(Run.id))).all()


async def again(session: AsyncSession, run_id: int) -> Sequence[Run]:
    """Runs that measured parts of a run again, oldest first."""
    statement = select(Run).where(
        Run.parent_id == run_id,
        Run.trigger == TriggerKind.CONFIRMATION.value,
        Run.state == RunState.FINISHED.value,
    )
    return (await session.scalars(statement.order_by(Run.id))).all()


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingThen:
    """A finding of a series as it was at some time."""

    finding_id: int
    series_id: int
    line: str
    state: str
    shown: Mapping[str, Any]
    """What it shows of the series: an entry of a comparison in JSON."""


async def findings_then(
    session: AsyncSession, series_ids: Collection[int], lines: Collection[str], *, at: datetime
) -> list[FindingThen]:
    """The findings (drills aside) of series on lines as they were just before a time, the newest of each last."""
    states = (
        select(RegressionEvent.state, RegressionEvent.at)
        .where(RegressionEvent.regression_id == Regression.id, RegressionEvent.at < at)
        .order_by(RegressionEvent.id.desc())
        .limit(1)
        .lateral()
    )
    statement = (
        select(Regression.id, RegressionMember.series_id, Regression.branch, states.c.state, RegressionMember.evidence)
        .join(Regression, Regression.id == RegressionMember.regression_id)
        .join(states, true())
        .where(
            RegressionMember.series_id.in_(series_ids),
            Regression.kind == FindingKind.REGRESSION.value,
            Regression.branch.in_(lines),
            Regression.drill.is_(False),
        )
        .order_by(states.c.at, Regression.id)
    )
    return [
        FindingThen(finding_id=row[0], series_id=row[1], line=row[2], state=row[3], shown=row[4])
        for row in await session.execute(statement)
    ]


async def histories(
    session: AsyncSession, project_id: int, *, since: datetime, suite: str
) -> list[tuple[SeriesLine, Series]]:
    """Series of primary metrics that have a point from `since` on, with their lines."""
    statement = (
        select(HistoryPoint.series_id, HistoryPoint.line, Series)
        .join(Series, Series.id == HistoryPoint.series_id)
        .where(Series.project_id == project_id, Series.primary.is_(True), Series.better.in_(("lower", "higher")))
        .group_by(HistoryPoint.series_id, HistoryPoint.line, Series.id)
        .having(func.max(HistoryPoint.at) >= since)
        .order_by(HistoryPoint.series_id, HistoryPoint.line)
    )
    if suite:
        # A suite may be made of cases of others, whose series keep the suite that they are of.
        statement = statement.join(Run, Run.id == HistoryPoint.run_id)
        statement = statement.where(or_(Series.suite == suite, Run.suite == suite))
    return [((row[0], row[1]), row[2]) for row in await session.execute(statement)]
