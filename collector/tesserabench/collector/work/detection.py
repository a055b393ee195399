"""The detector: finds runs that wait for a verdict and judges them, on whichever replica is first.

A run is claimed for a while; a replica that dies over it loses it to another. Notices of changed runs wake the
detector, and a tick covers a lost one.
"""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

import structlog
from tesserabench.collector.core import judging, metrics, regressions
from tesserabench.collector.core.judging import Judging
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.store import comparisons as store
from tesserabench.collector.work.woken import Rhythm, look_when_woken

_BATCH = 8
_MOST_TRIES = 5
_CLEANING_SECONDS = 3600.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the detector looks, in seconds."""

    check_seconds: float = 5.0
    """Longest time between two looks."""
    pause_seconds: float = 0.2
    """Shortest time between two looks: notices come in bursts while results arrive."""
    claim_seconds: float = 120.0
    """How long a replica may take for one run before another one tries."""
    retry_seconds: float = 10.0
    """How long a run whose judgement failed is left alone."""


class Detector:
    """Judges runs until it is cancelled."""

    def __init__(self, judging: Judging, pace: Pace | None = None) -> None:
        self._judging = judging
        self._pace = pace or Pace()
        self._tries: Counter[int] = Counter()
        self._clean_at = 0.0

    async def run(self) -> None:
        """Look for work, for ever."""
        rhythm = Rhythm(check_seconds=self._pace.check_seconds, pause_seconds=self._pace.pause_seconds)
        await look_when_woken("detector", self._judging.database, rhythm, self._look)

    async def check(self) -> int:
        """Judge what waits now; gives how many runs were looked at.

        Raises:
            UnavailableError: the database is away.
        """
        now = self._judging.clock()
        async with self._judging.database.transaction() as session:
            waiting = await store.claim(
                session,
                now=now,
                until=now + timedelta(seconds=self._pace.claim_seconds),
                limit=_BATCH,
            )
        for run_id in waiting:
            await self._judge(run_id)
        return len(waiting)

    async def _look(self) -> bool:
        looked_at = await self.check()
        await self._clean()
        metrics.DETECTOR_LAST_SUCCESS.set(self._judging.clock().timestamp())
        return looked_at == _BATCH

    async def _judge(self, run_id: int) -> None:
        started = time.monotonic()
        try:
            await judging.judge(self._judging, run_id)
        except UnavailableError:
            raise
        except Exception:  # noqa: BLE001 - an error over one run must not keep the others from being judged
            metrics.DETECTOR_FAILURES.inc()
            self._tries[run_id] += 1
            _log.exception("run.judging_failed", run=run_id, tries=self._tries[run_id])
            if self._tries[run_id] >= _MOST_TRIES:
                del self._tries[run_id]
                await judging.give_up(self._judging, run_id)
            else:
                await self._put_back(run_id)
        else:
            self._tries.pop(run_id, None)
        finally:
            metrics.DETECTOR_SECONDS.observe(time.monotonic() - started)

    async def _put_back(self, run_id: int) -> None:
        until = self._judging.clock() + timedelta(seconds=self._pace.retry_seconds)
        async with self._judging.database.transaction() as session:
            await store.put_back(session, run_id, until=until)

    async def _clean(self) -> None:
        if time.monotonic() < self._clean_at:
            return
        async with self._judging.database.transaction() as session:
            await regressions.close_abandoned(session, self._judging.clock())
        self._clean_at = time.monotonic() + _CLEANING_SECONDS
