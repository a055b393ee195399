"""The judged run on whose occasion findings change, and what is asked of it and of them again and again."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Entry
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.rules.verdicts import Terms
from tesserabench.analysis.wording import percent
from tesserabench.collector.core.regressions import DETECTOR, Act
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.tables import Regression, Run
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """The judged run and what it is judged against."""

    run: Run
    line: str
    """What the run's findings are kept under: see `baselines.branch_line`."""
    base_run_id: int | None
    now: datetime
    confirming_run_id: int | None = None
    """The run that measured again, at the second look; none when nothing did."""
    terms: Terms | None = None
    """The policy that judged."""
    base_line: str | None = None
    """What findings of the branch that it is compared with are kept under; none where that is its own."""


async def series_ids_of(session: AsyncSession, run: Run, keys: Iterable[SeriesKey]) -> dict[SeriesKey, int]:
    """The ids of series that a run measured, by key."""
    wanted = {(key.case_id, key.mode, key.metric, key.device): key for key in keys}
    found = await result_store.series_ids(session, run.project_id, wanted)
    return {wanted[columns]: series_id for columns, series_id in found.items()}


async def is_taken(session: AsyncSession, row: Regression) -> bool:
    """Whether a closed finding of several series cannot open again, because another one is open for its first."""
    return row.state not in OPEN_REGRESSION_STATES and await store.blocking(session, row) is not None


def act_of(occasion: Occasion, comment: str) -> Act:
    """What the detector does on this occasion."""
    run_id = occasion.confirming_run_id or occasion.run.id
    return Act(actor=DETECTOR, comment=comment, now=occasion.now, run_id=run_id)


def size_of(entry: Entry) -> str:
    """Metric and change, for the history of a finding."""
    change = entry.judgement.change
    return f"{entry.series.key.metric} {percent(change)}" if change is not None else entry.series.key.metric
