"""The historian: takes what ended runs gave into the histories of their series, and looks what changed in those.

Any number of replicas may do it at once: each takes runs that no other one holds.
"""

import asyncio
import contextlib
import time
from contextlib import aclosing
from datetime import timedelta

import structlog
from tesserabench.collector.core import metrics, series_creep, series_watch
from tesserabench.collector.core.series_watch import TakingInError, Watching
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.store import history as store
from tesserabench.collector.store.notices import RUN_CHANNEL

_BATCH = 64
_MOST_TRIES = 5
_RETRY_SECONDS = 20.0
_CHECK_SECONDS = 5.0
_PAUSE_SECONDS = 0.2

_log = structlog.get_logger(__name__)


class Historian:
    """Keeps histories until it is cancelled."""

    def __init__(self, watching: Watching, *, check_seconds: float = _CHECK_SECONDS) -> None:
        """Do nothing yet.

        Args:
            watching: What it takes.
            check_seconds: Longest time between two looks; notices of ended runs come at once.
        """
        self._watching = watching
        self._check_seconds = check_seconds
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Look for work, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="historian-listen")
            group.create_task(self._loop(), name="historian")

    async def check(self) -> int:
        """Take in what is due now; gives how many runs it was.

        Raises:
            UnavailableError: the database is away.
        """
        started = time.monotonic()
        try:
            taken = len(await series_watch.take_in(self._watching, limit=_BATCH))
        except TakingInError as error:
            taken = await self._one_by_one(error)
        await series_creep.freeze_references(self._watching.database)
        if taken:
            metrics.HISTORY_SECONDS.observe(time.monotonic() - started)
        return taken

    async def _one_by_one(self, broken: TakingInError) -> int:
        """Take in each of these runs by itself, so that one that breaks it holds up no other."""
        if len(broken.run_ids) <= 1:
            await self._put_off(broken)
            return len(broken.run_ids)
        for _ in broken.run_ids:
            try:
                await series_watch.take_in(self._watching, limit=1)
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

    async def _listen(self) -> None:
        async with aclosing(self._watching.database.listen(RUN_CHANNEL)) as notices:
            async for _ in notices:
                self._woken.set()

    async def _loop(self) -> None:
        while True:
            self._woken.clear()
            try:
                taken = await self.check()
            except UnavailableError as error:
                _log.warning("historian.interrupted", why=error.message)
                taken = 0
            except Exception:  # noqa: BLE001 - one broken look must not end the watch for good; the alert on it tells
                metrics.DETECTOR_FAILURES.inc()
                _log.exception("historian.failed")
                taken = 0
            await asyncio.sleep(_PAUSE_SECONDS)
            if not taken:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._check_seconds):
                        await self._woken.wait()
