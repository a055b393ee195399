"""A CUDA device through CuPy: events on a stream of its own time the work.

CuPy is imported when a device is opened, never before. Nothing here reads NVML: the process that watches the device
does.
"""

import importlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tesserabench.bench.device.cuda_failures import translate
from tesserabench.bench.device.memory import require_room
from tesserabench.bench.device.protocol import (
    Block,
    CacheUse,
    DeviceInfo,
    DeviceState,
    Drill,
    Fact,
    KernelFacts,
    Timer,
    TimingOrder,
    Workload,
)
from tesserabench.bench.errors import DeviceUnavailable
from tesserabench.bench.kernels import compile_options, source
from tesserabench.bench.vocabulary import Backend, CacheKind, DeviceKind, Mode, Phase

if TYPE_CHECKING:
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark

MEMORY_FRACTION = 0.9
"""Part of the free memory a case may fill."""
CALIBRATION_PAIRS = 200
SWEEP_LEAST_BYTES = 64 << 20
SWEEP_THREADS = 256
LOOK_AHEAD = 64
"""Launches queued before waiting: far below the driver's queue, which blocks the host when it is full."""


class EventTiming:
    """Times launches with events recorded while the host runs ahead, or with the host's clock."""

    remarks: tuple[str, ...] = ()

    def __init__(self, device: "CudaDevice", workloads: Sequence[Workload], order: TimingOrder) -> None:
        self.backend = Backend.HOST if order.mode is Mode.HOST else Backend.EVENTS
        self.timer = device.timer
        self.cache = CacheUse(kind=CacheKind.WARM)
        if order.mode is Mode.COLD:
            self.cache = CacheUse(kind=CacheKind.READ_SWEEP, bytes=device.sweep_bytes())
        self._device, self._order = device, order
        self._spin = device.spin(order.drill)
        self._launches = itertools.cycle([workload.launch for workload in workloads])

    def take(self, samples: int) -> Block:
        """Take samples one after the other."""
        return Block(total_ns=tuple(self._sample() for _ in range(samples)))

    def close(self) -> None:
        """Nothing to give back."""

    def _sample(self) -> int:
        launches = itertools.islice(self._launches, self._order.iterations)
        if self.backend is Backend.HOST:
            return sum(map(self._on_host, launches))
        if self._order.mode is Mode.COLD:
            return self._each(list(launches))
        begin, end = self._device.pair(0)
        begin.record(self._device.stream)
        for launch in launches:
            launch()
            self._spin()
        end.record(self._device.stream)
        return self._device.elapsed_ns(begin, end)

    def _each(self, launches: list[Callable[[], None]]) -> int:
        """Sweep the cache before every launch and time each launch by itself, without waiting in between."""
        total = 0
        for start in range(0, len(launches), LOOK_AHEAD):
            chunk = launches[start : start + LOOK_AHEAD]
            pairs = [self._device.pair(index) for index in range(len(chunk))]
            for launch, (begin, end) in zip(chunk, pairs, strict=True):
                self._device.sweep_cache()
                begin.record(self._device.stream)
                launch()
                self._spin()
                end.record(self._device.stream)
            total += sum(self._device.elapsed_ns(begin, end) for begin, end in pairs)
        return total

    def _on_host(self, launch: Callable[[], None]) -> int:
        self._device.synchronize()
        begin = time.perf_counter_ns()
        launch()
        self._spin()
        self._device.synchronize()
        return time.perf_counter_ns() - begin


class CudaDevice:
    """One CUDA device, used from one non-blocking stream."""

    def __init__(self, cupy: Any, index: int) -> None:
        self.xp: Any = cupy
        self._runtime: Any = cupy.cuda.runtime
        self._device: Any = cupy.cuda.Device(index)
        self._device.use()
        self.stream: Any = cupy.cuda.Stream(non_blocking=True)
        # Everything CuPy does from here on, allocations included, belongs to this stream.
        self.stream.__enter__()
        self._modules: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._events: list[tuple[Any, Any]] = []
        self.info = _describe(self._runtime, index)
        self._sweep: tuple[Any, Any, Any] | None = None
        self.timer = self._calibrate()

    def close(self) -> None:
        """Wait for the stream, leave it, and give all memory back."""
        try:
            self.stream.synchronize()
        finally:
            self.stream.__exit__(None, None, None)
            self._sweep = None
            self._events.clear()
            self.xp.get_default_memory_pool().free_all_blocks()

    def begin(self, case: "Case | None", phase: Phase) -> None:
        """Give memory of the previous case back before a new one is prepared."""
        if phase is Phase.PREPARE and case is not None:
            self.xp.get_default_memory_pool().free_all_blocks()

    def prepare(self, benchmark: "Benchmark", case: "Case", seed: int) -> Workload:
        """Build the work with CuPy arrays and our kernels; refuse what would not fit."""
        require_room(benchmark, case, self.state().memory_free_bytes, MEMORY_FRACTION)
        workload = benchmark.prepare(self, case.params, seed)
        self.synchronize()
        return workload

    def kernel(self, module: str, function: str, *, defines: Mapping[str, str]) -> Any:
        """Return a function of `bench/kernels/MODULE.cu`, compiled once for this device and set of definitions."""
        options = compile_options(dict(defines))
        key = (module, options)
        if key not in self._modules:
            self._modules[key] = self.xp.RawModule(code=source(module), options=options)
        return self._modules[key].get_function(function)

    def compile(
        self, source: str, function: str, *, name: str, options: Sequence[str] = (), defines: Mapping[str, str]
    ) -> Any:
        """Return a function of somebody's CUDA source, compiled once for this device and set of definitions."""
        del name
        given = (*options, *compile_options(dict(defines)))
        key = (source, given)
        if key not in self._modules:
            self._modules[key] = self.xp.RawModule(code=source, options=given)
        return self._modules[key].get_function(function)

    def arm(self, workloads: Sequence[Workload], order: TimingOrder) -> "EventTiming":
        """Return the timing of work by events, or, in mode host, by the host's clock."""
        return EventTiming(self, workloads, order)

    def kernels(self) -> tuple[KernelFacts, ...]:
        """Return nothing yet."""
        return ()

    def pair(self, index: int) -> tuple[Any, Any]:
        """Return one of the pairs of events, made when it is first asked for."""
        while len(self._events) <= index:
            self._events.append((self.xp.cuda.Event(), self.xp.cuda.Event()))
        return self._events[index]

    def elapsed_ns(self, begin: Any, end: Any) -> int:
        """Return the nanoseconds between two recorded events, waiting for the second."""
        end.synchronize()
        milliseconds = float(self.xp.cuda.get_elapsed_time(begin, end))
        return round(milliseconds * 1e6)

    def spin(self, drill: Drill | None) -> Callable[[], None]:
        """Return what follows each launch: nothing, or the drill's kernel for the missing time."""
        if drill is None:
            return lambda: None
        kernel = self.kernel("spin", "spin", defines={})
        extra = self.xp.uint64(round((drill.factor - 1) * drill.launch_ns))
        return lambda: kernel((1,), (1,), (extra,))

    def sweep_cache(self) -> None:
        """Enqueue a sweep of the cache."""
        if self._sweep is None:
            buffer = self.xp.zeros(self.sweep_bytes() // 4, dtype="uint32")
            sink = self.xp.zeros(1, dtype="uint32")
            self._sweep = (self.kernel("sweep", "sweep", defines={}), buffer, sink)
        kernel, buffer, sink = self._sweep
        blocks = (self.info.processors or 1) * 8
        kernel((blocks,), (SWEEP_THREADS,), (buffer, sink, self.xp.uint64(buffer.nbytes // 16)))

    def sweep_bytes(self) -> int:
        """Return twice the cache, at least 64 MiB."""
        return max(2 * (self.info.cache_bytes or 0), SWEEP_LEAST_BYTES)

    def synchronize(self) -> None:
        """Wait for the stream; CUDA reports here what went wrong in a kernel."""
        self.stream.synchronize()

    def state(self) -> DeviceState:
        """Return the free memory: the runtime tells nothing of clocks, power or throttling."""
        free, _ = self._runtime.memGetInfo()
        return DeviceState(memory_free_bytes=int(free))

    def now_ns(self) -> int:
        """Return the host's monotonic time."""
        return time.perf_counter_ns()

    def environment(self) -> Mapping[str, Fact]:
        """Return versions of driver, runtime, compiler and CuPy, and what the device says about itself."""
        info = self.info
        facts: dict[str, Fact | None] = {
            "device.model": info.model,
            "device.uuid": info.uuid,
            "device.compute_capability": info.compute_capability,
            "device.processors": info.processors,
            "device.memory_bytes": info.memory_bytes,
            "device.cache_bytes": info.cache_bytes,
            "software.cuda_driver": info.driver,
            "software.cuda_runtime": _version_text(self._runtime.runtimeGetVersion()),
            "software.nvrtc": ".".join(map(str, self.xp.cuda.nvrtc.getVersion())),
            "software.cupy": self.xp.__version__,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def comparable(self) -> Mapping[str, Fact]:
        """Return kind, model, compute capability, processors, memory and cache."""
        info = self.info
        return {
            "kind": info.kind.value,
            "model": info.model,
            "compute_capability": info.compute_capability or "",
            "processors": info.processors or 0,
            "memory_bytes": info.memory_bytes or 0,
            "cache_bytes": info.cache_bytes or 0,
        }

    def failure(self, error: Exception) -> Exception:
        """Name the failures of CUDA and its libraries."""
        return translate(error)

    def _calibrate(self) -> Timer:
        """Return the median of empty event pairs, and the smallest difference seen between two of them."""
        readings: list[int] = []
        for _ in range(CALIBRATION_PAIRS):
            begin, end = self.pair(0)
            begin.record(self.stream)
            end.record(self.stream)
            readings.append(self.elapsed_ns(begin, end))
        distinct = sorted(set(readings))
        steps = [b - a for a, b in itertools.pairwise(distinct)]
        return Timer(
            name="cuda_event",
            quantum_ns=float(min(steps, default=500)),
            floor_ns=float(sorted(readings)[len(readings) // 2]),
        )


def open(argument: str | None, *, threads: int | None) -> CudaDevice:  # noqa: A001, ARG001 - read as cuda.open
    """Open a CUDA device by its index (0 by default); raise DeviceUnavailable with the remedy when there is none."""
    try:
        index = int(argument or 0)
    except ValueError:
        raise DeviceUnavailable(f"device 'cuda:{argument}' is no index; use cuda or cuda:0") from None
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceUnavailable(
            f"device cuda needs CuPy, which cannot be imported ({error}); "
            "install tesserabench[cuda13] or, for a CUDA 12 driver, tesserabench[cuda12]"
        ) from None
    runtime = cupy.cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
    except runtime.CUDARuntimeError as error:
        raise DeviceUnavailable(
            f"device cuda cannot be opened: {error}; check that the NVIDIA driver is loaded and new enough for CUDA "
            f"{_version_text(runtime.runtimeGetVersion())}"
        ) from None
    if not 0 <= index < count:
        raise DeviceUnavailable(f"device 'cuda:{index}' does not exist; this process sees {count} device(s), from 0")
    try:
        return CudaDevice(cupy, index)
    except (runtime.CUDARuntimeError, MemoryError) as error:
        raise DeviceUnavailable(
            f"device 'cuda:{index}' cannot be used: {error}; check with nvidia-smi whether another process holds it"
        ) from None


def _describe(runtime: Any, index: int) -> DeviceInfo:
    found = runtime.getDeviceProperties(index)
    name = found["name"]
    uuid = found.get("uuid")
    return DeviceInfo(
        kind=DeviceKind.CUDA,
        model=name.decode() if isinstance(name, bytes) else str(name),
        uuid=_uuid_text(uuid) if isinstance(uuid, bytes) and len(uuid) == 16 else None,
        index=index,
        memory_bytes=int(found["totalGlobalMem"]),
        driver=_version_text(runtime.driverGetVersion()),
        compute_capability=f"{found['major']}.{found['minor']}",
        processors=int(found["multiProcessorCount"]),
        cache_bytes=int(found["l2CacheSize"]),
    )


def _uuid_text(raw: bytes) -> str:
    """Return a UUID as NVML and nvidia-smi write it."""
    text = raw.hex()
    return f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _version_text(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
