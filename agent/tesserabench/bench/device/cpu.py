"""The CPU as a device: NumPy does the work and perf_counter_ns times it."""

import ctypes
import itertools
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from tesserabench.bench.device.memory import require_room
from tesserabench.bench.device.protocol import Batch, DeviceInfo, DeviceState, Fact, Timer, Workload
from tesserabench.bench.environment import cache_bytes, cpu_model, memory_bytes, usable_cores
from tesserabench.bench.errors import CaseFailure, DeviceUnavailable
from tesserabench.bench.vocabulary import DeviceKind, Mode, Outcome, Phase

if TYPE_CHECKING:
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark

MEMORY_FRACTION = 0.5
"""Part of the free memory a case may fill: the check in float64 needs as much again."""
_CALIBRATION_READS = 2000
_SWEEP_LIMITS = (64 << 20, 256 << 20)
"""Least and most bytes of a cache sweep; in between, twice the last-level cache."""
_THREAD_FUNCTIONS = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads")


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

    def time_batch(self, launch: Callable[[], None], batch: Batch) -> int:
        """Run the launches and return their total time in nanoseconds."""
        if batch.drill is not None:
            return self._time_drilled(launch, batch, batch.drill.factor)
        if batch.mode is Mode.HOT:
            repeats = range(batch.iterations)
            begin = time.perf_counter_ns()
            for _ in repeats:
                launch()
            return time.perf_counter_ns() - begin
        total = 0
        for _ in range(batch.iterations):
            self._sweep_if_cold(batch.mode)
            begin = time.perf_counter_ns()
            launch()
            total += time.perf_counter_ns() - begin
        return total

    def _time_drilled(self, launch: Callable[[], None], batch: Batch, factor: float) -> int:
        total = 0
        for _ in range(batch.iterations):
            self._sweep_if_cold(batch.mode)
            begin = time.perf_counter_ns()
            launch()
            until = begin + factor * (time.perf_counter_ns() - begin)
            while time.perf_counter_ns() < until:
                pass
            total += time.perf_counter_ns() - begin
        return total

    def _sweep_if_cold(self, mode: Mode) -> None:
        if mode is Mode.COLD:
            if self._sweep is None:
                self._sweep = np.ones(self.sweep_bytes() // 8)
            self._sweep.sum()

    def sweep_bytes(self) -> int:
        """Return the size of the buffer that a cold launch is preceded by."""
        return min(max(2 * (self.info.cache_bytes or 0), _SWEEP_LIMITS[0]), _SWEEP_LIMITS[1])

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
