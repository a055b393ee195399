"""Looks that follow the first one, and what is known to plan them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from statistics import fmean

from sqlalchemy import Row, and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.look_tables import Look
from tesserabench.collector.store.tables import Attempt, CaseResult, Run, Trial


async def of_runs(session: AsyncSession, run_ids: Iterable[int]) -> Sequence[Row[Look, Run]]:
    """The looks at some runs by number, each with the run that measures it, as they are now."""
    statement = (
        select(Look, Run)
        .join(Run, Run.id == Look.measuring_run_id)
        .where(Look.run_id.in_(list(run_ids)))
        .order_by(Look.run_id, Look.number)
    )
    return (await session.execute(statement, execution_options={"populate_existing": True})).all()


async def case_seconds(session: AsyncSession, run_id: int) -> tuple[float, dict[str, float]]:
    """What a run's launches took, in seconds: starting a worker process, and each case in it."""
    measured = (
        select(
            CaseResult.attempt_id,
            CaseResult.trial,
            CaseResult.case_id,
            CaseResult.measured_at,
            Trial.started_at,
            Trial.startup_seconds,
        )
        .join(Attempt, and_(Attempt.id == CaseResult.attempt_id, Attempt.epoch == CaseResult.epoch))
        .join(
            Trial,
            and_(
                Trial.attempt_id == CaseResult.attempt_id,
                Trial.epoch == CaseResult.epoch,
                Trial.trial == CaseResult.trial,
            ),
        )
        .where(CaseResult.run_id == run_id, CaseResult.late.is_(False))
        .order_by(CaseResult.attempt_id, CaseResult.trial, CaseResult.sequence)
    )
    rows = (await session.execute(measured)).all()
    startups, cases = [], defaultdict[str, list[float]](list)
    for _, group in groupby(rows, key=lambda row: (row.attempt_id, row.trial)):
        launch = list(group)
        startups.append(launch[0].startup_seconds or 0.0)
        ready = launch[0].started_at + timedelta(seconds=startups[-1])
        for row, before in zip(launch, [ready, *(row.measured_at for row in launch)], strict=False):
            cases[row.case_id].append(max(0.0, (row.measured_at - before).total_seconds()))
    return fmean(startups or [0.0]), {case_id: fmean(seconds) for case_id, seconds in cases.items()}
