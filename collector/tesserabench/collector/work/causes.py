"""Looking for the causes of findings, on one replica at a time, and waking those that were ignored until now."""

from tesserabench.collector.core import finding_causes, regressions
from tesserabench.collector.core.finding_causes import Asking
from tesserabench.collector.store import finding_changes as store


class CauseFinder:
    """Finds causes, and wakes what was ignored until now."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def step(self) -> None:
        """Look once, unless another replica does.

        Raises:
            UnavailableError: the database is away.
        """
        async with self._asking.database.transaction() as session:
            if not await store.alone(session):
                return
            await regressions.wake_ignored(session, self._asking.clock())
        await finding_causes.look(self._asking)
