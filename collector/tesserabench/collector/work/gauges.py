"""Reading the gauges that stand in the database, so that every replica shows the same."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import hosts, metrics
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.store import gauges as store
from tesserabench.collector.store.database import Database

Reader = Callable[[AsyncSession, datetime], Awaitable[None]]
"""Reads some gauges from the database in a transaction of its own."""


class Gauges:
    """Refreshes gauges from the database and its connections."""

    def __init__(self, database: Database, clock: Callable[[], datetime], readers: Sequence[Reader] = ()) -> None:
        self._database = database
        self._clock = clock
        self._readers = (read_queue, read_hosts, read_schedules, *readers)

    async def step(self) -> None:
        """Refresh every gauge.

        Raises:
            UnavailableError: the database is away; `database_up` says so, the other gauges keep their last values.
        """
        pool = self._database.pool_state()
        metrics.DB_POOL_CONNECTIONS.replace({("in_use",): pool.in_use, ("idle",): pool.idle})
        now = self._clock()
        try:
            for read in self._readers:
                async with self._database.transaction() as session:
                    await read(session, now)
        except UnavailableError:
            metrics.DATABASE_UP.set(0)
            raise
        metrics.DATABASE_UP.set(1)


async def read_queue(session: AsyncSession, now: datetime) -> None:
    """How many attempts wait, and for how long."""
    rows = await store.queue(session)
    metrics.QUEUE_DEPTH.replace({(kind,): count for kind, count, _ in rows})
    metrics.QUEUE_OLDEST_AGE_SECONDS.replace(
        {(kind,): max(0.0, (now - oldest).total_seconds()) for kind, _, oldest in rows}
    )


async def read_hosts(session: AsyncSession, now: datetime) -> None:
    """Hosts by state, and when each was last heard of."""
    views = await hosts.views(session, now)
    counts = Counter(view.state for view in views)
    metrics.AGENTS.replace({(state.value,): counts[state] for state in hosts.HostState})
    metrics.AGENT_LAST_SEEN.replace({(view.host.name,): view.host.last_seen_at.timestamp() for view in views})


async def read_schedules(session: AsyncSession, now: datetime) -> None:  # noqa: ARG001 - every reader takes the time
    """Intervals and last successes of schedules that are not paused."""
    rows = await store.schedules(session)
    metrics.SCHEDULE_INTERVAL_SECONDS.replace({(project, name): interval for project, name, interval, _ in rows})
    metrics.SCHEDULE_LAST_SUCCESS.replace(
        {(project, name): success.timestamp() for project, name, _, success in rows if success is not None}
    )
