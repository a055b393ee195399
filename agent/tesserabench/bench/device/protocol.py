"""What a device must be able to do: prepare work, time it, and say what state it is in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tesserabench.bench.vocabulary import DeviceKind, Mode, Phase

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark

    HostArrays = Mapping[str, npt.NDArray[np.generic]]

Fact = str | int | float | bool


class Workload(Protocol):
    """One case's work, with its inputs and outputs already in place."""

    def launch(self) -> None:
        """Do, or enqueue, the work once. It allocates nothing and waits for nothing."""

    def poison(self) -> None:
        """Fill every output with 0xFF bytes (NaN in every floating type), so that unwritten parts are seen."""

    def outputs(self) -> "HostArrays":
        """Return the outputs, or the parts of them that are checked, as NumPy arrays in host memory."""

    def reference(self) -> "HostArrays":
        """Return what `outputs` should be, computed independently in float64 on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """What the device is. Unknown is None, never 0."""

    kind: DeviceKind
    model: str
    uuid: str | None = None
    index: int | None = None
    memory_bytes: int | None = None
    driver: str | None = None
    compute_capability: str | None = None
    processors: int | None = None
    """Streaming multiprocessors, or processor cores the process may use."""
    cache_bytes: int | None = None
    """Last-level cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """The clock that times launches: its name, its smallest step and what an empty region reads."""

    name: str
    quantum_ns: float
    floor_ns: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """A reading at one moment; whatever the device cannot tell is None."""

    clock_hz: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    memory_free_bytes: int | None = None
    throttled_ns: int | None = None
    """Cumulative time spent throttled; only differences mean something."""
    throttle_reason: str | None = None
    foreign_processes: int | None = None
    """Other processes computing on the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """A planted slow-down: each launch takes `factor` times as long; `launch_ns` is what one launch takes by itself."""

    factor: float
    launch_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How a group of launches is timed together."""

    iterations: int
    mode: Mode
    drill: Drill | None = None


class Device(Protocol):
    """A device that is open. Calls come from one thread."""

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""

    @property
    def timer(self) -> Timer:
        """The clock used by `time_batch`, calibrated when the device was opened."""

    def begin(self, case: "Case | None", phase: Phase) -> None:
        """Note that a phase begins (for profiler ranges, and for scripted faults)."""

    def prepare(self, benchmark: "Benchmark", case: "Case", seed: int) -> Workload:
        """Build the work of a case; raise CaseFailure when the device cannot do it."""

    def time_batch(self, launch: Callable[[], None], batch: Batch) -> int:
        """Run `batch.iterations` launches and return their total time in nanoseconds, cache sweeps left out."""

    def synchronize(self) -> None:
        """Wait until everything that was launched is done; raise CaseFailure when it failed."""

    def state(self) -> DeviceState:
        """Read clocks, temperature and what else the device tells without privileges."""

    def now_ns(self) -> int:
        """Return the monotonic time that budgets are counted in."""

    def sweep_bytes(self) -> int:
        """Return how many bytes a cache sweep of mode `cold` touches."""

    def environment(self) -> Mapping[str, Fact]:
        """Return the facts about the device and its software that may change results."""

    def comparable(self) -> Mapping[str, Fact]:
        """Return the facts that must be equal for two results to be comparable at all."""

    def failure(self, error: Exception) -> Exception:
        """Translate an exception out of the work into a CaseFailure where its meaning is known, else return it."""


class ArrayDevice(Device, Protocol):
    """A device whose work is written against an array library."""

    @property
    def xp(self) -> Any:
        """The array module: numpy or cupy."""

    def kernel(self, module: str, function: str, *, defines: Mapping[str, str]) -> Any:
        """Return a compiled kernel of `bench/kernels`; only CUDA devices have any."""
