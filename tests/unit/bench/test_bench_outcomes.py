"""Every outcome and stop reason that does not end the process, on the simulated device."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from tesserabench.bench import (
    Case,
    DeviceKind,
    InvalidPlan,
    Measurement,
    MeasureOptions,
    Outcome,
    Params,
    Phase,
    Registry,
    SilentObserver,
    StopReason,
    TrialHeader,
    TrialPlan,
    TrialResult,
    UnknownBenchmark,
    Workload,
    benchmark,
    measure_trial,
    open_device,
    plan_trial,
    run_locally,
)
from tesserabench.bench.device.protocol import ArrayDevice

SMOKE = MeasureOptions.for_tier("smoke")


class Recorder(SilentObserver):
    """Writes every call down in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def header(self, header: TrialHeader) -> None:
        self.calls.append(("header", header))

    def phase(self, case: Case | None, phase: Phase, budget_seconds: float) -> None:
        self.calls.append(("phase", case and case.id, phase, budget_seconds))

    def measurement(self, measurement: Measurement) -> None:
        self.calls.append(("measurement", measurement))

    def progress(self, done: int, total: int) -> None:
        self.calls.append(("progress", done, total))


MATMUL = r"^gemm/matmul\["
MEMORY = r"^memory/(copy|triad|reduction)\["


def simulate(scenario: str, include: str | None = None, **changes: Any) -> TrialResult:
    return run_locally("core", include=include, device=f"simulated:{scenario}", options=replace(SMOKE, **changes))


def only(result: TrialResult) -> Measurement:
    (measurement,) = result.measurements
    return measurement


@pytest.mark.parametrize(
    ("scenario", "outcome", "phase", "reason"),
    [
        ("wrong-result", Outcome.INCORRECT, Phase.VERIFY, "float64 reference: do not use its times"),
        ("nan-result", Outcome.INCORRECT, Phase.VERIFY, "is not finite or has the wrong shape"),
        ("out-of-memory", Outcome.OUT_OF_MEMORY, Phase.PREPARE, "choose smaller parameters"),
        ("unsupported", Outcome.UNSUPPORTED, Phase.PREPARE, "leave it out"),
        ("device-error", Outcome.DEVICE_ERROR, Phase.MEASURE, "illegal address"),
        ("slow", Outcome.TIMEOUT, Phase.MEASURE, "raise the budget or choose smaller parameters"),
        ("zero-time", Outcome.IMPLAUSIBLE, Phase.MEASURE, "escaped the timed region"),
        ("throttled", Outcome.THROTTLED, Phase.MEASURE, "let it cool down"),
        ("busy", Outcome.BUSY, Phase.PREPARE, "wait until it is idle"),
        ("raise", Outcome.HARNESS_ERROR, Phase.MEASURE, "please report it"),
    ],
)
def test_fault_becomes_the_outcome_of_each_case_and_stops_none(
    scenario: str, outcome: Outcome, phase: Phase, reason: str
) -> None:
    result = simulate(scenario)
    assert result.outcome is Outcome.OK
    assert result.not_run == ()
    assert len(result.measurements) == 5
    for measurement in result.measurements:
        assert measurement.outcome is outcome
        assert measurement.failed_phase is phase
        assert reason in measurement.reason
        assert measurement.metrics == ()


@pytest.mark.parametrize("phase", [Phase.PREPARE, Phase.VERIFY, Phase.WARMUP, Phase.MEASURE])
def test_lost_device_ends_the_trial_and_names_what_was_not_run(phase: Phase) -> None:
    result = simulate(f'name = "x"\nrules = [{{fault = "device_lost", fault_phase = "{phase}"}}]')
    assert result.outcome is Outcome.DEVICE_LOST
    assert "reset or drain the host" in result.reason
    measurement = only(result)
    assert (measurement.outcome, measurement.failed_phase) == (Outcome.DEVICE_LOST, phase)
    assert result.header is not None
    assert (measurement.case_id, *result.not_run) == result.header.order


def test_one_failing_case_leaves_the_others_alone() -> None:
    result = simulate('rules = [{spread = 0.003}, {match = "memory/copy", fault = "out_of_memory"}]')
    found = {item.case.benchmark: item.outcome for item in result.measurements}
    assert found.pop("memory/copy") is Outcome.OUT_OF_MEMORY
    assert set(found.values()) == {Outcome.OK}
    assert len(found) == 4


def test_result_that_turns_wrong_only_while_measuring_is_caught() -> None:
    result = simulate('rules = [{fault = "wrong_result", fault_phase = "measure", fault_after = 3}]', MATMUL)
    measurement = only(result)
    assert measurement.outcome is Outcome.INCORRECT
    assert "while measuring" in measurement.reason
    assert measurement.correctness is not None
    assert measurement.correctness.poisoned
    assert not measurement.correctness.passed


def test_impossible_rate_is_implausible() -> None:
    measurement = only(simulate("rules = [{scale = 0.1}]", MATMUL))
    assert measurement.outcome is Outcome.IMPLAUSIBLE
    assert "times the matrix product probed in the same trial" in measurement.reason


def test_work_larger_than_the_memory_is_refused() -> None:
    measurement = only(
        run_locally(
            "core",
            include=MATMUL,
            device="simulated:memory_bytes = 1000000000",
            overrides={"m": "1000000"},
            options=SMOKE,
        )
    )
    assert measurement.outcome is Outcome.OUT_OF_MEMORY
    assert "1000000000 may be used" in measurement.reason


def test_busy_device_is_measured_when_disturbance_is_accepted() -> None:
    assert {item.outcome for item in simulate("busy", require_idle=False).measurements} == {Outcome.OK}


def test_throttling_below_the_limit_is_accepted() -> None:
    result = simulate("rules = [{throttled_fraction = 0.005}]")
    assert {item.outcome for item in result.measurements} == {Outcome.OK}


def test_cancelling_keeps_what_was_measured() -> None:
    plan = plan_trial("core", tier="smoke", device_kind="simulated")
    recorder = Recorder()
    with open_device("simulated") as device:
        result = measure_trial(
            plan,
            device,
            observer=recorder,
            cancelled=lambda: sum(call[0] == "measurement" for call in recorder.calls) >= 2,
        )
    assert result.outcome is Outcome.CANCELLED
    assert [item.outcome for item in result.measurements] == [Outcome.OK, Outcome.OK, Outcome.CANCELLED]
    assert len(result.not_run) == 2


def test_cancelling_while_probing_the_ceilings_measures_nothing() -> None:
    plan = plan_trial("core", tier="smoke", device_kind="simulated")
    with open_device("simulated") as device:
        result = measure_trial(plan, device, observer=SilentObserver(), cancelled=lambda: True)
    assert result.outcome is Outcome.CANCELLED
    assert result.measurements == ()
    assert len(result.not_run) == 5


def test_interruption_ends_the_trial_with_a_result() -> None:
    class Interrupting(SilentObserver):
        def phase(self, case: Case | None, phase: Phase, budget_seconds: float) -> None:
            if phase is Phase.MEASURE:
                raise KeyboardInterrupt

    plan = plan_trial("core", tier="smoke", device_kind="simulated")
    with open_device("simulated") as device:
        result = measure_trial(plan, device, observer=Interrupting())
    assert result.outcome is Outcome.INTERRUPTED
    assert only(result).outcome is Outcome.INTERRUPTED
    assert len(result.not_run) == 4


class Quitting:
    """Work that ends the process instead of raising an error."""

    def launch(self) -> None:
        raise SystemExit(0)

    def poison(self) -> None:
        pass

    def outputs(self) -> dict[str, Any]:
        return {}

    def reference(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("made", "phase", "says"),
    [
        (lambda: None, Phase.PREPARE, "host/x gave NoneType without launch, poison, outputs, reference"),
        (Quitting, Phase.VERIFY, "host/x asked to end the process"),
    ],
)
def test_work_that_is_none_or_wants_to_end_everything_is_one_failed_case(
    made: Callable[[], Any], phase: Phase, says: str
) -> None:
    registry = Registry()
    registry.suite("host", summary="")

    @benchmark(name="x", suite="host", summary="", parameters={"n": (1, 2)}, devices=("cpu",), registry=registry)
    def prepare(device: ArrayDevice, params: Params, seed: int) -> Workload:
        return cast("Workload", made())

    options = replace(SMOKE, probe_ceilings=False, require_idle=False)
    result = run_locally("host", device="cpu", options=options, registry=registry)
    assert result.outcome is Outcome.OK
    for found in result.measurements:
        assert (found.outcome, found.failed_phase) == (Outcome.HARNESS_ERROR, phase)
        assert says in found.reason
    assert len(result.measurements) == 2


def test_unsupported_device_is_an_outcome_of_the_case() -> None:
    registry = Registry()
    registry.suite("host", summary="")

    @benchmark(name="x", suite="host", summary="", parameters={"n": (1,)}, devices=("cpu",), registry=registry)
    def prepare(device: ArrayDevice, params: Params, seed: int) -> Workload:
        raise AssertionError("never prepared on another device")

    plan = plan_trial("host", tier="smoke", device_kind=DeviceKind.CPU, registry=registry)
    with open_device("simulated") as device:
        result = measure_trial(plan, device, observer=SilentObserver(), registry=registry)
    assert only(result).outcome is Outcome.UNSUPPORTED
    assert only(result).reason == "host/x does not run on simulated; it runs on: cpu"


@pytest.mark.parametrize(
    ("scenario", "include", "changes", "reason"),
    [
        ("steady", MEMORY, {}, StopReason.CONVERGED),
        ("bimodal", MEMORY, {}, StopReason.CONVERGED),
        ("drifting", "fft/c2c", {}, StopReason.DRIFTING),
        ("noisy", MATMUL, {"target": 1e-4}, StopReason.NOISE_FLOOR),
        ("noisy", MATMUL, {"target": 1e-3, "max_samples": 50}, StopReason.MAX_SAMPLES),
        ("noisy", MATMUL, {"target": 1e-3, "budget_seconds": 0.2, "min_samples": 60}, StopReason.BUDGET_EXHAUSTED),
        ("coarse-timer", MATMUL, {"target": 1e-4}, StopReason.RESOLUTION_LIMITED),
    ],
)
def test_stop_reason(scenario: str, include: str, changes: dict[str, Any], reason: StopReason) -> None:
    for measurement in simulate(scenario, include, **changes).measurements:
        assert measurement.outcome is Outcome.OK
        assert measurement.sampling is not None
        assert measurement.sampling.stop_reason is reason
        assert ("drifting" in measurement.flags) is (reason is StopReason.DRIFTING)


def test_observer_hears_everything_in_order() -> None:
    recorder = Recorder()
    result = run_locally("core", device="simulated", observer=recorder, options=SMOKE)
    assert result.header is not None
    expected: list[tuple[Any, ...]] = [
        ("progress", 0, 5),
        ("phase", None, Phase.CEILING, 120.0),
        ("header", result.header),
    ]
    for done, measurement in enumerate(result.measurements, start=1):
        name = measurement.case_id
        expected += [
            ("phase", name, Phase.PREPARE, 120.0),
            ("phase", name, Phase.VERIFY, 120.0),
            ("phase", name, Phase.WARMUP, 120.0 + SMOKE.warmup_cap_seconds),
            ("phase", name, Phase.MEASURE, 3 * SMOKE.budget_seconds + 30),
            ("measurement", measurement),
            ("progress", done, 5),
        ]
    expected.append(("phase", None, Phase.CEILING, 120.0))
    assert recorder.calls == expected
    assert tuple(item.case_id for item in result.measurements) == result.header.order


def test_same_seed_gives_the_same_times_and_another_seed_others() -> None:
    def samples(seed: int) -> dict[str, tuple[int, ...]]:
        result = run_locally("core", device="simulated:noisy", seed=seed, options=SMOKE)
        return {item.case_id: item.samples for item in result.measurements}

    assert samples(1) == samples(1)
    assert samples(1) != samples(2)


def test_planted_slow_down_shows_in_the_one_benchmark_only() -> None:
    def medians(scenario: str) -> dict[str, float]:
        result = simulate(scenario)
        return {item.case.benchmark: item.statistics.median for item in result.measurements if item.statistics}

    before = medians("rules = [{spread = 0.003}]")
    after = medians('rules = [{spread = 0.003}, {match = "memory/copy", scale = 1.1}]')
    assert after.pop("memory/copy") / before.pop("memory/copy") == pytest.approx(1.1, rel=0.01)
    assert after == before


def test_drill_slows_the_named_benchmark_and_says_so() -> None:
    plain, drilled = simulate("steady"), simulate("steady", drill={"gemm/matmul": 1.25})
    before = {item.case.benchmark: item for item in plain.measurements}
    for item in drilled.measurements:
        earlier = before[item.case.benchmark]
        assert item.statistics is not None
        assert earlier.statistics is not None
        factor = item.statistics.median / earlier.statistics.median
        expected = 1.25 if item.case.benchmark == "gemm/matmul" else 1.0
        assert factor == pytest.approx(expected, rel=0.01)
        assert ("drill" in item.flags) is (expected > 1)


def test_metrics_follow_from_the_median_and_the_formulas() -> None:
    (measurement,) = simulate("steady", MATMUL).measurements
    found = {metric.name: metric for metric in measurement.metrics}
    assert measurement.statistics is not None
    rates = ["time", "throughput", "bandwidth", "ceiling_ratio", "cycles"]
    assert list(found) == [*rates, "numeric_error", "max_abs_error", "outside_tolerance", "first_ratio"]
    assert [metric.name for metric in measurement.metrics if metric.primary] == ["time"]
    assert [found[name].better for name in rates] == ["lower", "higher", "higher", "higher", "lower"]
    assert [found[name].unit for name in rates] == ["ns", "FLOP/s", "B/s", "1", "1"]
    assert measurement.flops == 2 * 4096**3
    assert found["time"].value == measurement.statistics.median
    assert found["throughput"].value == pytest.approx(2 * 4096**3 / measurement.statistics.median * 1e9)
    assert found["ceiling_ratio"].value == pytest.approx(1.0, abs=0.02)
    assert found["cycles"].value == pytest.approx(measurement.statistics.median * 1.98, rel=0.01)
    assert found["numeric_error"].value == 0.0
    for metric in (found[name] for name in rates):
        assert metric.ci_low is not None
        assert metric.ci_high is not None
        assert metric.ci_low <= metric.value <= metric.ci_high


def test_ceilings_are_probed_for_the_dtypes_in_use() -> None:
    result = run_locally(
        "core", include=MATMUL, device="simulated", overrides={"matmul.dtype": "float16,float64"}, options=SMOKE
    )
    assert result.header is not None
    assert set(result.header.ceilings.flops) == {"float16", "float64"}
    assert result.header.ceilings.bandwidth == pytest.approx(3e12, rel=0.01)
    without = run_locally("core", include=MATMUL, device="simulated", options=replace(SMOKE, probe_ceilings=False))
    assert without.header is not None
    assert without.header.ceilings.bandwidth is None
    assert "ceiling_ratio" not in {metric.name for item in without.measurements for metric in item.metrics}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case(benchmark="gemm/matmul", params=Params({"m": 1})), "must have exactly the parameters: m, n, k, dtype"),
        (
            Case(benchmark="gemm/matmul", params=Params({"m": 1, "n": 1, "k": "1", "dtype": "float32"})),
            "gemm/matmul.k is '1'; it must be of type int",
        ),
        (Case(benchmark="gemm/matmul", version=9), "has version 9 of gemm/matmul, but version 1 is installed"),
    ],
)
def test_plan_that_does_not_fit_the_installation_is_refused_before_measuring(case: Case, message: str) -> None:
    plan = replace(plan_trial("gemm", tier="smoke", device_kind="simulated"), cases=(case,))
    with open_device("simulated") as device, pytest.raises(InvalidPlan) as caught:
        measure_trial(plan, device, observer=SilentObserver())
    assert message in str(caught.value)


def test_plan_with_an_unknown_benchmark_is_refused() -> None:
    plan = TrialPlan(
        **{**vars_of(plan_trial("gemm", tier="smoke", device_kind="cpu")), "cases": (Case(benchmark="x/y"),)}
    )
    with open_device("simulated") as device, pytest.raises(UnknownBenchmark, match="benchmark 'x/y' is unknown"):
        measure_trial(plan, device, observer=SilentObserver())


def vars_of(plan: TrialPlan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}


@pytest.mark.parametrize("mode", ["hot", "cold", "host"])
def test_mode_is_part_of_the_measurement(mode: str) -> None:
    for item in run_locally("core", device="simulated", mode=mode, options=SMOKE).measurements:
        assert item.mode == mode
        assert item.sampling is not None
        assert (item.sampling.cache.bytes is not None) is (mode == "cold")


def test_real_time_factor_makes_a_run_last() -> None:
    fast = run_locally("core", include=MATMUL, device="simulated", options=SMOKE)
    slow = run_locally(
        "core", include=MATMUL, device="simulated:real_time_factor = 1.0\nrules = [{spread = 0.003}]", options=SMOKE
    )
    (measurement,) = slow.measurements
    assert measurement.sampling is not None
    assert slow.duration_seconds >= measurement.sampling.elapsed_seconds
    assert [item.samples for item in fast.measurements] == [measurement.samples]
