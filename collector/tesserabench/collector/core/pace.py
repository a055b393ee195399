"""How fast agents should talk to us: intervals that grow with the fleet."""

from dataclasses import dataclass

HOSTS_PER_SECOND = 100
"""Heartbeats a second that a collector should get at most; each is a small transaction."""

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""Largest batch of records that agents should send; a quarter of the largest message."""


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
