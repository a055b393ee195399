"""The ways of timing on a CUDA device: a replayed graph, a stream that is held back, a host that runs ahead."""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tesserabench.bench.device.cuda.lineup import Lineup, Slots
from tesserabench.bench.device.cuda_failures import ends_process
from tesserabench.bench.vocabulary import Backend, Flag, Mode

if TYPE_CHECKING:
    from tesserabench.bench.device.cuda.device import CudaDevice

NODES_MOST = 2000
"""Nodes of a graph with several samples in it."""
NODES_OF_ONE = 12_000
"""Nodes of a graph with one sample in it: more take longer to instantiate than they save."""
SAMPLES_MOST = 128
GRAPHS_MOST = 64
HELD_MOST = 256
"""Operations queued behind a hold: far below the driver's queue, which blocks the host when it is full."""
AHEAD_MOST = 512
HOLD_LIMIT_NS = 50_000_000
"""A hold never keeps the device from others for longer."""
_WATCHERS = ("CUDA_INJECTION64_PATH", "NSYS_", "QUADD_", "NV_NSIGHT", "NV_TPS_", "NV_COMPUTE_PROFILER", "NV_SANITIZER")
_PRELOADED = ("sanitizer", "nsight", "InterceptorInjection", "TreeLauncher")


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


class GraphWay:
    """Samples captured into a graph with event-record nodes, and replayed: no launch gaps, sweeps left out."""

    backend = Backend.GRAPH

    def __init__(self, device: "CudaDevice", lineup: Lineup) -> None:
        if device.driver is None or not device.driver.records_external_events:
            raise Refused(Flag.GRAPH_REFUSED, "the driver cannot record events from within a graph")
        if lineup.operations > NODES_OF_ONE:
            raise Refused(Flag.GRAPH_REFUSED, f"one sample has {lineup.operations} operations (limit {NODES_OF_ONE})")
        self._device, self._lineup, self._driver = device, lineup, device.driver
        self._runtime = device.xp.cuda.runtime
        self._lanes = Lanes(device, lineup, min(SAMPLES_MOST, max(1, NODES_MOST // lineup.operations)))
        self._graphs: OrderedDict[tuple[int, int, int], int] = OrderedDict()
        self._turn = 0
        try:
            # One sample tells whether the work lets itself be captured.
            self._graph(0, 1, 0)
        except BaseException:
            self.close()
            raise

    def start(self, samples: int, lane: int) -> Flight:
        """Replay the graph of a fitting size; workloads go on in turn from where the last replay left off."""
        size = self._size(min(samples, self._lanes.capacity))
        slots, graph = self._lanes.slots(lane), self._graph(lane, size, self._turn)
        slots.stamps.clear(size)
        began = self._device.now_ns()
        self._runtime.graphLaunch(graph, self._device.stream.ptr)
        slots.collect(size)
        self._turn = (self._turn + self._lineup.turn(size)) % self._lineup.copies
        return Flight(slots=slots, samples=size, began_ns=began)

    def land(self, flight: Flight) -> None:
        """Wait for the replay."""
        flight.slots.wait()

    def close(self) -> None:
        """Destroy graphs and events."""
        while self._graphs:
            self._runtime.graphExecDestroy(self._graphs.popitem()[1])
        self._lanes.close()

    def _size(self, most: int) -> int:
        """Return how many samples to replay: whole cycles of the workloads where they fit, by powers of two."""
        cycle = next(count for count in range(1, self._lineup.copies + 1) if self._lineup.turn(count) == 0)
        if 1 < cycle <= most:
            return cycle << ((most // cycle).bit_length() - 1)
        size = 1 << (most.bit_length() - 1)
        # As many as visit every workload, where that many were asked for.
        return min(most, max(size, self._lineup.turn_samples))

    def _graph(self, lane: int, size: int, turn: int) -> int:
        key = (lane, size, turn)
        if key not in self._graphs:
            while len(self._graphs) >= GRAPHS_MOST:
                # The device may still be busy with it.
                self._device.synchronize()
                self._runtime.graphExecDestroy(self._graphs.popitem(last=False)[1])
            self._graphs[key] = self._capture(self._lanes.slots(lane), size, turn)
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _capture(self, slots: Slots, size: int, turn: int) -> int:
        stream, runtime = self._device.stream.ptr, self._runtime
        runtime.streamBeginCapture(stream, runtime.streamCaptureModeThreadLocal)
        try:
            with self._device.allocations() as seen:
                self._lineup.enqueue(slots, size, turn, self._record)
        except Exception as error:
            self._abandon(stream)
            if ends_process(error):
                raise
            raise Refused(Flag.GRAPH_REFUSED, f"capturing a launch raised {type(error).__name__}: {error}") from error
        except BaseException:
            self._abandon(stream)
            raise
        graph = runtime.streamEndCapture(stream)
        try:
            if seen.count:
                # Memory of a pool may be somebody else's when the graph is replayed.
                raise Refused(Flag.GRAPH_REFUSED, f"its launches allocate memory ({seen.count} times while captured)")
            made = int(runtime.graphInstantiate(graph))
        finally:
            runtime.graphDestroy(graph)
        runtime.graphUpload(made, stream)
        return made

    def _record(self, event: int) -> None:
        self._driver.record_external(event, self._device.stream.ptr)

    def _abandon(self, stream: int) -> None:
        """End a capture that failed; a capture that an error made void ends with that error, and leaves no graph."""
        try:
            graph = self._runtime.streamEndCapture(stream)
        except self._runtime.CUDARuntimeError as error:
            if ends_process(error):
                raise
            return
        if graph:
            self._runtime.graphDestroy(graph)


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
        return Flight(slots=slots, samples=size, began_ns=began)

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
        return Flight(slots=slots, samples=size, began_ns=began)

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
