"""What every way of timing has in common: samples in flight, the slots they fill, and why a way is given up."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tesserabench.bench.device.cuda.lineup import Lineup, Slots
from tesserabench.bench.vocabulary import Backend, Flag

if TYPE_CHECKING:
    from tesserabench.bench.device.cuda.device import CudaDevice

SAMPLES_MOST = 128
"""Samples in flight together."""


class Refused(Exception):  # noqa: N818 - read as `except Refused`; no error, the next way is tried
    """This way cannot time this work."""

    def __init__(self, flag: Flag, why: str) -> None:
        super().__init__(why)
        self.flag = flag


class HoldExpired(Exception):  # noqa: N818 - as Refused
    """The stream was held until the limit: what was timed contains launch gaps."""


@dataclass(slots=True, kw_only=True)
class Flight:
    """Samples that are on their way."""

    way: "Way"
    slots: Slots
    samples: int
    began_ns: int


class Way(Protocol):
    """A way of timing: `start` enqueues at most so many samples, `Flight.slots` holds what they leave."""

    backend: Backend

    def start(self, samples: int, lane: int) -> Flight:
        """Enqueue at most `samples` samples, at least one, into the slots of a lane."""

    def land(self, flight: Flight) -> None:
        """Wait for what was started; raise HoldExpired when its times are void."""

    def close(self) -> None:
        """Give everything back."""


class Lanes:
    """Slots for each lane, made when first used: mode sustained has two samples' worth in flight, the others one."""

    def __init__(self, device: "CudaDevice", lineup: Lineup, capacity: int) -> None:
        self._device, self._lineup = device, lineup
        self.capacity = capacity
        self._slots: dict[int, Slots] = {}

    def slots(self, lane: int) -> Slots:
        """Return the slots of a lane."""
        if lane not in self._slots:
            self._slots[lane] = Slots(self._device, self._lineup, self.capacity)
        return self._slots[lane]

    def close(self) -> None:
        """Destroy every event."""
        for slots in self._slots.values():
            slots.close()
        self._slots.clear()
