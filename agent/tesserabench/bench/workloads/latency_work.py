"""The work of the latency suite on CUDA: nothing, or one word in memory, and the calls around it."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.metric import ITEM_TIME, MetricValue
from tesserabench.bench.workloads.arrays import poison, to_host
from tesserabench.bench.workloads.bare import BareWork
from tesserabench.bench.workloads.told import Told, tell

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays
    from tesserabench.bench.timing.statistics import Statistics

ONE = (1,)


class CountedWork:
    """Work of `count` equal things; tells what one of them costs."""

    def __init__(self, count: int, *, capturable: bool) -> None:
        self.capturable = capturable
        self.count = count

    def metrics(self, statistics: "Statistics") -> Iterable[MetricValue]:
        """Return the time of one of the things where there are several."""
        told = (Told(metric=ITEM_TIME, amount=self.count, per_item=True),) if self.count > 1 else ()
        return tell(told, statistics)


class BareCalls(CountedWork, BareWork):
    """A call that does `count` things and leaves nothing to check."""

    def __init__(self, call: Callable[[], None], count: int) -> None:
        BareWork.__init__(self, call, capturable=False)
        CountedWork.__init__(self, count, capturable=False)


class Launches(CountedWork):
    """`count` launches of kernel `empty`, which does nothing, or `step`, which counts them.

    `through`: `engine` launches as every other work does; `cupy` calls CuPy's function and `driver` the driver itself,
    so that nothing of ours is in the times.
    """

    def __init__(
        self, device: ArrayDevice, *, kernel: str, count: int, capturable: bool = False, through: str = "engine"
    ) -> None:
        super().__init__(count, capturable=capturable)
        self._counter: Any = device.xp.zeros(1, dtype="uint32")
        self._checked = kernel == "step"
        loaded: Any = device.kernel("tick", kernel, defines={})
        arguments = [(self._counter, np.uint32(index)) if self._checked else () for index in range(count)]
        self._calls: list[Callable[[], None]]
        if through == "driver":
            # The driver reads the arguments at each launch: they stay where they are.
            self._cells = [_laid_out(given) for given in arguments]
            shape = (loaded.function.ptr, 1, 1, 1, 1, 1, 1, 0, device.xp.cuda.get_current_stream().ptr)
            launch = device.xp.cuda.driver.launchKernel
            self._calls = [partial(launch, *shape, _addresses(cells), 0) for cells in self._cells]
            return
        launch = loaded.function if through == "cupy" else loaded
        self._calls = [partial(launch, ONE, ONE, given) for given in arguments]

    def launch(self) -> None:
        """Enqueue every launch."""
        for call in self._calls:
            call()

    def poison(self) -> None:
        """Fill the counter with ones."""
        poison(self._counter)

    def outputs(self) -> "HostArrays":
        """Return the counter where the kernel counts."""
        return {"counter": to_host(self._counter).astype(np.float64)} if self._checked else {}

    def reference(self) -> "HostArrays":
        """Return the number of launches."""
        return {"counter": np.array([self.count], dtype=np.float64)} if self._checked else {}


def _laid_out(arguments: tuple[Any, ...]) -> "npt.NDArray[np.uint64]":
    """Return the arguments of a kernel in memory, eight bytes each, and behind them the addresses of all of them."""
    words = [item.data.ptr if hasattr(item, "shape") and item.shape else int(item) for item in arguments]
    cells = np.array([*words, *words], dtype=np.uint64)
    cells[len(words) :] = cells.ctypes.data + 8 * np.arange(len(words), dtype=np.uint64)
    return cells


def _addresses(cells: "npt.NDArray[np.uint64]") -> int:
    return int(cells.ctypes.data) + 8 * (cells.size // 2) if cells.size else 0


class GraphLaunch(CountedWork):
    """One launch of a graph whose nodes run one after the other and count themselves."""

    def __init__(self, device: ArrayDevice, *, nodes: int) -> None:
        super().__init__(nodes, capturable=False)
        xp = device.xp
        chain = Launches(device, kernel="step", count=nodes)
        # Compiled and loaded before the capture, in which neither is allowed.
        chain.launch()
        device.synchronize()
        stream = xp.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            try:
                chain.launch()
            finally:
                graph = stream.end_capture()
        self._chain, self._graph = chain, graph
        self._stream: Any = xp.cuda.get_current_stream()
        upload = getattr(graph, "upload", None)
        if upload is not None:
            upload(self._stream)

    def launch(self) -> None:
        """Launch the graph."""
        self._graph.launch(self._stream)

    def poison(self) -> None:
        """Fill the counter with ones."""
        self._chain.poison()

    def outputs(self) -> "HostArrays":
        """Return how many nodes ran."""
        return self._chain.outputs()

    def reference(self) -> "HostArrays":
        """Return how many nodes there are."""
        return self._chain.reference()


def event_work(device: ArrayDevice, action: str, count: int) -> Workload:
    """Return an action on events: `record`, `record_and_synchronize` or `stream_wait`, `count` times."""
    cuda = device.xp.cuda
    stream = cuda.get_current_stream()
    event = cuda.Event(disable_timing=True)

    def record() -> None:
        for _ in range(count):
            event.record(stream)

    def record_and_synchronize() -> None:
        for _ in range(count):
            event.record(stream)
            event.synchronize()

    def stream_wait() -> None:
        for _ in range(count):
            stream.wait_event(event)

    # An event that was never recorded is waited for by nobody.
    event.record(stream)
    actions = {"record": record, "record_and_synchronize": record_and_synchronize, "stream_wait": stream_wait}
    return BareCalls(actions[action], count)


def synchronize_work(device: ArrayDevice, scope: str) -> Workload:
    """Return the wait for an idle `stream`, or for the idle `device`."""
    cuda = device.xp.cuda
    stream = cuda.get_current_stream()
    return BareCalls(stream.synchronize if scope == "stream" else cuda.runtime.deviceSynchronize, 1)


class KeptPool:
    """The device's own stream-ordered pool, told to keep what is freed instead of returning it to the system."""

    def __init__(self, runtime: Any, stream: int, size: int) -> None:
        self.capturable = False
        self._runtime, self._stream, self._size = runtime, stream, size
        self._pool: int = runtime.deviceGetDefaultMemPool(runtime.getDevice())
        self._attribute: int = runtime.cudaMemPoolAttrReleaseThreshold
        self._before: int = runtime.memPoolGetAttribute(self._pool, self._attribute)
        runtime.memPoolSetAttribute(self._pool, self._attribute, (1 << 64) - 1)

    def launch(self) -> None:
        """Allocate and free once."""
        self._runtime.freeAsync(self._runtime.mallocAsync(self._size, self._stream), self._stream)

    def poison(self) -> None:
        """Nothing to poison."""

    def outputs(self) -> "HostArrays":
        """Return nothing."""
        return {}

    def reference(self) -> "HostArrays":
        """Return nothing."""
        return {}

    def close(self) -> None:
        """Give the memory back and restore what the pool was told before."""
        self._runtime.memPoolSetAttribute(self._pool, self._attribute, self._before)
        self._runtime.memPoolTrimTo(self._pool, 0)


def allocation_work(device: ArrayDevice, allocator: str, size: int) -> Workload:
    """Return one allocation of `size` bytes and its release by an allocator.

    `malloc`: cudaMalloc and cudaFree; `stream_ordered`: cudaMallocAsync and cudaFreeAsync from the pool as it is, which
    by default returns memory to the system at every synchronisation; `stream_ordered_kept`: the same with a pool that
    keeps it; `pool`: CuPy's memory pool; `pinned`: page-locked host memory.
    """
    runtime = device.xp.cuda.runtime
    stream = device.xp.cuda.get_current_stream().ptr
    if allocator == "stream_ordered_kept":
        return KeptPool(runtime, stream, size)

    def malloc() -> None:
        runtime.free(runtime.malloc(size))

    def stream_ordered() -> None:
        runtime.freeAsync(runtime.mallocAsync(size, stream), stream)

    pool = device.xp.cuda.MemoryPool()

    def from_pool() -> None:
        pool.malloc(size)

    def pinned() -> None:
        runtime.freeHost(runtime.hostAlloc(size, runtime.hostAllocDefault))

    calls = {"malloc": malloc, "stream_ordered": stream_ordered, "pool": from_pool, "pinned": pinned}
    return BareCalls(calls[allocator], 1)
