"""What `tesserabench-collector reanalyse` does: every history anew, in processes here or on a Dask cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from tesserabench.analysis.policy import Policy
from tesserabench.collector.core import reanalysis
from tesserabench.collector.core.judging import Offload
from tesserabench.collector.core.reanalysis import Reanalysed
from tesserabench.collector.core.watching import Watching
from tesserabench.collector.settings import Settings
from tesserabench.collector.store import migrate
from tesserabench.collector.store.database import Database
from tesserabench.collector.work.analysis_pool import AnalysisPool
from tesserabench.collector.work.dask_cluster import dask_cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for."""

    project: str = ""
    dask: str = ""
    """Address of a scheduler; empty computes here."""
    processes: int = 1
    from_results: bool = False
    """Make the points anew from the measurements first."""


async def reanalyse(settings: Settings, dsn: str, wish: Wish, say: Callable[[str], None]) -> Reanalysed:
    """Carry it out on a database that answers; `say` is told how far it is.

    Raises:
        UnavailableError: the database is away.
        ConnectionError: the cluster is.
        SettingsError: the extra `dask` is not installed.
    """
    await asyncio.to_thread(migrate.upgrade, dsn)
    told = settings.detection
    database = Database(dsn, pool_size=2)
    try:
        async with _computing(wish) as offload:
            watching = Watching(
                database=database,
                offload=offload,
                clock=lambda: datetime.now(UTC),
                policy=Policy(minor=told.minor, major=told.major, critical=told.critical),
            )
            if wish.from_results:
                again = await reanalysis.read_again(watching, lambda done: say(f"{done.runs} runs read"))
                say(f"{again.runs} runs read")
            return await reanalysis.reanalyse(
                watching, lambda done: say(f"{done.series} series analysed"), project=wish.project
            )
    finally:
        await database.close()


@asynccontextmanager
async def _computing(wish: Wish) -> AsyncIterator[Offload]:
    if wish.dask:
        async with dask_cluster(wish.dask) as cluster:
            yield cluster
        return
    pool = AnalysisPool(wish.processes)
    try:
        yield pool
    finally:
        await pool.close()
