"""What the first page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import detector_score, hosts, runs
from tesserabench.collector.core.detector_score import Score
from tesserabench.collector.core.hosts import HostState
from tesserabench.collector.core.runs import RunView
from tesserabench.collector.store import gauges as gauge_store
from tesserabench.collector.store import regressions as regression_store
from tesserabench.collector.store import runs as run_store
from tesserabench.collector.store.regressions import RegressionFilter, RegressionRow
from tesserabench.collector.store.runs import RunFilter
from tesserabench.collector.store.words import RegressionState

_MOST_RUNS = 50
_MOST_REGRESSIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The state of things at one moment."""

    confirmed: int
    """Confirmed findings that nobody has answered, drills and branches included."""
    oldest_untriaged: timedelta | None
    hosts_ready: int
    """Hosts that take work now or are at it."""
    hosts_total: int
    queue_depth: int
    queue_oldest: timedelta | None
    regressions: Sequence[RegressionRow]
    more_regressions: bool
    score: Score
    """How right the detector was of late."""
    runs: Sequence[RunView]


async def read(session: AsyncSession, now: datetime) -> Overview:
    """The overview at this moment."""
    found = await regression_store.page(session, RegressionFilter(), after=None, size=_MOST_REGRESSIONS + 1)
    rows = await run_store.page(session, RunFilter(), before_id=None, size=_MOST_RUNS)
    fleet = await hosts.views(session, now)
    queue = await gauge_store.queue(session)
    opened = [row[0] for row in await regression_store.gauges(session)]
    untriaged = [row.created_at for row in opened if row.state == RegressionState.CONFIRMED]
    return Overview(
        confirmed=len(untriaged),
        oldest_untriaged=now - min(untriaged) if untriaged else None,
        hosts_ready=sum(view.state in {HostState.READY, HostState.BUSY} for view in fleet),
        hosts_total=len(fleet),
        queue_depth=sum(count for _, count, _ in queue),
        queue_oldest=now - min(oldest for _, _, oldest in queue) if queue else None,
        regressions=found[:_MOST_REGRESSIONS],
        more_regressions=len(found) > _MOST_REGRESSIONS,
        score=await detector_score.read(session, "", now),
        runs=await runs.views(session, [(run, project) for run, project in rows]),
    )
