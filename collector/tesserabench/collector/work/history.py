"""The historian: takes what ended runs gave into the histories of their series, and looks what changed in those.

Any number of replicas may do it at once: each takes runs that no other one holds.
"""

import time
from datetime import timedelta

import structlog
from tesserabench.collector.core import metrics, series_creep, series_watch
from tesserabench.collector.core.series_watch import TakingInError
from tesserabench.collector.core.watching import Watching
from tesserabench.collector.store import history_due as store
from tesserabench.collector.work.woken import Rhythm, look_when_woken

_BATCH = 64
_MOST_TRIES = 5
_RETRY_SECONDS = 20.0

_log = structlog.get_logger(__name__)


class Historian:
    """Keeps histories until it is cancelled."""

    def __init__(self, watching: Watching, rhythm: Rhythm | None = None) -> None:
        """Do nothing yet.

        Args:
            watching: What it takes.
            rhythm: How often it looks.
        """
        self._watching = watching
        self._rhythm = rhythm or Rhythm()

    async def run(self) -> None:
        """Look for work, for ever."""
        await look_when_woken("historian", self._watching.database, self._rhythm, self._look)

    async def _look(self) -> bool:
        return await self.check() > 0

    async def check(self) -> int:
        """Take in what is due now; gives how many runs it was.

        Raises:
            UnavailableError: the database is away.
        """
        started = time.monotonic()
        try:
            taken = len(await series_watch.take_in(self._watching, limit=_BATCH))
        except TakingInError as error:
            if not error.run_ids:
                raise
            _log.warning("history.breaking", runs=len(error.run_ids), why=f"{error.__cause__!r}")
            taken = await self._one_by_one(error)
        await series_watch.mend(self._watching)
        await series_creep.freeze_references(self._watching.database)
        if taken:
            metrics.HISTORY_SECONDS.observe(time.monotonic() - started)
        return taken

    async def _one_by_one(self, broken: TakingInError) -> int:
        """Take in each of these runs by itself, and carefully: neither a run nor a series holds up the others."""
        for _ in broken.run_ids:
            try:
                await series_watch.take_in(self._watching, limit=1, carefully=True)
            except TakingInError as error:
                await self._put_off(error)
        return len(broken.run_ids)

    async def _put_off(self, broken: TakingInError) -> None:
        metrics.DETECTOR_FAILURES.inc()
        until = self._watching.clock() + timedelta(seconds=_RETRY_SECONDS)
        cause = broken.__cause__
        _log.error("history.failed", runs=broken.run_ids, exc_info=cause)
        async with self._watching.database.transaction() as session:
            for run_id in broken.run_ids:
                what = f"{type(cause).__name__}: {cause}"
                given_up = await store.failed(session, run_id, until=until, most_tries=_MOST_TRIES, error=what)
                if given_up:
                    _log.error("history.given_up", run=run_id, why=what)
