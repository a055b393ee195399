"""A stand-in for CuPy and its device: NumPy arrays, Python kernels, a stream with a timeline, a host with a clock.

Every call costs the host time; work on the stream begins when both it has been enqueued and the stream is free, as on a
device. So launch gaps, the gaps' absence in a graph, and a hold that expires are what they would be. What only a device
can show (real times, real kernels) stands in tests/gpu.
"""

import itertools
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from support.fake_cublas import FakeCublas

CALL_NS = 5_000
"""What a launch, and most other calls, cost the host."""
RECORD_NS = 1_000
GAP_NS = 200
"""What the stream needs between two operations."""
COPY_NS, SWEEP_NS, DOT_NS, STAMP_NS = 40_000, 900_000, 250_000, 2_000
CLOCK_MHZ = 1500
PROCESSORS = 4
KERNEL_ATTRIBUTES = {0: 1024, 1: 512, 2: 64, 3: 0, 4: 40, 8: 49152}

Action = Callable[[], None]


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int, message: str = "cudaErrorScripted: scripted") -> None:
        super().__init__(message)
        self.status = status


class CUDADriverError(CUDARuntimeError):
    pass


class NVRTCError(RuntimeError):
    pass


class FakeArray(np.ndarray[Any, Any]):
    """An array that is on the device: CuPy's name for its address, and its way to the host."""

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self.ctypes.data)

    def get(self) -> Any:
        return np.array(self)


@dataclass
class Operation:
    """Something on the stream: how long it takes, what it does when it is over."""

    name: str
    duration_ns: int
    action: Action | None = None


@dataclass
class FakeGpu:
    """The device, the driver and the host; the knobs at the top script what goes wrong."""

    devices: int = 1
    failure: CUDARuntimeError | None = None
    """Raised by every launch of `copy`; a sticky one by every call after the first."""
    broken: bool = False
    refuse_capture: Exception | None = None
    """Raised by a launch of `dot` while a stream is captured."""
    allocate_in_copy: bool = False
    """Every launch of `copy` takes memory from the pool."""
    grow_in_copy: bool = False
    """The pool has to ask the device for it."""
    synchronize_in_copy: bool = False
    slow_host_ns: int = 0
    """Added to every launch's cost for the host."""
    stamped: bool = True
    escaped_ns: int = 0
    """Time that another stream's work goes on after this one's."""
    external_events: bool = True
    clock_mhz: float = CLOCK_MHZ
    timer_step_ns: int = 1
    event_step_ns: int = 32
    void_captures: bool = False
    """Whatever is captured, ending the capture fails."""
    capability: tuple[int, int] = (9, 0)
    device_attributes: dict[int, int] = field(default_factory=lambda: {1: 1_980_000, 2: 2_619_000, 3: 5120, 4: 2048})
    replays: list[int] = field(default_factory=list)
    """Operations of every graph that was launched."""
    attributes: dict[str, int] = field(default_factory=dict)

    host_ns: int = 1_000
    free_ns: int = 0
    launched: list[str] = field(default_factory=list)
    compiled: list[tuple[str, ...]] = field(default_factory=list)
    words: "np.ndarray[Any, Any] | None" = None
    graphs: dict[int, list[Operation]] = field(default_factory=dict)
    events: dict[int, int] = field(default_factory=dict)
    capturing: list[Operation] | None = None
    expired_holds: int = 0
    hooks: list[Any] = field(default_factory=list)
    pinned: list[Any] = field(default_factory=list)
    reset_persisting: int = 0
    memory: "np.ndarray[Any, Any] | None" = None
    _handles: Iterator[int] = field(default_factory=lambda: itertools.count(1000))
    _held: list[tuple[int, Operation]] | None = None
    _held_since: int = 0
    _ticket: int = 0
    _limit_ns: int = 0

    def handle(self) -> int:
        return next(self._handles)

    # --- the stream ---

    def check(self) -> None:
        if self.broken and self.failure is not None:
            raise self.failure

    def enqueue(self, operation: Operation, cost_ns: int = CALL_NS) -> None:
        self.check()
        self.host_ns += cost_ns + self.slow_host_ns
        if self.capturing is not None:
            self.capturing.append(operation)
            return
        self._look_at_words()
        if self._held is not None:
            self._held.append((self.host_ns, operation))
        else:
            self._run(operation, self.host_ns)

    def _run(self, operation: Operation, enqueued_ns: int) -> None:
        if operation.name:
            self.launched.append(operation.name)
        begin = max(self.free_ns, enqueued_ns)
        self.free_ns = begin + operation.duration_ns
        if operation.action is not None:
            operation.action()

    def hold(self, ticket: int, limit_ns: int) -> None:
        self.enqueue(Operation("hold", 0))
        self._held, self._held_since, self._ticket, self._limit_ns = [], self.free_ns, ticket, limit_ns

    def _look_at_words(self) -> None:
        """Go on when the host has released the hold, or when it has lasted for its limit."""
        if self._held is None or self.words is None:
            return
        overdue = self.host_ns - self._held_since > self._limit_ns
        if int(self.words[0]) != self._ticket and not overdue:
            return
        waiting, self._held = self._held, None
        if overdue:
            self._expire()
        else:
            self.free_ns = max(self.free_ns, self.host_ns)
        for enqueued_ns, operation in waiting:
            self._run(operation, enqueued_ns)

    def _expire(self) -> None:
        assert self.words is not None
        self.words[1] = self._ticket
        self.expired_holds += 1
        self.free_ns = max(self.free_ns, self._held_since + self._limit_ns)

    def synchronize(self) -> None:
        self.check()
        if self.capturing is not None:
            raise CUDARuntimeError(900, "cudaErrorStreamCaptureUnsupported: operation not permitted while capturing")
        self._look_at_words()
        if self._held is not None:
            # The host waits for the stream, and the stream for the host: the hold's limit ends it.
            self.host_ns = self._held_since + self._limit_ns + 1
            self._look_at_words()
        self.host_ns = max(self.host_ns, self.free_ns) + CALL_NS

    def wait(self, event: int) -> None:
        self.check()
        if self._held is not None:
            self.synchronize()
        self.host_ns = max(self.host_ns, self.events[event]) + CALL_NS

    def now_ns(self) -> int:
        self.host_ns += 50
        return self.host_ns

    # --- memory ---

    def take_memory(self, *, grows: bool) -> None:
        for hook in self.hooks:
            hook.malloc_preprocess(device_id=0, size=512, mem_size=512)
            if grows:
                hook.alloc_preprocess(device_id=0, mem_size=512)

    # --- kernels ---

    def launch(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "hold":
            self.hold(int(args[1]), int(args[2]))
            return
        if name == "copy":
            self._misbehave()
        durations = {"spin": lambda: int(args[0]), "sweep": lambda: SWEEP_NS, "sweep_write": lambda: SWEEP_NS}
        small = {"stamp": STAMP_NS, "nothing": 500, "timer_steps": 4096}
        duration = durations[name]() if name in durations else small.get(name, COPY_NS)
        action = {"stamp": self._stamp, "timer_steps": self._steps, **ACTIONS}.get(name)
        self.enqueue(Operation(name, duration, None if action is None else lambda: action(args)))

    def _misbehave(self) -> None:
        if self.failure is not None:
            self.broken = self.failure.status >= 700 and self.failure.status != 801
            raise self.failure
        if self.allocate_in_copy or self.grow_in_copy:
            self.take_memory(grows=self.grow_in_copy)
        if self.synchronize_in_copy:
            self.synchronize()

    def _stamp(self, args: tuple[Any, ...]) -> None:
        if not self.stamped:
            return
        row = _at(int(args[0]), 2 * int(args[1])).reshape(-1, 2)
        now = self.free_ns // self.timer_step_ns * self.timer_step_ns
        # Every second number is a multiprocessor that is switched off.
        row[: 2 * PROCESSORS : 2, 0] = 10_000 + np.round(self.free_ns * self.clock_mhz / 1000)
        row[: 2 * PROCESSORS : 2, 1] = now + 1

    def _steps(self, args: tuple[Any, ...]) -> None:
        count = int(args[1])
        args[0][:] = np.arange(count) // 4 * self.timer_step_ns


def _copy(args: tuple[Any, ...]) -> None:
    args[1][:] = args[0]


def _triad(args: tuple[Any, ...]) -> None:
    args[2][:] = args[0] + args[3] * args[1]


def _reduction(args: tuple[Any, ...]) -> None:
    args[1][:] = 0
    args[1][0] = args[0].sum(dtype=np.float64)


ACTIONS: dict[str, Callable[[tuple[Any, ...]], None]] = {"copy": _copy, "triad": _triad, "reduction": _reduction}


def _at(address: int, count: int) -> "np.ndarray[Any, Any]":
    """Return the 64-bit words at an address of this process."""
    import ctypes  # noqa: PLC0415 - the one place that follows addresses

    return np.ctypeslib.as_array((ctypes.c_uint64 * count).from_address(address))


class FakeFunction:
    def __init__(self, gpu: FakeGpu, name: str) -> None:
        self._gpu, self.name, self.ptr = gpu, name, gpu.handle()

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int) -> None:
        assert isinstance(grid, tuple)
        assert isinstance(block, tuple)
        assert grid[0] > 0
        assert 0 < block[0] <= 1024
        assert shared_mem <= self._gpu.attributes.get(self.name, KERNEL_ATTRIBUTES[8])
        self._gpu.launch(self.name, args)


class FakeStream:
    gpu: FakeGpu

    def __init__(self, *, non_blocking: bool) -> None:
        assert non_blocking
        self.ptr = self.gpu.handle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        self.gpu.synchronize()


class FakeDriverLibrary:
    """What ctypes would give for libcuda: functions that return a status."""

    def __init__(self, gpu: FakeGpu) -> None:
        if gpu.external_events:
            self.cuEventRecordWithFlags = _Function(lambda event, _stream, flags: _record(gpu, event, flags))
            self.cuCtxResetPersistingL2Cache = _Function(lambda: _reset(gpu))


class _Function:
    """A function that may be told its types, as ctypes' may."""

    def __init__(self, call: Callable[..., int]) -> None:
        self._call = call
        self.argtypes: object = None
        self.restype: object = None

    def __call__(self, *args: Any) -> int:
        return self._call(*args)


def _reset(gpu: FakeGpu) -> int:
    gpu.reset_persisting += 1
    return 0


def _record(gpu: FakeGpu, event: int, flags: int) -> int:
    if (gpu.capturing is None) or flags != 1:
        return 1
    record_event(gpu, event)
    return 0


def record_event(gpu: FakeGpu, event: int) -> None:
    def note() -> None:
        gpu.events[event] = gpu.free_ns // gpu.event_step_ns * gpu.event_step_ns

    gpu.enqueue(Operation("", GAP_NS, note), RECORD_NS)


def _graph_calls(gpu: FakeGpu) -> dict[str, Any]:
    def begin_capture(_stream: int, mode: int) -> None:
        assert mode == 1
        assert gpu.capturing is None
        gpu.capturing = []

    def end_capture(_stream: int) -> int:
        assert gpu.capturing is not None
        graph = gpu.handle()
        gpu.graphs[graph], gpu.capturing = gpu.capturing, None
        if gpu.void_captures:
            del gpu.graphs[graph]
            raise CUDARuntimeError(901, "cudaErrorStreamCaptureInvalidated: the capture is void")
        return graph

    def instantiate(graph: int) -> int:
        made = gpu.handle()
        gpu.graphs[made] = list(gpu.graphs[graph])
        return made

    def launch(graph: int, _stream: int) -> None:
        gpu.enqueue(Operation("graph", 0))
        gpu.replays.append(len(gpu.graphs[graph]))
        for operation in gpu.graphs[graph]:
            gpu._run(operation, 0)

    return {
        "streamCaptureModeThreadLocal": 1,
        "streamBeginCapture": begin_capture,
        "streamEndCapture": end_capture,
        "graphInstantiate": instantiate,
        "graphUpload": lambda _graph, _stream: None,
        "graphLaunch": launch,
        "graphDestroy": gpu.graphs.pop,
        "graphExecDestroy": gpu.graphs.pop,
    }


def _event_calls(gpu: FakeGpu) -> dict[str, Any]:
    def create(flags: int) -> int:
        assert flags == 0
        event = gpu.handle()
        gpu.events[event] = -1
        return event

    def record(event: int, _stream: int) -> None:
        assert gpu.capturing is None, "an ordinary record in a capture leaves no time"
        record_event(gpu, event)

    def elapsed(begin: int, end: int) -> float:
        assert gpu.events[begin] >= 0
        assert gpu.events[end] >= 0
        return (gpu.events[end] - gpu.events[begin]) / 1e6

    def destroy(event: int) -> None:
        gpu.check()
        del gpu.events[event]

    return {
        "eventCreateWithFlags": create,
        "eventRecord": record,
        "eventSynchronize": gpu.wait,
        "eventElapsedTime": elapsed,
        "eventDestroy": destroy,
    }


def _memory_calls(gpu: FakeGpu) -> dict[str, Any]:
    def memset(address: int, value: int, size: int, _stream: int) -> None:
        gpu.enqueue(Operation("", 1000, lambda: _at(address, size // 8).fill(value)))

    def copy(to: int, source: int, size: int, kind: int, _stream: int) -> None:
        assert kind == 2
        gpu.enqueue(Operation("", 1000, lambda: _at(to, size // 8).__setitem__(..., _at(source, size // 8))))

    return {
        "memGetInfo": lambda: (70 << 30, 80 << 30),
        "memsetAsync": memset,
        "memcpyAsync": copy,
        "memcpyDeviceToHost": 2,
    }


def _runtime(gpu: FakeGpu) -> Any:
    def count() -> int:
        if gpu.devices == 0:
            raise CUDARuntimeError(35, "cudaErrorInsufficientDriver: too old")
        return gpu.devices

    def wait_for_all() -> None:
        gpu.synchronize()
        gpu.host_ns += gpu.escaped_ns

    def attribute(number: int, _index: int) -> int:
        if number not in gpu.device_attributes:
            raise CUDARuntimeError(1, "cudaErrorInvalidValue: unknown attribute")
        return gpu.device_attributes[number]

    properties = {
        "name": b"NVIDIA Fake 100",
        "uuid": bytes(range(16)),
        "totalGlobalMem": 80 << 30,
        "major": gpu.capability[0],
        "minor": gpu.capability[1],
        "multiProcessorCount": PROCESSORS,
        "l2CacheSize": 50 << 20,
    }
    return types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        cudaDevAttrClockRate=1,
        cudaDevAttrMemoryClockRate=2,
        cudaDevAttrGlobalMemoryBusWidth=3,
        cudaDevAttrMaxThreadsPerMultiProcessor=4,
        deviceGetAttribute=attribute,
        getDeviceCount=count,
        getDeviceProperties=lambda _: properties,
        runtimeGetVersion=lambda: 13020,
        driverGetVersion=lambda: 13000,
        deviceSynchronize=wait_for_all,
        profilerStart=lambda: gpu.launched.append("profiler on"),
        profilerStop=lambda: gpu.launched.append("profiler off"),
        **_graph_calls(gpu),
        **_event_calls(gpu),
        **_memory_calls(gpu),
    )


def _nvrtc(gpu: FakeGpu) -> Any:
    programs: dict[int, tuple[str, list[str]]] = {}

    def create(text: str, _name: str, _headers: Any, _names: Any) -> int:
        handle = gpu.handle()
        programs[handle] = (text, [])
        return handle

    def build(program: int, options: tuple[str, ...]) -> None:
        text, log = programs[program]
        gpu.compiled.append(options)
        if "#error" in text:
            log.append("shown.cu(1): error: #error directive\n1 error detected")
            raise NVRTCError("NVRTC_ERROR_COMPILATION (6)")

    def image(program: int) -> bytes:
        return b"\x7fELF" + programs[program][0].encode()

    return types.SimpleNamespace(
        NVRTCError=NVRTCError,
        getVersion=lambda: (13, 2),
        getSupportedArchs=lambda: (75, 80, 90, 100, 120),
        createProgram=create,
        compileProgram=build,
        destroyProgram=programs.pop,
        getCUBIN=image,
        getPTX=lambda program: b".version" + image(program)[4:] + b"}",
        getProgramLog=lambda program: "\n".join(programs[program][1]),
    )


class FakeModule:
    gpu: FakeGpu

    def load(self, image: bytes) -> None:
        self._text = image.decode(errors="replace")

    def get_function(self, name: str) -> FakeFunction:
        assert f"void {name}(" in self._text
        return FakeFunction(self.gpu, name)


class FakeHook:
    """CuPy's memory hook: told of allocations while it is entered."""

    gpu: FakeGpu
    name = "MemoryHook"

    def __enter__(self) -> Self:
        assert self.name not in {hook.name for hook in self.gpu.hooks}
        self.gpu.hooks.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.gpu.hooks.remove(self)

    def malloc_preprocess(self, **_: object) -> None:
        pass

    def alloc_preprocess(self, **_: object) -> None:
        pass


class Pinned(bytearray):
    """Host memory with an address; the first that is asked for holds the words of a hold."""

    @property
    def ptr(self) -> int:
        return int(np.frombuffer(self, dtype=np.uint8).ctypes.data)


def fake_cupy(gpu: FakeGpu) -> Any:
    """Return the module, to be put in place of `cupy`."""

    def pinned(size: int) -> Any:
        memory = Pinned(size)
        if gpu.words is None:
            gpu.words = np.frombuffer(memory, dtype=np.uint32)
        gpu.pinned.append(memory)
        return memory

    def dot(a: Any, b: Any, out: Any) -> None:
        if gpu.capturing is not None and gpu.refuse_capture is not None:
            raise gpu.refuse_capture
        gpu.enqueue(Operation("dot", DOT_NS, lambda: out.__setitem__(..., np.dot(a, b))))

    def function(name: int, ptr: int) -> int:
        assert ptr
        return KERNEL_ATTRIBUTES[name]

    def zeros(shape: Any, dtype: Any = float) -> Any:
        return np.zeros(shape, dtype=dtype).view(FakeArray)

    named = [type(base.__name__, (base,), {"gpu": gpu}) for base in (FakeStream, FakeModule, FakeHook)]
    cupy: Any = types.ModuleType("cupy")
    for name in dir(np):
        if not name.startswith("__"):
            with suppress(AttributeError):
                setattr(cupy, name, getattr(np, name))
    cupy.__version__ = "14.fake"
    cupy.dot, cupy.zeros = dot, zeros
    pool = types.SimpleNamespace(free_all_blocks=lambda: None, total_bytes=lambda: 1 << 20, get_limit=lambda: 0)
    cupy.get_default_memory_pool = lambda: pool
    cupy.cuda = types.SimpleNamespace(
        runtime=_runtime(gpu),
        driver=types.SimpleNamespace(
            funcGetAttribute=function,
            funcSetAttribute=lambda _ptr, _number, size: gpu.attributes.update(copy=size),
            occupancyMaxActiveBlocksPerMultiprocessor=lambda _ptr, block, _shared: 1024 // block,
            check_status=_check,
        ),
        function=types.SimpleNamespace(Module=named[1]),
        Device=lambda _: types.SimpleNamespace(use=lambda: None),
        Stream=named[0],
        MemoryHook=named[2],
        nvrtc=_nvrtc(gpu),
        alloc_pinned_memory=pinned,
        get_cublas_handle=gpu.handle,
    )
    return cupy


def fake_cublas(gpu: FakeGpu) -> Any:
    """Return the module, to be put in place of `cupy_backends.cuda.libs.cublas`; its products are called `dot`."""
    multiply = FakeCublas().gemmEx

    def gemm(*arguments: int) -> None:
        if gpu.capturing is not None and gpu.refuse_capture is not None:
            raise gpu.refuse_capture
        gpu.enqueue(Operation("dot", DOT_NS, lambda: multiply(*arguments)))

    return types.SimpleNamespace(gemmEx=gemm)


def _check(status: int) -> None:
    if status:
        raise CUDADriverError(status)


def fake_cufft(gpu: FakeGpu) -> Any:
    """Return the module, to be put in place of `cupy.cuda.cufft`."""

    def transform(x: Any, y: Any, direction: int) -> None:
        assert direction == -1
        function = np.fft.fft if np.iscomplexobj(x) else np.fft.rfft
        gpu.enqueue(Operation("fft", COPY_NS, lambda: y.__setitem__(..., function(x, axis=1))))

    module: Any = types.ModuleType("cupy.cuda.cufft")
    module.CUFFT_C2C, module.CUFFT_Z2Z, module.CUFFT_FORWARD = 41, 105, -1
    module.CUFFT_R2C, module.CUFFT_D2Z = 42, 106
    module.Plan1d = lambda _n, _kind, _batch: types.SimpleNamespace(fft=transform)
    return module


def install(monkeypatch: Any, gpu: FakeGpu) -> None:
    """Put the stand-in in CuPy's place, its driver in libcuda's and its clock in the host's, for one test."""
    import sys  # noqa: PLC0415 - only here

    from tesserabench.bench.device.cuda import device, driver  # noqa: PLC0415 - after collection, as a test would

    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(gpu))
    monkeypatch.setitem(sys.modules, "cupy.cuda.cufft", fake_cufft(gpu))
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cublas", fake_cublas(gpu))
    monkeypatch.setattr(device.CudaDevice, "now_ns", lambda _: gpu.now_ns())
    library: Any = FakeDriverLibrary(gpu)
    monkeypatch.setattr(device, "load_driver", lambda check: driver.Driver(library, check))
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
