"""Launches of series in a few numbers each, as charts show them; no raw samples are read."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Attempt, Host, Measurement, Series

MOST_BOXES = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One series in one worker process: its median, and its samples' spread where it was sampled."""

    run_id: int
    series: Series
    host: str
    trial: int
    outcome: str
    value: float
    ci_low: float | None
    ci_high: float | None
    minimum: float | None
    q1: float | None
    q3: float | None
    maximum: float | None
    count: int | None


async def of_runs(session: AsyncSession, run_ids: Sequence[int], *, series_id: int | None = None) -> list[Box]:
    """Launches of some runs in the newest epochs, of one series or of every primary one, by case, run, host, trial."""
    statement = (
        select(
            Measurement.run_id,
            Series,
            Host.name,
            Measurement.trial,
            Measurement.outcome,
            Measurement.value,
            Measurement.ci_low,
            Measurement.ci_high,
            Measurement.minimum,
            Measurement.q1,
            Measurement.q3,
            Measurement.maximum,
            Measurement.count,
        )
        .join(Series, Series.id == Measurement.series_id)
        .join(Attempt, and_(Attempt.id == Measurement.attempt_id, Attempt.epoch == Measurement.epoch))
        .outerjoin(Host, Host.id == Attempt.host_id)
        .where(Measurement.run_id.in_(run_ids), Measurement.late.is_(False))
        .where(Series.primary.is_(True) if series_id is None else Series.id == series_id)
        .order_by(Series.case_id, Series.mode, Series.id, Measurement.run_id, Host.name, Measurement.trial)
        .limit(MOST_BOXES)
    )
    return [
        Box(
            run_id=row[0],
            series=row[1],
            host=row[2] or "",
            trial=row[3],
            outcome=row[4],
            value=row[5],
            ci_low=row[6],
            ci_high=row[7],
            minimum=row[8],
            q1=row[9],
            q3=row[10],
            maximum=row[11],
            count=row[12],
        )
        for row in await session.execute(statement)
    ]
