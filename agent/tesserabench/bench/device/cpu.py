"""The CPU as a device: NumPy does the work and perf_counter_ns times it."""

import ctypes
import itertools
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from tesserabench.bench.device.memory import require_room
from tesserabench.bench.device.protocol import (
    Block,
    CacheUse,
    DeviceInfo,
    DeviceState,
    Fact,
    KernelFacts,
    Timer,
    TimingOrder,
    Workload,
)
from tesserabench.bench.environment import cache_bytes, cpu_model, memory_bytes, usable_cores
from tesserabench.bench.errors import CaseFailure, DeviceUnavailable
from tesserabench.bench.vocabulary import Backend, CacheKind, DeviceKind, Mode, Outcome, Phase

if TYPE_CHECKING:
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark

MEMORY_FRACTION = 0.5
"""Part of the free memory a case may fill: the check in float64 needs as much again."""
_CALIBRATION_READS = 2000
_SWEEP_LIMITS = (64 << 20, 256 << 20)
"""Least and most bytes of a cache sweep; in between, twice the last-level cache."""
_THREAD_FUNCTIONS = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads")


class CpuTiming:
    """Times launches with `perf_counter_ns`: a NumPy call is over when it returns."""

    backend = Backend.HOST
    remarks: tuple[str, ...] = ()

    def __init__(
        self,
        workloads: Sequence[Workload],
        order: TimingOrder,
        timer: Timer,
        sweep: "np.ndarray[tuple[int], np.dtype[np.float64]] | None",
    ) -> None:
        self.timer = timer
        self.cache = CacheUse(kind=CacheKind.WARM)
        if sweep is not None:
            self.cache = CacheUse(kind=CacheKind.READ_SWEEP, bytes=sweep.nbytes)
        elif order.mode is Mode.ROTATING:
            self.cache = CacheUse(kind=CacheKind.ROTATION, copies=len(workloads))
        self._launches = itertools.cycle([workload.launch for workload in workloads])
        self._order, self._sweep = order, sweep

    def take(self, samples: int) -> Block:
        """Take samples one after the other."""
        totals: list[int] = []
        begins: list[int] = []
        started = time.perf_counter_ns()
        for _ in range(samples):
            begins.append(time.perf_counter_ns())
            totals.append(self._sample())
        return Block(total_ns=tuple(totals), begin_ns=tuple(begins), host_ns=time.perf_counter_ns() - started)

    def close(self) -> None:
        """Nothing to give back."""

    def _sample(self) -> int:
        launches = itertools.islice(self._launches, self._order.iterations)
        if self._sweep is None and self._order.drill is None:
            begin = time.perf_counter_ns()
            for launch in launches:
                launch()
            return time.perf_counter_ns() - begin
        factor = 1.0 if self._order.drill is None else self._order.drill.factor
        total = 0
        for launch in launches:
            if self._sweep is not None:
                self._sweep.sum()
            begin = time.perf_counter_ns()
            launch()
            until = begin + factor * (time.perf_counter_ns() - begin)
            while factor > 1 and time.perf_counter_ns() < until:
                pass
            total += time.perf_counter_ns() - begin
        return total


class CpuDevice:
    """The processor this process runs on."""

    def __init__(self, threads: int) -> None:
        self.xp: Any = np
        self.threads = _pin_threads(threads)
        self.info = DeviceInfo(
            kind=DeviceKind.CPU,
            model=cpu_model() or "unknown CPU",
            memory_bytes=memory_bytes(),
            processors=usable_cores(),
            cache_bytes=cache_bytes(),
        )
        self.timer = _calibrate()
        self._sweep: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None

    def close(self) -> None:
        """Give the sweep buffer back."""
        self._sweep = None

    def begin(self, case: "Case | None", phase: Phase) -> None:
        """Nothing to note on a CPU."""

    def prepare(self, benchmark: "Benchmark", case: "Case", seed: int) -> Workload:
        """Build the work with NumPy arrays; refuse what would not fit beside its float64 reference."""
        require_room(benchmark, case, _available_bytes(), MEMORY_FRACTION)
        return benchmark.prepare(self, case.params, seed)

    def kernel(self, module: str, function: str, *, defines: Mapping[str, str]) -> NoReturn:
        """Refuse: a CPU runs no CUDA kernel."""
        raise CaseFailure(Outcome.UNSUPPORTED, f"kernel {module}:{function} ({dict(defines)}) needs a CUDA device")

    def compile(
        self, source: str, function: str, *, name: str, options: Sequence[str] = (), defines: Mapping[str, str]
    ) -> NoReturn:
        """Refuse: a CPU runs no CUDA kernel."""
        del source, options, defines
        raise CaseFailure(Outcome.UNSUPPORTED, f"kernel {name}:{function} needs a CUDA device")

    def arm(self, workloads: Sequence[Workload], order: TimingOrder) -> "CpuTiming":
        """Return the timing of work by the host's clock."""
        sweep = None
        if order.mode is Mode.COLD:
            if self._sweep is None:
                self._sweep = np.ones(self._sweep_bytes() // 8)
            sweep = self._sweep
        return CpuTiming(workloads, order, self.timer, sweep)

    def _sweep_bytes(self) -> int:
        """Return the size of the buffer that a cold launch is preceded by."""
        return min(max(2 * (self.info.cache_bytes or 0), _SWEEP_LIMITS[0]), _SWEEP_LIMITS[1])

    def kernels(self) -> tuple[KernelFacts, ...]:
        """Return nothing: NumPy's loops tell nothing of themselves."""
        return ()

    def synchronize(self) -> None:
        """Return at once: NumPy's work is done when its call returns."""

    def state(self) -> DeviceState:
        """Return the free memory; clocks and throttling need rights that a process may lack."""
        return DeviceState(memory_free_bytes=_available_bytes())

    def now_ns(self) -> int:
        """Return the host's monotonic time."""
        return time.perf_counter_ns()

    def environment(self) -> Mapping[str, Fact]:
        """Return the numerical software and the thread count."""
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        facts: dict[str, Fact] = {
            "software.numpy": np.__version__,
            "software.blas": str(blas.get("name")),
            "software.blas_version": str(blas.get("version")),
        }
        if self.threads is not None:
            facts["cpu.threads"] = self.threads
        return facts

    def comparable(self) -> Mapping[str, Fact]:
        """Return processor, cores and threads."""
        return {
            "kind": self.info.kind.value,
            "model": self.info.model,
            "cores": self.info.processors or 0,
            "threads": self.threads or 0,
        }

    def failure(self, error: Exception) -> Exception:
        """Name the failures that NumPy raises."""
        if isinstance(error, MemoryError):
            return CaseFailure(Outcome.OUT_OF_MEMORY, f"host memory ran out ({error}); choose smaller parameters")
        return error


def open(argument: str | None, *, threads: int | None) -> CpuDevice:  # noqa: A001 - read as cpu.open
    """Open the CPU with a number of threads; by default one core is left to everything else that runs.

    A product over all cores waits for its slowest thread: one disturbed core then disturbs every sample.
    """
    if argument is not None:
        raise DeviceUnavailable(
            f"device 'cpu:{argument}' does not exist; use 'cpu' and set its number of threads apart"
        )
    if threads is not None and threads < 1:
        raise DeviceUnavailable(f"threads is {threads}; it must be 1 or more")
    return CpuDevice(threads or max(1, usable_cores() - 1))


def _pin_threads(wanted: int) -> int | None:
    """Set the thread count of the BLAS that NumPy loaded and return what it then says; None when it cannot be asked."""
    np.zeros((1, 1)) @ np.zeros((1, 1))
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    for path in sorted(set(re.findall(r"/\S*openblas\S*", maps))):
        library = ctypes.CDLL(path)
        for pattern in _THREAD_FUNCTIONS:
            setter = getattr(library, pattern.format("set"), None)
            getter = getattr(library, pattern.format("get"), None)
            if setter is not None and getter is not None:
                setter(ctypes.c_int(wanted))
                return int(getter())
    return None


def _calibrate() -> Timer:
    """Return the smallest step seen between two reads of the clock, and the median of an empty region."""
    reads = [time.perf_counter_ns() for _ in range(_CALIBRATION_READS)]
    steps = sorted(b - a for a, b in itertools.pairwise(reads))
    positive = [step for step in steps if step > 0]
    return Timer(
        name="perf_counter_ns",
        quantum_ns=float(positive[0] if positive else 1),
        floor_ns=float(steps[len(steps) // 2]),
    )


def _available_bytes() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None
