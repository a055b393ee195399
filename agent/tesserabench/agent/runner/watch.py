"""What the runner wants to know of a device while it is measured; the `host` room provides it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.ingest_service_pb2 import DeviceTelemetry
from tesserabench.v1.measurement_pb2 import DeviceState, ThrottleClass

Fact = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """What limited the clocks, as shares of the measured time by reason."""

    kind: ThrottleClass.ValueType
    fractions: Mapping[str, float]
    remark: str = ""
    """What a person should know of how the shares were found."""
    void: bool = False
    """A counter went back: the driver was loaded anew, and what was measured meanwhile means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerUse:
    """Mean power within a window by the energy counter, with what the counter's steps leave open."""

    watts: float
    low_watts: float
    high_watts: float
    polled_watts: float | None
    """The same from polled power: a cross-check."""
    seconds: float
    updates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What the device did between two moments."""

    throttling: Throttling
    power: PowerUse | None = None
    """None when the device has no energy counter, or the window is too short for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the agent can tell of a device and its host; `comparable` are those that must be equal to compare at all."""

    all: Mapping[str, Fact] = field(default_factory=dict)
    comparable: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The processors and the NUMA node next to a device; empty and None when that is not known."""

    processors: tuple[int, ...] = ()
    numa_node: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a device should not be measured now: a stable word, and a sentence with what to do."""

    word: str
    """`process`, `utilization`, `memory` or `temperature`."""
    sentence: str


class Track(Protocol):
    """Follows one device from when it is entered."""

    async def window(self, begin_ns: int, end_ns: int) -> Window:
        """What the device did between two moments of CLOCK_MONOTONIC that have passed."""

    def conclude(self, after: DeviceState) -> Throttling:
        """What limited the clocks in all windows asked for; without any, from the beginning until `after`."""

    async def telemetry(self) -> DeviceTelemetry | None:
        """The readings so far, summed up; None when the device tells nothing."""

    async def xids(self) -> tuple[int, ...]:
        """Numbers of the errors that the driver has reported of the device so far."""


class DeviceWatch(Protocol):
    """Knows the devices of this host."""

    async def state(self, device: Device) -> DeviceState:
        """What the device says now; a field that it cannot tell is absent."""

    async def obstacles(self, device: Device) -> tuple[Obstacle, ...]:
        """Why the device should not be measured now; to be asked while no worker of ours runs."""

    def track(self, device: Device, before: DeviceState) -> AbstractContextManager[Track]:
        """Follow the device closely, from the state `before`."""

    async def idle_watts(self, device: Device) -> float | None:
        """Power of the device while nothing runs on it; takes a moment."""

    async def facts(self, device: Device) -> Facts:
        """What may change results and only the agent can read."""

    async def placement(self, device: Device) -> Placement:
        """The processors and the memory next to the device."""

    def clocks(self, device: Device) -> AbstractAsyncContextManager[str]:
        """Handle the clocks as the settings say while entered; gives the policy that holds.

        Raises ClocksRefused when they cannot be locked.
        """

    def recovered(self, device: Device, *words: str) -> None:
        """Take findings back: the device has been measured without them."""

    def finding(self, device: Device, word: str, sentence: str) -> None:
        """Note something about the health of the device that a person should look at."""
