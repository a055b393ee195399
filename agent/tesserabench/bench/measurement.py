"""What a trial reports: a measurement for each case, and the trial's own header and result."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tesserabench.bench.case import Case
from tesserabench.bench.codec import decode, encode
from tesserabench.bench.device.protocol import CacheUse, DeviceInfo, DeviceState, Fact, KernelFacts, Timer
from tesserabench.bench.metric import MetricValue
from tesserabench.bench.timing.statistics import Statistics
from tesserabench.bench.vocabulary import Backend, Mode, Outcome, Phase, StopReason, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Correctness:
    """How the outputs compared with a float64 reference."""

    metric: str
    value: float | None
    """Relative error; None when the outputs were not finite or had the wrong shape."""
    limit: float
    passed: bool
    poisoned: bool
    """Whether the outputs were filled with NaN patterns before the run that was checked."""
    max_abs_error: float | None = None
    """Largest absolute difference from the reference."""
    outside_tolerance: float | None = None
    """Share of the compared elements that are off by more than they may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """What the warm-up took, and whether it ended because the times were stationary."""

    calls: int
    seconds: float
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the samples were taken; `half_width` and `target` are fractions of the median."""

    iterations: int
    """Launches in each sample; a sample is the time of one launch, averaged over them."""
    backend: Backend
    timer: Timer
    """Step and floor of the timer in this way of timing."""
    cache: CacheUse
    stop_reason: StopReason
    target: float
    half_width: float | None
    elapsed_seconds: float
    device_seconds: float
    blocks: int = 1
    """Groups of samples, apart in time."""
    launches: int = 0
    """Launches between `measuring_monotonic_ns` and `measured_monotonic_ns`, timed or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One case in one trial. Samples are nanoseconds for one launch, in the order they were taken."""

    case: Case
    mode: Mode
    outcome: Outcome
    reason: str = ""
    """For every outcome but ok: what happened and what to do, in a sentence."""
    failed_phase: Phase | None = None
    samples: tuple[int, ...] = ()
    clock_mhz: tuple[float, ...] = ()
    """Clock of the streaming multiprocessors during each sample; empty when the device cannot tell."""
    offset_us: tuple[float, ...] = ()
    """Begin of each sample after the first one's, or empty."""
    block: tuple[int, ...] = ()
    """Number of the block that each sample was taken in, from 0, or empty."""
    sample_flags: tuple[int, ...] = ()
    """Bits of `SampleFlag` for each sample, or empty."""
    statistics: Statistics | None = None
    metrics: tuple[MetricValue, ...] = ()
    correctness: Correctness | None = None
    warmup: Warmup | None = None
    sampling: Sampling | None = None
    flops: int | None = None
    bytes: int | None = None
    items: int | None = None
    kernels: tuple[KernelFacts, ...] = ()
    inputs: str = ""
    """How the inputs were distributed."""
    dtype: str | None = None
    seed: int = 0
    position: int = 0
    """Place in the trial's order, from 0."""
    flags: tuple[str, ...] = ()
    """Remarks as stable words; docs/guide/measuring.md explains each."""
    arm: str = ""
    """`a` or `b` in an interleaved comparison, else empty."""
    started_monotonic_ns: int | None = None
    """CLOCK_MONOTONIC of this machine, to join with readings of other processes; likewise the two below."""
    measuring_monotonic_ns: int | None = None
    measured_monotonic_ns: int | None = None
    ended_monotonic_ns: int | None = None
    state_before: DeviceState | None = None
    state_after: DeviceState | None = None

    @property
    def case_id(self) -> str:
        """The id of the case."""
        return self.case.id

    def to_dict(self) -> dict[str, Any]:
        """Return the measurement as JSON types, with the id and hash of its case written out."""
        return {**encode(self), "case_id": self.case.id, "case_hash": self.case.hash}

    @classmethod
    def from_dict(cls, data: object) -> "Measurement":
        """Read what `to_dict` wrote; raise InvalidPlan naming the field that is wrong."""
        if isinstance(data, Mapping):
            data = {name: value for name, value in data.items() if name not in {"case_id", "case_hash"}}
        return decode(cls, data, "measurement")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """The best rates seen in this trial's own probes, in SI units; what was not probed is absent."""

    bandwidth: float | None = None
    """Device copy, bytes read plus written, in bytes a second."""
    flops: Mapping[str, float] = field(default_factory=dict)
    """Library matrix product, FLOP/s by dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What may change results. `comparability` is a hash of the facts that must be equal to compare at all."""

    facts: Mapping[str, Fact]
    comparability: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialHeader:
    """What is known before the first case: sent once, so that a trial that dies later still says where it ran."""

    suite: str
    tier: Tier
    mode: Mode | None
    seed: int
    order: tuple[str, ...]
    """Case ids in the order they are measured."""
    device: DeviceInfo
    timer: Timer
    environment: Environment
    ceilings: Ceilings
    engine_version: str

    def to_dict(self) -> dict[str, Any]:
        """Return the header as JSON types."""
        return dict(encode(self))

    @classmethod
    def from_dict(cls, data: object) -> "TrialHeader":
        """Read what `to_dict` wrote; raise InvalidPlan naming the field that is wrong."""
        return decode(cls, data, "header")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The end of a trial: ok when it got through all cases, whatever their own outcomes were."""

    outcome: Outcome
    reason: str = ""
    header: TrialHeader | None = None
    """None when the trial ended before the device could be described."""
    measurements: tuple[Measurement, ...] = ()
    not_run: tuple[str, ...] = ()
    """Ids of cases that were never begun, because the trial ended first."""
    duration_seconds: float = 0.0
    closing: Ceilings | None = None
    """The ceilings probed after the last case; the header has those probed before the first."""
    flags: tuple[str, ...] = ()
    """Remarks on the whole trial: environment_drift."""

    def without_measurements(self) -> "TrialResult":
        """Return the result for a reader who already received header and measurements one by one."""
        return replace(self, header=None, measurements=())

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON types."""
        return {
            **encode(replace(self, measurements=())),
            "measurements": [item.to_dict() for item in self.measurements],
        }

    @classmethod
    def from_dict(cls, data: object) -> "TrialResult":
        """Read what `to_dict` wrote; raise InvalidPlan naming the field that is wrong."""
        if not isinstance(data, Mapping):
            return decode(cls, data, "result")
        measured = [Measurement.from_dict(item) for item in data.get("measurements", ())]
        rest = decode(cls, {**data, "measurements": []}, "result")
        return replace(rest, measurements=tuple(measured))
