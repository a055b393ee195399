"""The ways of timing on a CUDA device: a replayed graph, a stream that is held back, a host that runs ahead."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from tesserabench.bench.device.cuda.flight import SAMPLES_MOST, Flight, HoldExpired, Lanes, Refused
from tesserabench.bench.device.cuda.graph import GraphWay
from tesserabench.bench.device.cuda.lineup import Lineup, Slots
from tesserabench.bench.vocabulary import Backend, Flag, Mode

if TYPE_CHECKING:
    from tesserabench.bench.device.cuda.device import CudaDevice

HELD_MOST = 256
"""Operations queued behind a hold: far below the driver's queue, which blocks the host when it is full."""
AHEAD_MOST = 512
HOLD_LIMIT_NS = 50_000_000
"""A hold never keeps the device from others for longer."""
_WATCHERS = ("CUDA_INJECTION64_PATH", "NSYS_", "QUADD_", "NV_NSIGHT", "NV_TPS_", "NV_COMPUTE_PROFILER", "NV_SANITIZER")
_PRELOADED = ("sanitizer", "nsight", "InterceptorInjection", "TreeLauncher")


class HeldWay:
    """Samples queued behind a kernel that waits for the host's word, so that nothing waits for a launch."""

    backend = Backend.BLOCKED

    def __init__(self, device: "CudaDevice", lineup: Lineup) -> None:
        if why := watched(os.environ):
            raise Refused(Flag.HOLD_REFUSED, f"{why} is set, under which the host waits for every launch")
        if lineup.operations > HELD_MOST:
            raise Refused(Flag.HOLD_REFUSED, f"one sample has {lineup.operations} operations (limit {HELD_MOST})")
        self._device, self._lineup = device, lineup
        self._lanes = Lanes(device, lineup, min(SAMPLES_MOST, HELD_MOST // lineup.operations))
        self._words = np.frombuffer(device.hold_words, dtype=np.uint32, count=2)
        self._kernel = device.service("hold", "hold")
        self._address, self._limit = np.uint64(device.hold_words.ptr), np.uint64(HOLD_LIMIT_NS)
        self._turn = 0
        try:
            self._require_no_growth()
        except BaseException:
            self.close()
            raise

    def start(self, samples: int, lane: int) -> Flight:
        """Queue samples behind a hold and let them go."""
        size = min(samples, self._lanes.capacity)
        slots = self._lanes.slots(lane)
        slots.stamps.clear(size)
        ticket = int(self._words[0]) + 1 & 0xFFFF_FFFF
        self._kernel((1,), (1,), (self._address, np.uint32(ticket), self._limit))
        try:
            self._enqueue(slots, size)
        finally:
            began = self._device.now_ns()
            self._words[0] = ticket
        return Flight(way=self, slots=slots, samples=size, began_ns=began)

    def land(self, flight: Flight) -> None:
        """Wait for the samples; raise HoldExpired when the hold did not last until they were all queued."""
        flight.slots.wait()
        if self._words[1] == self._words[0]:
            raise HoldExpired

    def close(self) -> None:
        """Destroy the events."""
        self._lanes.close()

    def _enqueue(self, slots: Slots, size: int) -> None:
        self._lineup.enqueue(slots, size, self._turn, self._device.record)
        slots.collect(size)
        self._turn = (self._turn + self._lineup.turn(size)) % self._lineup.copies

    def _require_no_growth(self) -> None:
        """Queue one round of the workloads without a hold: memory that is allocated behind a hold waits for it."""
        slots = self._lanes.slots(0)
        size = min(self._lanes.capacity, self._lineup.turn_samples)
        with self._device.allocations() as seen:
            self._enqueue(slots, size)
        slots.wait()
        if seen.grown:
            raise Refused(Flag.HOLD_REFUSED, f"its launches allocate device memory ({seen.grown} times in a round)")
        held = self.start(1, 0)
        try:
            self.land(held)
        except HoldExpired:
            raise Refused(Flag.HOLD_REFUSED, "its launches wait for the device") from None


class AheadWay:
    """Samples enqueued one after the other with events around them, the device kept busy until each is queued."""

    backend = Backend.EVENTS

    def __init__(self, device: "CudaDevice", lineup: Lineup) -> None:
        self._device, self._lineup = device, lineup
        self._lanes = Lanes(device, lineup, min(SAMPLES_MOST, max(1, AHEAD_MOST // lineup.operations)))
        # A lead is a pause, of which mode sustained has none.
        self._lead = lineup.order.mode is not Mode.SUSTAINED
        self._turn = 0

    def start(self, samples: int, lane: int) -> Flight:
        """Enqueue samples."""
        size = min(samples, self._lanes.capacity)
        slots = self._lanes.slots(lane)
        slots.stamps.clear(size)
        began = self._device.now_ns()
        self._lineup.enqueue(slots, size, self._turn, self._device.record, lead=self._lead)
        slots.collect(size)
        self._turn = (self._turn + self._lineup.turn(size)) % self._lineup.copies
        return Flight(way=self, slots=slots, samples=size, began_ns=began)

    def land(self, flight: Flight) -> None:
        """Wait for the samples."""
        flight.slots.wait()

    def close(self) -> None:
        """Destroy the events."""
        self._lanes.close()


def watched(environ: Mapping[str, str]) -> str:
    """Return the variable that shows a profiler, a sanitizer or blocking launches, or an empty text."""
    if environ.get("CUDA_LAUNCH_BLOCKING", "0") not in {"", "0"}:
        return "CUDA_LAUNCH_BLOCKING"
    if any(word in environ.get("LD_PRELOAD", "") for word in _PRELOADED):
        return "LD_PRELOAD"
    return next((name for name in sorted(environ) if environ[name] and name.startswith(_WATCHERS)), "")


WAYS: Mapping[Backend, type[GraphWay] | type[HeldWay] | type[AheadWay]] = {
    Backend.GRAPH: GraphWay,
    Backend.BLOCKED: HeldWay,
    Backend.EVENTS: AheadWay,
}


def candidates(mode: Mode) -> Sequence[Backend]:
    """Return the ways that fit a mode, best first."""
    if mode is Mode.HOST:
        return (Backend.HOST,)
    if mode is Mode.SUSTAINED:
        # A hold is a pause.
        return (Backend.GRAPH, Backend.EVENTS)
    return (Backend.GRAPH, Backend.BLOCKED, Backend.EVENTS)
