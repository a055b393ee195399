"""How fast agents should talk to us: intervals that grow with the fleet."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store import hosts as store

HOSTS_PER_SECOND = 50
"""Heartbeats a second that a collector should get at most; each is a transaction of 5 to 10 ms of its time."""

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Largest batch of records that agents should send; a quarter of the largest message."""

_COUNT_HOLDS = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Intervals in seconds, and the largest batch in bytes."""

    heartbeat_seconds: float
    lease_seconds: float
    max_batch_bytes: int = MAX_BATCH_BYTES


def pace_of(hosts: int, heartbeat_seconds: float, lease_seconds: float) -> Pace:
    """The pace for a fleet of this size: the lease keeps its number of heartbeats when they become rarer."""
    heartbeat = max(heartbeat_seconds, hosts / HOSTS_PER_SECOND)
    return Pace(heartbeat_seconds=heartbeat, lease_seconds=lease_seconds * heartbeat / heartbeat_seconds)


class Pacer:
    """Sets the pace by the number of hosts with a lease, counted every few seconds."""

    def __init__(self, heartbeat_seconds: float, lease_seconds: float) -> None:
        self._heartbeat_seconds = heartbeat_seconds
        self._lease_seconds = lease_seconds
        self._pace = pace_of(0, heartbeat_seconds, lease_seconds)
        self._counted_at: datetime | None = None

    async def pace(self, session: AsyncSession, now: datetime) -> Pace:
        """The pace at this moment."""
        if self._counted_at is None or not self._counted_at <= now < self._counted_at + _COUNT_HOLDS:
            hosts = await store.count_alive(session, now)
            self._pace = pace_of(hosts, self._heartbeat_seconds, self._lease_seconds)
            self._counted_at = now
        return self._pace
