"""What the runner wants to know of a device while it is measured; the `host` room provides it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.measurement_pb2 import DeviceState, ThrottleClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """What limited the clocks, as shares of the time by reason; `remark` when the counters cannot be trusted."""

    kind: ThrottleClass.ValueType
    fractions: Mapping[str, float]
    remark: str = ""


class Track(Protocol):
    """Follows one device from when it is entered."""

    def conclude(self, after: DeviceState) -> Throttling:
        """What limited the clocks from the beginning until `after`."""


class DeviceWatch(Protocol):
    """Knows the devices of this host."""

    async def state(self, device: Device) -> DeviceState:
        """What the device says now; a field that it cannot tell is absent."""

    async def foreign_pids(self, device: Device) -> tuple[int, ...]:
        """Processes that compute on the device now."""

    def track(self, device: Device, before: DeviceState) -> AbstractContextManager[Track]:
        """Follow the device closely, from the state `before`."""
