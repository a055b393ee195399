"""Timing by a replayed CUDA graph with event-record nodes around every sample."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from tesserabench.bench.device.cuda.flight import SAMPLES_MOST, Flight, Lanes, Refused
from tesserabench.bench.device.cuda.lineup import Lineup, Slots
from tesserabench.bench.device.cuda_failures import ends_process
from tesserabench.bench.vocabulary import Backend, Flag

if TYPE_CHECKING:
    from tesserabench.bench.device.cuda.device import CudaDevice

NODES_MOST = 2000
"""Nodes of a graph with several samples in it."""
NODES_OF_ONE = 12_000
"""Nodes of a graph with one sample in it: more take longer to instantiate than they save."""
GRAPHS_MOST = 64


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
        return Flight(way=self, slots=slots, samples=size, began_ns=began)

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
        if seen.count:
            self._abandon(stream)
            # Memory of a pool may be somebody else's when the graph is replayed.
            raise Refused(Flag.GRAPH_REFUSED, f"its launches allocate memory ({seen.count} times while captured)")
        try:
            return self._instantiate(runtime.streamEndCapture(stream))
        except runtime.CUDARuntimeError as error:
            # Work forked to another stream and never joined, or a call that made the capture void without a word.
            if ends_process(error):
                raise
            raise Refused(Flag.GRAPH_REFUSED, f"what was captured makes no graph: {error}") from error

    def _instantiate(self, graph: int) -> int:
        try:
            made = int(self._runtime.graphInstantiate(graph))
        finally:
            self._runtime.graphDestroy(graph)
        self._runtime.graphUpload(made, self._device.stream.ptr)
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
