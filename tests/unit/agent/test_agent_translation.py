"""From what bench measures to what the wire carries."""

import time

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tesserabench.agent.runner import translation
from tesserabench.bench import (
    Backend,
    Better,
    CacheKind,
    CacheUse,
    Case,
    Ceilings,
    Correctness,
    DeviceInfo,
    DeviceKind,
    Environment,
    Measurement,
    MetricValue,
    Mode,
    Outcome,
    Params,
    Sampling,
    StopReason,
    Tier,
    Timer,
    TrialHeader,
    summarise,
)
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1.host_pb2 import Device

CASE = Case(benchmark="gemm/matmul", params=Params({"m": 4, "dtype": "float32", "fused": True}))
SAMPLES = tuple(range(100, 120))


def header(ceilings: Ceilings | None = None) -> TrialHeader:
    return TrialHeader(
        suite="core",
        tier=Tier.SMOKE,
        mode=Mode.HOT,
        seed=1,
        order=(CASE.id,),
        device=DeviceInfo(kind=DeviceKind.CPU, model="a CPU"),
        timer=Timer(name="clock", quantum_ns=1.0, floor_ns=25.0),
        environment=Environment(facts={"cpu.cores": 2, "fused": True}, comparability="abc"),
        ceilings=ceilings or Ceilings(bandwidth=1e9, flops={"float32": 1e12}),
        engine_version="0",
    )


def measurement(outcome: Outcome = Outcome.OK, flops: int = 1000, size: int = 10) -> Measurement:
    summary = summarise(SAMPLES)
    ratio = MetricValue(
        name="ceiling_ratio", unit="1", better=Better.HIGHER, primary=False, value=0.5, ci_low=None, ci_high=None
    )
    spent = MetricValue(
        name="time",
        unit="ns",
        better=Better.LOWER,
        primary=True,
        value=summary.median,
        ci_low=summary.ci_low,
        ci_high=summary.ci_high,
    )
    return Measurement(
        case=CASE,
        mode=Mode.HOT,
        outcome=outcome,
        reason="" if outcome is Outcome.OK else "a reason",
        samples=SAMPLES,
        statistics=summary,
        metrics=(spent, ratio),
        correctness=Correctness(metric="relative_frobenius_error", value=1e-7, limit=1e-5, passed=True, poisoned=True),
        sampling=Sampling(
            iterations=3,
            stop_reason=StopReason.BUDGET_EXHAUSTED,
            target=0.01,
            half_width=0.02,
            backend=Backend.HOST,
            timer=Timer(name="perf_counter_ns", quantum_ns=1.0, floor_ns=30.0),
            cache=CacheUse(kind=CacheKind.WARM),
            elapsed_seconds=1.0,
            device_seconds=0.5,
        ),
        dtype="float32",
        flops=flops,
        bytes=size,
        seed=9,
        flags=("drill",),
        started_monotonic_ns=time.monotonic_ns() - 2_000_000_000,
        ended_monotonic_ns=time.monotonic_ns() - 1_000_000_000,
    )


def test_every_word_of_bench_has_its_word_on_the_wire() -> None:
    assert set(translation.OUTCOMES) == set(Outcome)
    assert set(translation.STOP_REASONS) == set(StopReason)
    assert set(translation.MODES) == set(Mode)
    assert set(translation.BETTER) == set(Better)
    for outcome, wire in translation.OUTCOMES.items():
        assert pb.Outcome.Value(f"OUTCOME_{outcome.name}") == wire


def test_case_keeps_its_identity_and_belongs_to_the_benchmarks_own_suite() -> None:
    case = translation.case_to_wire(CASE)
    assert (case.id, case.suite, case.benchmark) == (CASE.id, "gemm", "matmul")
    assert dict(case.parameters) == {"m": "4", "dtype": "float32", "fused": "true"}


def test_result_carries_samples_statistics_and_how_they_were_taken() -> None:
    result = translation.result_to_wire(measurement(), header(), position=7)
    spent = result.measurements[0]
    assert list(spent.samples.values) == list(SAMPLES)
    assert spent.statistics.count == len(SAMPLES)
    assert spent.statistics.median == spent.value == summarise(SAMPLES).median
    assert spent.primary
    assert spent.better == pb.BETTER_LOWER
    assert (result.order, result.seed, result.iterations_per_sample) == (7, 9, 3)
    assert result.stop_reason == pb.STOP_REASON_BUDGET
    assert (result.timer_floor_ns, result.timer_quantum_ns) == (30.0, 1.0)
    assert result.correctness.passed
    assert list(result.flags) == ["drill"]


def test_unknown_is_absent_and_never_zero() -> None:
    result = translation.result_to_wire(measurement(), header(), position=0)
    ratio = result.measurements[1]
    assert not ratio.HasField("ci_low")
    assert not ratio.HasField("statistics")
    assert not ratio.HasField("samples")
    bare = Measurement(case=CASE, mode=Mode.HOT, outcome=Outcome.TIMEOUT, reason="too long")
    found = translation.result_to_wire(bare, None, position=0)
    for field in ("correctness", "timer_floor_ns", "ceiling_ratio", "end_time", "wall_time"):
        assert not found.HasField(field), field
    assert found.stop_reason == pb.STOP_REASON_UNSPECIFIED


def test_wall_time_comes_from_the_monotonic_clock() -> None:
    result = translation.result_to_wire(measurement(), header(), position=0)
    assert 0.9 < result.wall_time.ToNanoseconds() / 1e9 < 1.1
    assert abs(result.end_time.ToNanoseconds() / 1e9 - (time.time() - 1)) < 5


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [
        (Outcome.OK, True),
        (Outcome.THROTTLED, True),
        (Outcome.IMPLAUSIBLE, True),
        (Outcome.INCORRECT, False),
        (Outcome.DEVICE_ERROR, False),
    ],
)
def test_numbers_are_kept_only_where_they_mean_something(outcome: Outcome, kept: bool) -> None:
    result = translation.result_to_wire(measurement(outcome), header(), position=0)
    assert bool(result.measurements) is kept
    assert result.HasField("ceiling_ratio") is kept


def test_throttled_case_without_derived_metrics_still_shows_its_times() -> None:
    throttled = Measurement(
        case=CASE,
        mode=Mode.HOT,
        outcome=Outcome.THROTTLED,
        reason="hot",
        samples=SAMPLES,
        statistics=summarise(SAMPLES),
    )
    result = translation.result_to_wire(throttled, header(), position=0)
    assert [item.metric for item in result.measurements] == ["time"]


@pytest.mark.parametrize(
    ("flops", "size", "ceilings", "expected"),
    [
        (10**6, 1, Ceilings(bandwidth=1e9, flops={"float32": 1e12}), "flops:float32"),
        (1, 10**6, Ceilings(bandwidth=1e9, flops={"float32": 1e12}), "bandwidth"),
        (10**6, 1, Ceilings(bandwidth=None, flops={"float32": 1e12}), "flops:float32"),
        (0, 10**6, Ceilings(bandwidth=1e9), "bandwidth"),
    ],
)
def test_ratio_names_the_roof_that_binds(flops: int, size: int, ceilings: Ceilings, expected: str) -> None:
    result = translation.result_to_wire(measurement(flops=flops, size=size), header(ceilings), position=0)
    assert result.ceiling == expected


def test_ceilings_and_environment_are_carried_over() -> None:
    assert [(item.name, item.unit, item.opening) for item in translation.ceilings_to_wire(header())] == [
        ("bandwidth", "B/s", 1e9),
        ("flops:float32", "FLOP/s", 1e12),
    ]
    environment = translation.environment_to_wire(header())
    assert dict(environment.facts) == {"cpu.cores": "2", "fused": "true"}
    assert environment.comparability == "abc"
    assert len(environment.fingerprint) == 16


def test_device_of_the_inventory_wins_and_the_worker_fills_gaps() -> None:
    known = Device(uuid="GPU-1", kind="cuda", model="A GPU", index=3)
    info = {"model": "other", "uuid": "x", "memory_bytes": 5, "driver": "580", "compute_capability": "9.0"}
    device = translation.device_to_wire(known, info)
    assert (device.uuid, device.model, device.index, device.memory_bytes) == ("GPU-1", "A GPU", 3, 5)
    assert (device.driver_version, device.compute_capability) == ("580", "9.0")
    played = translation.device_to_wire(Device(uuid="s", kind="simulated", model="m"), info)
    assert played.model == "other"


def test_state_leaves_out_what_the_device_cannot_tell() -> None:
    state = translation.state_to_wire({"clock_hz": 2e9, "throttled_ns": 5}, Timestamp(seconds=1))
    assert state.sm_clock_mhz == 2000
    assert dict(state.throttle_ns) == {"hw_thermal": 5}
    assert not state.HasField("power_watts")
