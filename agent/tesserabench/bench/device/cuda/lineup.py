"""What is put on the stream for a number of samples, the same whether captured, held back or run at once."""

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.device.cuda.stamps import Stamps
from tesserabench.bench.device.protocol import Block, TimingOrder, Workload
from tesserabench.bench.vocabulary import Mode

if TYPE_CHECKING:
    from tesserabench.bench.device.cuda.device import CudaDevice

LEAD_NS_EACH = 8_000
"""Host time allowed for each operation that a lead hides: above what CuPy needs for a launch."""
LEAD_LIMITS_NS = (20_000, 2_000_000)

Record = Callable[[int], None]
"""Enqueues the record of an event, given its handle."""


class Lineup:
    """The operations of samples: a stamp, the timed launches between events, a stamp.

    In mode cold every launch is preceded by a sweep and has events of its own; otherwise a sample has one pair.
    """

    def __init__(self, device: "CudaDevice", workloads: Sequence[Workload], order: TimingOrder) -> None:
        self._device, self.order = device, order
        self._launches = [workload.launch for workload in workloads]
        self._cold = order.mode is Mode.COLD
        self._flush = device.flush() if self._cold else None
        self.tail = _tail(device, order)
        self.pairs = order.iterations if self._cold else 1
        """Pairs of events in a sample."""
        self.copies = len(self._launches)
        self.nodes_per_launch = 1

    @property
    def turn_samples(self) -> int:
        """Samples in which every workload is launched at least once."""
        return -(-self.copies // self.order.iterations)

    @property
    def operations(self) -> int:
        """Operations in a sample: launches, their tails, sweeps, events and stamps."""
        each = self.nodes_per_launch + (self.order.drill is not None) + self._cold
        return self.order.iterations * each + 2 * self.pairs + 2

    def warm(self) -> None:
        """Launch everything once, so that modules are loaded and pools are filled, and count kernels in a launch."""
        before = self._device.kernel_launches()
        for launch in self._launches:
            launch()
        # A library's kernels cannot be counted; it needs one at least.
        self.nodes_per_launch = max(1, (self._device.kernel_launches() - before) // self.copies)
        self.tail()
        if self._flush is not None:
            self._flush.enqueue(self.order.flush)
        self._device.synchronize()

    def turn(self, sample: int) -> int:
        """Return which of the workloads a sample begins with, counted from the first sample."""
        return sample * self.order.iterations % self.copies

    def enqueue(self, slots: "Slots", samples: int, turn: int, record: Record, *, lead: bool = False) -> None:
        """Enqueue samples into the first slots, beginning with the workload `turn`.

        A lead keeps the device busy before each sample, so that the host is ahead of it when the sample begins.
        """
        launches = itertools.islice(itertools.cycle(self._launches), turn, None)
        for sample in range(samples):
            slots.stamps.enqueue(2 * sample)
            if lead and not self._cold:
                self._device.spin(self.lead_ns)
            pairs = slots.pairs[sample * self.pairs : (sample + 1) * self.pairs]
            if self._cold:
                self._swept(launches, pairs, record)
            else:
                self._together(launches, pairs[0], record)
            slots.stamps.enqueue(2 * sample + 1)

    @property
    def lead_ns(self) -> int:
        """How long a lead keeps the device busy."""
        least, most = LEAD_LIMITS_NS
        return min(max(least, LEAD_NS_EACH * self.operations), most)

    def _together(self, launches: Any, pair: tuple[int, int], record: Record) -> None:
        tail = self.tail
        record(pair[0])
        for launch in itertools.islice(launches, self.order.iterations):
            launch()
            tail()
        record(pair[1])

    def _swept(self, launches: Any, pairs: Sequence[tuple[int, int]], record: Record) -> None:
        assert self._flush is not None, "mode cold has a buffer to sweep"
        # The pairs come first: they end, and what ends first takes no launch out of turn.
        for (begin, end), launch in zip(pairs, launches, strict=False):
            self._flush.enqueue(self.order.flush)
            record(begin)
            launch()
            self.tail()
            record(end)


class Slots:
    """Events and stamps for a number of samples that are in flight together."""

    def __init__(self, device: "CudaDevice", lineup: Lineup, capacity: int) -> None:
        self._runtime, self._stream = device.xp.cuda.runtime, device.stream
        self._lineup = lineup
        self.capacity = capacity
        self.stamps = Stamps(device, capacity)
        # Without flags: such events take times.
        self._done = self._runtime.eventCreateWithFlags(0)
        self.pairs: list[tuple[int, int]] = []
        for _ in range(capacity * lineup.pairs):
            self.pairs.append((self._runtime.eventCreateWithFlags(0), self._runtime.eventCreateWithFlags(0)))

    def close(self) -> None:
        """Destroy the events."""
        for event in (self._done, *itertools.chain.from_iterable(self.pairs)):
            self._runtime.eventDestroy(event)
        self.pairs.clear()

    def collect(self, samples: int) -> None:
        """Enqueue what ends the samples: their stamps go to the host, and `wait` learns of it."""
        self.stamps.collect(samples)
        self._runtime.eventRecord(self._done, self._stream.ptr)

    def wait(self) -> None:
        """Wait until what was collected last has arrived."""
        self._runtime.eventSynchronize(self._done)

    def read(self, samples: int, *, began_ns: int, stamped_ns: int, done_ns: int) -> Block:
        """Return the block of the first samples.

        `stamped_ns` is when the last stamp had arrived, `done_ns` when the whole device was idle. What went on between
        the stamps and outside the events, sweeps above all, is not the host's waiting: it is taken off. Without stamps
        it cannot be told apart from work that escaped, so that there is no host time then.
        """
        each = self._lineup.pairs
        totals = tuple(
            sum(self._elapsed_ns(pair) for pair in self.pairs[sample * each : (sample + 1) * each])
            for sample in range(samples)
        )
        told = self.stamps.read(samples, stamped_ns)
        between = sum(max(0, span - total) for span, total in zip(told.span_ns, totals, strict=False))
        return Block(
            total_ns=totals,
            clock_hz=told.clock_hz,
            begin_ns=told.begin_ns,
            host_ns=max(0, done_ns - began_ns - between) if told.span_ns else None,
        )

    def _elapsed_ns(self, pair: tuple[int, int]) -> int:
        return round(float(self._runtime.eventElapsedTime(*pair)) * 1e6)


def _tail(device: "CudaDevice", order: TimingOrder) -> Callable[[], None]:
    """Return what follows each launch: nothing, or the drill's kernel for the missing time."""
    drill = order.drill
    if drill is None:
        return lambda: None
    extra = np.uint64(round((drill.factor - 1) * drill.launch_ns))
    kernel = device.service("spin", "spin")
    return lambda: kernel((1,), (1,), (extra,))
