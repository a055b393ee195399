"""Starting runs that are due. Safe with any number of replicas: a schedule is locked while its run is created."""

from collections.abc import Callable
from datetime import datetime

from tesserabench.collector.core import identical, schedules
from tesserabench.collector.store.database import Database

_MOST_A_ROUND = 100


class Scheduler:
    """Creates the runs of schedules that are due, and the second ones of pairs that measure the same code."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def step(self) -> None:
        """Create the runs that are due now, each in a transaction of its own."""
        for _ in range(_MOST_A_ROUND):
            async with self._database.transaction() as session:
                if not await schedules.start_due(session, self._clock()):
                    break
        for _ in range(_MOST_A_ROUND):
            async with self._database.transaction() as session:
                if not await identical.ask_second(session, self._clock()):
                    return
