"""Work that is armed on a CUDA device: the best way of timing that it allows, and what was given up for it."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tesserabench.bench.device.cuda.flight import Flight, HoldExpired, Refused, Way
from tesserabench.bench.device.cuda.lineup import Lineup
from tesserabench.bench.device.cuda.ways import WAYS, candidates
from tesserabench.bench.device.protocol import Block, CacheUse, Timer, Timing, TimingOrder, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Backend, CacheKind, Flag, Mode, Outcome

if TYPE_CHECKING:
    from tesserabench.bench.device.cuda.device import CudaDevice

HOLD_TRIES = 2
"""A block whose hold expired is void and taken once more."""


def arm(device: "CudaDevice", workloads: Sequence[Workload], order: TimingOrder) -> Timing:
    """Return the timing of work, by the way that was ordered or else the best one that the work allows.

    Raises CaseFailure(unsupported) when the way that was ordered cannot time this work.
    """
    if order.backend is Backend.HOST or order.mode is Mode.HOST:
        if order.backend not in {None, Backend.HOST}:
            raise _impossible(order, "mode host is what a caller waits: only the host's clock sees it")
        return HostTiming(device, workloads, order)
    if order.backend is not None and order.backend not in WAYS:
        raise _impossible(order, "a CUDA device has: graph, blocked, events, host")
    return CudaTiming(device, workloads, order)


def cache_use(device: "CudaDevice", copies: int, order: TimingOrder) -> CacheUse:
    """Return how an order treats the cache."""
    if order.mode is Mode.COLD:
        return device.flush().use(order.flush)
    if order.mode is Mode.ROTATING:
        return CacheUse(kind=CacheKind.ROTATION, copies=copies)
    return CacheUse(kind=CacheKind.WARM)


class CudaTiming:
    """Times launches by events; the way may still change when the stream cannot be held any more."""

    def __init__(self, device: "CudaDevice", workloads: Sequence[Workload], order: TimingOrder) -> None:
        self._device, self._order = device, order
        self._lineup = Lineup(device, workloads, order)
        self._flags: list[Flag] = []
        self._refusals: list[str] = []
        self._in_flight: Flight | None = None
        self._landed_ns = 0
        self._lane = 0
        self._rest: Block | None = None
        self._left: list[Way] = []
        self.cache = cache_use(device, len(workloads), order)
        self._lineup.warm()
        with device.allocations() as seen:
            self._lineup.warm()
        if seen.count:
            self._flags.append(Flag.ALLOCATES)
        self._opaque = not all(getattr(workload, "capturable", True) for workload in workloads)
        self._way = self._choose((order.backend,) if order.backend else candidates(order.mode))

    @property
    def backend(self) -> Backend:
        """How it is timed."""
        return self._way.backend

    @property
    def timer(self) -> Timer:
        """Step and floor of the timer in this way of timing."""
        return self._device.timer_of(self._way.backend)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Flags for what was given up, and for launches that allocate."""
        return tuple(dict.fromkeys(self._flags))

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why better ways were given up, in sentences."""
        return tuple(self._refusals)

    def take(self, samples: int) -> Block:
        """Take at most `samples` samples; fewer when they would not fit a graph or a held stream."""
        if samples < 1:
            raise ValueError(f"samples is {samples}; at least one can be taken")
        if self._order.mode is Mode.SUSTAINED:
            landed = self._next_of_many(samples)
            block, self._rest = _split(landed if self._rest is None else _joined((self._rest, landed)), samples)
            return block
        # A way that takes fewer at once than there are workloads is asked again: a block visits every one.
        blocks = [self._one_block(samples)]
        least = min(samples, self._lineup.turn_samples)
        while (missing := least - sum(len(block.total_ns) for block in blocks)) > 0:
            blocks.append(self._one_block(missing))
        return _joined(blocks)

    def _one_block(self, samples: int) -> Block:
        for _ in range(HOLD_TRIES):
            try:
                return self._land(self._start(samples, 0), alone=True)
            except HoldExpired:
                continue
        self._step_down(Refused(Flag.HOLD_REFUSED, "the hold expired before everything was queued"))
        return self._land(self._start(samples, 0), alone=True)

    def _start(self, samples: int, lane: int) -> Flight:
        """Start samples; a way that turns out not to fit makes room for the next one."""
        while True:
            try:
                return self._way.start(samples, lane)
            except Refused as refused:
                self._step_down(refused)

    def _step_down(self, refused: Refused) -> None:
        if self._order.backend is not None:
            raise _impossible(self._order, str(refused)) from refused
        self._refuse(refused)
        # What is in flight lands in the slots of the way that started it.
        self._left.append(self._way)
        lesser = candidates(self._order.mode)
        self._way = self._choose(lesser[lesser.index(self._way.backend) + 1 :])

    def close(self) -> None:
        """Wait for what is in flight and give events and graphs back."""
        try:
            if self._in_flight is not None:
                self._in_flight = None
                self._device.synchronize()
        finally:
            for way in (self._way, *self._left):
                way.close()
            self._left.clear()

    def _next_of_many(self, samples: int) -> Block:
        """Return the samples in flight after enqueuing the next ones: the device never waits for the host."""
        if self._in_flight is None:
            self._landed_ns = self._device.now_ns()
            self._in_flight = self._start(samples, self._lane)
        self._lane = 1 - self._lane
        current, self._in_flight = self._in_flight, None
        current.began_ns = self._landed_ns
        self._in_flight = self._start(samples, self._lane)
        return self._land(current, alone=False)

    def _land(self, flight: Flight, *, alone: bool) -> Block:
        flight.way.land(flight)
        stamped = done = self._device.now_ns()
        if alone:
            # Work on other streams is over only now: what it took is time that no event saw.
            self._device.wait_for_all()
            done = self._device.now_ns()
        self._landed_ns = done
        return flight.slots.read(flight.samples, began_ns=flight.began_ns, stamped_ns=stamped, done_ns=done)

    def _choose(self, backends: Sequence[Backend]) -> Way:
        for backend in backends:
            try:
                return self._make(backend)
            except Refused as refused:
                if self._order.backend is backend:
                    raise _impossible(self._order, str(refused)) from refused
                self._refuse(refused)
        raise _impossible(self._order, "; ".join(self._refusals))

    def _make(self, backend: Backend) -> Way:
        if backend is Backend.GRAPH and self._opaque:
            raise Refused(Flag.GRAPH_REFUSED, "the work says that it cannot be captured")
        # Read before the work has graphs of its own, and only once for each way.
        self._device.timer_of(backend)
        return WAYS[backend](self._device, self._lineup)

    def _refuse(self, refused: Refused) -> None:
        self._flags.append(refused.flag)
        self._refusals.append(str(refused))


class HostTiming:
    """Times launches with the host's clock: from the call until the device is idle."""

    backend = Backend.HOST
    remarks: tuple[str, ...] = ()

    def __init__(self, device: "CudaDevice", workloads: Sequence[Workload], order: TimingOrder) -> None:
        self._device, self._order = device, order
        self.timer = device.timer_of(Backend.HOST)
        self.cache = cache_use(device, len(workloads), order)
        self._lineup = Lineup(device, workloads, order)
        self._lineup.warm()
        self._launches = itertools.cycle([workload.launch for workload in workloads])
        # Launches back to back are one wait; in the other modes every launch is waited for.
        together = order.mode not in {Mode.HOST, Mode.COLD}
        self._group = order.iterations if together else 1

    def take(self, samples: int) -> Block:
        """Take samples one after the other."""
        begins: list[int] = []
        totals: list[int] = []
        for _ in range(samples):
            regions = [self._region() for _ in range(0, self._order.iterations, self._group)]
            begins.append(regions[0][0])
            totals.append(sum(end - begin for begin, end in regions))
        return Block(total_ns=tuple(totals), begin_ns=tuple(begins))

    def _region(self) -> tuple[int, int]:
        """Return begin and end of what a caller waits for."""
        launches, tail = list(itertools.islice(self._launches, self._group)), self._lineup.tail
        if self._order.mode is Mode.COLD:
            self._device.flush().enqueue(self._order.flush)
        self._device.synchronize()
        begin = self._device.now_ns()
        for launch in launches:
            launch()
            tail()
        self._device.synchronize()
        return begin, self._device.now_ns()

    def close(self) -> None:
        """Nothing to give back."""


def _split(block: Block, samples: int) -> tuple[Block, Block | None]:
    """Return the first samples of a block, and the others; the host's time is that of the whole and of no part."""
    if len(block.total_ns) <= samples:
        return block, None
    first, rest = slice(None, samples), slice(samples, None)
    parts = [
        Block(total_ns=block.total_ns[part], clock_hz=block.clock_hz[part], begin_ns=block.begin_ns[part])
        for part in (first, rest)
    ]
    return parts[0], parts[1]


def _joined(blocks: Sequence[Block]) -> Block:
    """Return blocks as one; a column that one of them lacks is empty, and so is the host's time."""
    if len(blocks) == 1:
        return blocks[0]
    hosts = [block.host_ns for block in blocks if block.host_ns is not None]
    clocked, begun = all(block.clock_hz for block in blocks), all(block.begin_ns for block in blocks)
    return Block(
        total_ns=tuple(itertools.chain.from_iterable(block.total_ns for block in blocks)),
        clock_hz=tuple(itertools.chain.from_iterable(block.clock_hz for block in blocks)) if clocked else (),
        begin_ns=tuple(itertools.chain.from_iterable(block.begin_ns for block in blocks)) if begun else (),
        host_ns=sum(hosts) if len(hosts) == len(blocks) else None,
    )


def _impossible(order: TimingOrder, why: str) -> CaseFailure:
    return CaseFailure(
        Outcome.UNSUPPORTED,
        f"backend {order.backend} cannot time this work in mode {order.mode}: {why}; "
        "leave the backend out to take the best one that can",
    )
