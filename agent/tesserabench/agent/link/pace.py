"""Intervals that the collector sets."""

from dataclasses import dataclass

from tesserabench.agent.link.batches import batch_limit
from tesserabench.v1.agent_service_pb2 import Pacing

_SHORTEST_HEARTBEAT = 0.05
_LONGEST_HEARTBEAT = 300.0


@dataclass(slots=True)
class Pace:
    """What holds until the collector says otherwise."""

    heartbeat_seconds: float = 10.0
    max_batch_bytes: int = batch_limit(0)

    def update(self, pacing: Pacing) -> None:
        """Take over what the collector says; what it leaves out stays."""
        if pacing.HasField("heartbeat"):
            asked = pacing.heartbeat.ToNanoseconds() / 1e9
            self.heartbeat_seconds = min(max(asked, _SHORTEST_HEARTBEAT), _LONGEST_HEARTBEAT)
        if pacing.max_batch_bytes:
            self.max_batch_bytes = batch_limit(pacing.max_batch_bytes)
