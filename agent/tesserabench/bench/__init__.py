"""TesseraBench's measuring engine as a library: no network, no daemon, no database.

Find and select work:
    suites() -> tuple[Suite, ...]
    find_suite(name) -> Suite                                           UnknownSuite with near matches
    find_benchmark(name) -> Benchmark                                   full name such as gemm/matmul
    expand(suite, *, tier, device_kind, overrides, include, exclude) -> tuple[Case, ...]
    plan_trial(suite, *, tier, device_kind, ..., seed, mode, options) -> TrialPlan

Measure:
    open_device("cpu" | "cuda" | "cuda:0" | "simulated[:SCENARIO]") -> context manager of Device
    measure_trial(plan, device, *, observer, cancelled) -> TrialResult  what a worker process calls
    run_locally(suite, *, device, tier, mode, ..., observer) -> TrialResult

Data, all frozen, all with to_dict() and from_dict() in JSON types where they travel:
    TrialPlan, MeasureOptions, Case, Params
    TrialHeader, Measurement, TrialResult (samples are integer nanoseconds for one launch)
    Statistics, MetricValue, Correctness, Warmup, Sampling, Ceilings, Environment, DeviceInfo, DeviceState, Timer
    Outcome, StopReason, Phase, Mode, Backend, CacheKind, SampleFlag, Flag, TrialFlag, Tier, DeviceKind, Better

Add benchmarks:
    @benchmark(name=, suite=, summary=, parameters=, tiers=, device_tiers=, devices=, flops=, bytes=, tolerance=)
    on a function (device, params, seed) -> Workload; suite(name, summary=) declares its suite first. A bundle
    (tesserabench.bench.bundle) has a suite of its own and its benchmarks may leave suite= out.

Importing this package, listing suites and planning import neither NumPy nor CuPy; measuring imports what it needs.
"""

from tesserabench.bench.case import Case, Params
from tesserabench.bench.definition import Benchmark, Suite
from tesserabench.bench.device import device_kind, open_device
from tesserabench.bench.device.protocol import (
    ArrayDevice,
    Block,
    CacheUse,
    CheckedInputs,
    ClosableWork,
    Device,
    DeviceInfo,
    DeviceState,
    Drill,
    KernelFacts,
    PausingDevice,
    TellingWork,
    Timer,
    Timing,
    TimingOrder,
    Workload,
)
from tesserabench.bench.environment import engine_version
from tesserabench.bench.errors import (
    BenchError,
    BundleError,
    CaseFailure,
    DeviceUnavailable,
    InvalidOverride,
    InvalidPattern,
    InvalidPlan,
    NothingSelected,
    RegistrationError,
    ScenarioError,
    SelectionError,
    UnknownBenchmark,
    UnknownDevice,
    UnknownSuite,
    UnknownTier,
)
from tesserabench.bench.local import run_locally
from tesserabench.bench.measurement import (
    Ceilings,
    Correctness,
    Environment,
    Measurement,
    Sampling,
    TrialHeader,
    TrialResult,
    Warmup,
)
from tesserabench.bench.metric import METRICS, Metric, MetricValue
from tesserabench.bench.plan import MeasureOptions, TrialPlan, plan_trial
from tesserabench.bench.registry import INSTALLED, Registry, benchmark, suite
from tesserabench.bench.selection import expand
from tesserabench.bench.timing.statistics import Statistics, summarise
from tesserabench.bench.trial import measure_trial
from tesserabench.bench.vocabulary import (
    Backend,
    Better,
    CacheKind,
    DeviceKind,
    Flag,
    Mode,
    Outcome,
    Phase,
    SampleFlag,
    StopReason,
    Tier,
    TrialFlag,
)
from tesserabench.bench.watch import Observer, SilentObserver

__all__ = [
    "INSTALLED",
    "METRICS",
    "ArrayDevice",
    "Backend",
    "BenchError",
    "Benchmark",
    "Better",
    "Block",
    "BundleError",
    "CacheKind",
    "CacheUse",
    "Case",
    "CaseFailure",
    "Ceilings",
    "CheckedInputs",
    "ClosableWork",
    "Correctness",
    "Device",
    "DeviceInfo",
    "DeviceKind",
    "DeviceState",
    "DeviceUnavailable",
    "Drill",
    "Environment",
    "Flag",
    "InvalidOverride",
    "InvalidPattern",
    "InvalidPlan",
    "KernelFacts",
    "MeasureOptions",
    "Measurement",
    "Metric",
    "MetricValue",
    "Mode",
    "NothingSelected",
    "Observer",
    "Outcome",
    "Params",
    "PausingDevice",
    "Phase",
    "RegistrationError",
    "Registry",
    "SampleFlag",
    "Sampling",
    "ScenarioError",
    "SelectionError",
    "SilentObserver",
    "Statistics",
    "StopReason",
    "Suite",
    "TellingWork",
    "Tier",
    "Timer",
    "Timing",
    "TimingOrder",
    "TrialFlag",
    "TrialHeader",
    "TrialPlan",
    "TrialResult",
    "UnknownBenchmark",
    "UnknownDevice",
    "UnknownSuite",
    "UnknownTier",
    "Warmup",
    "Workload",
    "benchmark",
    "device_kind",
    "engine_version",
    "expand",
    "find_benchmark",
    "find_suite",
    "measure_trial",
    "open_device",
    "plan_trial",
    "run_locally",
    "suite",
    "suites",
    "summarise",
]

suites = INSTALLED.suites
find_suite = INSTALLED.find_suite
find_benchmark = INSTALLED.find_benchmark
