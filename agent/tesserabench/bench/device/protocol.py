"""What a device must be able to do: prepare work, time it, and say what state it is in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tesserabench.bench.vocabulary import Backend, CacheKind, DeviceKind, Mode, Phase

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark
    from tesserabench.bench.metric import MetricValue
    from tesserabench.bench.timing.statistics import Statistics

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
        """Return what `outputs` should be, computed independently in float64 on the host.

        Empty for work without outputs, such as a launch of nothing: such a case is flagged `unchecked`.
        """


class OpaqueWork(Protocol):
    """A Workload says with this attribute that its launches cannot be captured into a CUDA graph.

    Libraries that refuse, and calls that allocate or wait. Work without the attribute is captured.
    """

    capturable: bool


@runtime_checkable
class ClosableWork(Protocol):
    """A Workload that holds more than arrays: streams, events, communicators, files."""

    def close(self) -> None:
        """Give everything back; called once, whatever became of the case."""


@runtime_checkable
class CheckedInputs(Protocol):
    """A Workload that can tell whether something wrote over its inputs; `bench.inputs.checksum` does the work."""

    def checksum(self) -> str:
        """Return a digest of every input as the device holds it now."""


@runtime_checkable
class TellingWork(Protocol):
    """A Workload with metrics of its own beside those that its formulas give."""

    def metrics(self, statistics: "Statistics") -> "Iterable[MetricValue]":
        """Return them, given the statistics of one launch in nanoseconds."""


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
    peak_bandwidth: float | None = None
    """Theoretical bandwidth of the memory in B/s: clock times bus width. Nothing that misses the cache beats it."""
    peak_flops: Mapping[str, float] = field(default_factory=dict)
    """Theoretical FLOP/s without sparsity, by dtype, at the highest clock of the multiprocessors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """The clock that times launches: its name, its smallest step and what an empty region reads."""

    name: str
    quantum_ns: float
    floor_ns: float
    launch_floor_ns: float | None = None
    """What a region with one launch of an empty kernel reads; None where nothing is launched."""


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
class CacheUse:
    """How the cache was treated before each launch."""

    kind: CacheKind
    bytes: int | None = None
    """Bytes of the sweep, or of all sets of a rotation together."""
    copies: int = 1
    """Sets of inputs and outputs that launches rotate over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Samples taken together, in columns of equal length; a column that the device cannot fill is empty."""

    total_ns: tuple[int, ...]
    """Time of the launches in each sample, cache sweeps left out."""
    clock_hz: tuple[float, ...] = ()
    """Clock of the streaming multiprocessors during each sample."""
    begin_ns: tuple[int, ...] = ()
    """When each sample began, in the time of `Device.now_ns`."""
    host_ns: int | None = None
    """Host time from the first launch until everything was done; much more than the samples' own time means that
    work went on where the timer did not look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFacts:
    """What the compiler and the driver say of one kernel; unknown is None."""

    name: str
    registers: int | None = None
    shared_bytes: int | None = None
    """Shared memory declared in the kernel, without what a launch adds."""
    local_bytes: int | None = None
    """Local memory of a thread: above zero, registers were spilled or arrays indexed at run time."""
    constant_bytes: int | None = None
    block_threads: int | None = None
    occupancy: float | None = None
    """Theoretical: resident warps over the most a multiprocessor holds, 0 to 1."""
    architecture: str | None = None
    options: tuple[str, ...] = ()
    source_hash: str | None = None
    binary_hash: str | None = None
    compile_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingOrder:
    """How work is to be timed."""

    mode: Mode
    iterations: int = 1
    """Launches in a sample."""
    drill: Drill | None = None
    flush: str = "read"
    """How mode cold empties the cache: `read` or `write`."""
    backend: Backend | None = None
    """The way of timing to use; None takes the best that the device and the work allow."""


class Timing(Protocol):
    """Work that is ready to be timed: its events, graphs and buffers are in place, nothing is allocated any more."""

    @property
    def backend(self) -> Backend:
        """How it is timed."""

    @property
    def timer(self) -> Timer:
        """Step and floor of the timer, calibrated for this way of timing on this device."""

    @property
    def cache(self) -> CacheUse:
        """How the cache is treated."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Flags that every measurement taken with it carries."""

    def take(self, samples: int) -> Block:
        """Take at most `samples` samples in one go, at least one."""

    def close(self) -> None:
        """Give its buffers and graphs back."""


class Device(Protocol):
    """A device that is open. Calls come from one thread."""

    @property
    def info(self) -> DeviceInfo:
        """What the device is."""

    @property
    def timer(self) -> Timer:
        """The clock of the plainest way of timing, calibrated when the device was opened."""

    def begin(self, case: "Case | None", phase: Phase) -> None:
        """Note that a phase begins (for profiler ranges, and for scripted faults)."""

    def prepare(self, benchmark: "Benchmark", case: "Case", seed: int) -> Workload:
        """Build the work of a case; raise CaseFailure when the device cannot do it."""

    def arm(self, workloads: Sequence[Workload], order: TimingOrder) -> Timing:
        """Make work ready to be timed; launches go through `workloads` in turn, one in every mode but rotating."""

    def synchronize(self) -> None:
        """Wait until everything that was launched is done; raise CaseFailure when it failed."""

    def state(self) -> DeviceState:
        """Read clocks, temperature and what else the device tells without privileges."""

    def now_ns(self) -> int:
        """Return the monotonic time that budgets are counted in."""

    def kernels(self) -> tuple[KernelFacts, ...]:
        """Return what is known of the kernels that were asked for since the last `prepare`."""

    def environment(self) -> Mapping[str, Fact]:
        """Return the facts about the device and its software that may change results."""

    def comparable(self) -> Mapping[str, Fact]:
        """Return the facts that must be equal for two results to be comparable at all."""

    def failure(self, error: Exception) -> Exception:
        """Translate an exception out of the work into a CaseFailure where its meaning is known, else return it."""


@runtime_checkable
class PausingDevice(Protocol):
    """A Device whose time does not pass by itself."""

    def pause(self, seconds: float) -> None:
        """Let that much of its own time pass without any work."""


class ArrayDevice(Device, Protocol):
    """A device whose work is written against an array library."""

    @property
    def xp(self) -> Any:
        """The array module: numpy or cupy."""

    def kernel(self, module: str, function: str, *, defines: Mapping[str, str]) -> Any:
        """Return a compiled kernel of `bench/kernels`; only CUDA devices have any."""

    def compile(
        self, source: str, function: str, *, name: str, options: Sequence[str] = (), defines: Mapping[str, str]
    ) -> Any:
        """Return the kernel `function` of CUDA source that is not ours, such as a bundle's, compiled once.

        `name` is what errors and kernel facts call the source; `options` go to the compiler before the definitions.
        """
