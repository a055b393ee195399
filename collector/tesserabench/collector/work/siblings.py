"""Comparing the devices of the fleet with their siblings, on one replica at a time, whenever there is something new."""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from tesserabench.analysis.attribution.siblings import DeviceStanding, standings
from tesserabench.analysis.policy import Policy
from tesserabench.collector.core import metrics, siblings
from tesserabench.collector.core.judging import Offload
from tesserabench.collector.store import device_findings as store
from tesserabench.collector.store.database import Database

_log = structlog.get_logger(__name__)


class SiblingCheck:
    """Compares, and lets the findings say what was seen."""

    def __init__(
        self, database: Database, offload: Offload, clock: Callable[[], datetime], policy: Policy | None = None
    ) -> None:
        self._database = database
        self._offload = offload
        self._clock = clock
        self._policy = policy or Policy()
        self._known: frozenset[int] = frozenset()

    async def step(self) -> None:
        """Check the fleet and log what it led to.

        Raises:
            UnavailableError: the database is away.
        """
        outcome = await self.check()
        if outcome != siblings.Outcome():
            _log.info("siblings.compared", slow=outcome.opened, back=outcome.closed, cordoned=outcome.cordoned)

    async def check(self) -> siblings.Outcome:
        """Compare, unless another replica does or nothing has been measured since the last time.

        Raises:
            UnavailableError: the database is away.
        """
        now = self._clock()
        async with self._database.transaction() as session:
            if not await store.alone(session):
                # The numbers of this replica would age; those of the one that checks are shown.
                metrics.DEVICE_DEVIATION.replace({})
                self._known = frozenset()
                return siblings.Outcome()
            if await siblings.recent_runs(session, now) <= self._known:
                return siblings.Outcome()
            read = await siblings.read(session, now)
            readings = read.about(await siblings.series_of_findings(session))
            found = await self._offload(standings, readings)
            outcome = await siblings.apply(session, found, read, self._policy, now)
        self._known = read.runs
        metrics.DEVICE_DEVIATION.replace(_deviations(found))
        return outcome


def _deviations(found: Sequence[DeviceStanding]) -> dict[tuple[str, ...], float]:
    """What can be told of each device; nothing where there is too little evidence."""
    return {
        (one.host, one.device, one.model, one.test_class): one.deviation
        for one in found
        if one.siblings and one.runs and not one.test_class.startswith("finding ")
    }
