"""A CUDA device that is open: one non-blocking stream, its kernels, and what timing needs of it."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.device.cuda.calibration import calibrate
from tesserabench.bench.device.cuda.compiling import Compiler, cache_folder
from tesserabench.bench.device.cuda.driver import load_driver
from tesserabench.bench.device.cuda.facts import describe, most_warps, nvrtc_text, software
from tesserabench.bench.device.cuda.flush import Flush
from tesserabench.bench.device.cuda.kernels import Kernel, Kernels
from tesserabench.bench.device.cuda.stamps import measure_step_ns
from tesserabench.bench.device.cuda.timing import arm
from tesserabench.bench.device.cuda_failures import translate
from tesserabench.bench.device.memory import require_room
from tesserabench.bench.device.protocol import DeviceState, Fact, KernelFacts, Timer, Timing, TimingOrder, Workload
from tesserabench.bench.environment import engine_version
from tesserabench.bench.kernels import compile_options
from tesserabench.bench.vocabulary import Backend, Mode, Phase

if TYPE_CHECKING:
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark

MEMORY_FRACTION = 0.9
"""Part of the free memory a case may fill."""
_HOLD_BYTES = 16


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
        try:
            self._set_up(cupy, index)
        except BaseException:
            self.stream.__exit__(None, None, None)
            raise

    def _set_up(self, cupy: Any, index: int) -> None:
        self.driver = load_driver(cupy.cuda.driver.check_status)
        self.info = describe(self._runtime, index, None if self.driver is None else self.driver.uuid(index))
        capability = (self.info.compute_capability or "").replace(".", "")
        versions = (engine_version(), cupy.__version__, f"nvrtc{nvrtc_text(cupy)}", f"driver{self.info.driver}")
        compiler = Compiler(cupy.cuda.nvrtc, capability, versions, cache_folder())
        self._kernels = Kernels(cupy, compiler, most_warps(self._runtime, index))
        self._allocations = _allocations(cupy)
        self.hold_words: Any = cupy.cuda.alloc_pinned_memory(_HOLD_BYTES)
        """Two words of host memory that the device reads: see kernels/hold.cu."""
        np.frombuffer(self.hold_words, dtype=np.uint32, count=2)[:] = 0
        self._flush: Flush | None = None
        self._timers: dict[Backend, Timer] = {}
        self._case_id: str | None = None
        self.timer_step_ns = measure_step_ns(self)
        self.timer = self.timer_of(Backend.EVENTS)

    def close(self) -> None:
        """Wait for the stream, leave it, and give all memory back."""
        # What went wrong on the device has been told where it happened; leaving it raises the same once more.
        with contextlib.suppress(self._runtime.CUDARuntimeError):
            self.stream.synchronize()
        self.stream.__exit__(None, None, None)
        self._flush = None
        with contextlib.suppress(self._runtime.CUDARuntimeError):
            self.xp.get_default_memory_pool().free_all_blocks()

    def begin(self, case: "Case | None", phase: Phase) -> None:
        """Give memory of the previous case back before a new one is prepared."""
        if phase is Phase.PREPARE and case is not None:
            self.xp.get_default_memory_pool().free_all_blocks()
            self._case_id = None

    def prepare(self, benchmark: "Benchmark", case: "Case", seed: int) -> Workload:
        """Build the work with CuPy arrays and our kernels; refuse what would not fit."""
        if case.id != self._case_id:
            # The sets of a rotation are prepared one by one, and are one case.
            self._kernels.forget()
            self._case_id = case.id
        require_room(benchmark, case, self.state().memory_free_bytes, MEMORY_FRACTION)
        workload = benchmark.prepare(self, case.params, seed)
        self.synchronize()
        return workload

    def kernel(self, module: str, function: str, *, defines: Mapping[str, str]) -> Kernel:
        """Return a function of `bench/kernels/MODULE.cu`, compiled once for this device and set of definitions."""
        return self._kernels.own(module, function, defines)

    def compile(
        self, source: str, function: str, *, name: str, options: Sequence[str] = (), defines: Mapping[str, str]
    ) -> Kernel:
        """Return a function of somebody's CUDA source, compiled once for this device and set of definitions."""
        return self._kernels.other(source, function, name, (*options, *compile_options(defines)))

    def service(self, module: str, function: str) -> Kernel:
        """Return a kernel that timing itself needs."""
        return self._kernels.service(module, function)

    def kernels(self) -> tuple[KernelFacts, ...]:
        """Return what is known of the kernels that the current case asked for."""
        return self._kernels.facts()

    def kernel_launches(self) -> int:
        """Return how many launches of our kernels there were."""
        return self._kernels.launches()

    def arm(self, workloads: Sequence[Workload], order: TimingOrder) -> Timing:
        """Return the timing of work: by a graph, a held stream, events or the host's clock."""
        if order.mode is Mode.COLD and self.driver is not None:
            # Lines that were set to persist would survive any sweep.
            self.driver.reset_persisting_cache()
        return arm(self, workloads, order)

    def timer_of(self, backend: Backend) -> Timer:
        """Return floor and step of the timer in a way of timing, read when it is first asked for."""
        if backend not in self._timers:
            self._timers[backend] = calibrate(self, backend)
        return self._timers[backend]

    def flush(self) -> Flush:
        """Return the buffer that sweeps the cache."""
        if self._flush is None:
            self._flush = Flush(self)
        return self._flush

    def spin(self, nanoseconds: int) -> None:
        """Enqueue a kernel that does nothing for a time."""
        self.service("spin", "spin")((1,), (1,), (np.uint64(nanoseconds),))

    def record(self, event: int) -> None:
        """Enqueue the record of an event."""
        self._runtime.eventRecord(event, self.stream.ptr)

    def allocations(self) -> Any:
        """Return a context that counts what CuPy's pool gives out (`count`) and asks of the device (`grown`)."""
        return self._allocations()

    def synchronize(self) -> None:
        """Wait for the stream; CUDA reports here what went wrong in a kernel."""
        self.stream.synchronize()

    def wait_for_all(self) -> None:
        """Wait for everything on the device, whatever stream it was put on."""
        self._runtime.deviceSynchronize()

    def state(self) -> DeviceState:
        """Return the free memory: the runtime tells nothing of clocks, power or throttling."""
        free, _ = self._runtime.memGetInfo()
        return DeviceState(memory_free_bytes=int(free))

    def now_ns(self) -> int:
        """Return the host's monotonic time."""
        return time.perf_counter_ns()

    def environment(self) -> Mapping[str, Fact]:
        """Return versions of driver, runtime, compiler and libraries, and what the device says about itself."""
        info = self.info
        facts: dict[str, Fact | None] = {
            "device.model": info.model,
            "device.uuid": info.uuid,
            "device.compute_capability": info.compute_capability,
            "device.processors": info.processors,
            "device.memory_bytes": info.memory_bytes,
            "device.cache_bytes": info.cache_bytes,
            "device.peak_bandwidth": info.peak_bandwidth,
            "software.cuda_driver": info.driver,
            **software(self.xp),
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
        return translate(error, self._memory_text)

    def _memory_text(self) -> str:
        pool = self.xp.get_default_memory_pool()
        try:
            free, total = self._runtime.memGetInfo()
        except self._runtime.CUDARuntimeError:
            return ""
        limit = int(pool.get_limit())
        held = f"CuPy's pool holds {pool.total_bytes()}" + (f" of its limit of {limit}" if limit else "")
        return f"{free} of {total} bytes are free, {held}"


def _allocations(cupy: Any) -> Any:
    """Return the class of a memory hook that counts; CuPy, and with it the hook's base, is known only at run time."""

    def given(hook: Any, **_: object) -> None:
        hook.count += 1

    def grown(hook: Any, **_: object) -> None:
        hook.grown += 1

    members = {"name": "tesserabench", "count": 0, "grown": 0, "malloc_preprocess": given, "alloc_preprocess": grown}
    return type("Allocations", (cupy.cuda.MemoryHook,), members)
