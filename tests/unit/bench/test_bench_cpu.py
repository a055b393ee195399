"""The CPU device and its suites for real, at sizes that take milliseconds."""

import os
import time
from collections.abc import Callable

import numpy as np
import pytest
from tesserabench.bench import (
    CacheKind,
    CaseFailure,
    DeviceUnavailable,
    Drill,
    MeasureOptions,
    Mode,
    Outcome,
    StopReason,
    TimingOrder,
    UnknownDevice,
    Workload,
    open_device,
    run_locally,
)
from tesserabench.bench.verification import compare
from tesserabench.bench.workloads.bare import BareWork
from tesserabench.bench.workloads.gemm_work import CHECKED_ROWS, WHOLE_LIMIT

TINY = MeasureOptions(
    target=0.5,
    min_samples=10,
    budget_seconds=0.5,
    min_device_seconds=0.0,
    warmup_min_seconds=0.0,
    warmup_cap_seconds=0.05,
    probe_ceilings=False,
)
SIZES = {
    "matmul.m": "33",
    "matmul.n": "17",
    "matmul.k": "65",
    "copy.n": "1001",
    "triad.n": "1001",
    "reduction.n": "1001",
}
SMALL_FFT = {"c2c.n": "60", "c2c.batch": "5"}
DTYPES = {f"{name}.dtype": "float32,float64" for name in ("copy", "triad", "reduction")}


@pytest.mark.parametrize("mode", ["hot", "host"])
def test_every_benchmark_gives_right_results_and_times(mode: str) -> None:
    result = run_locally("core", tier="regression", mode=mode, overrides={**SIZES, **SMALL_FFT, **DTYPES}, options=TINY)
    assert result.outcome is Outcome.OK
    assert len(result.measurements) == 10
    for measurement in result.measurements:
        assert measurement.outcome is Outcome.OK, measurement.reason
        assert measurement.correctness is not None
        assert measurement.correctness.poisoned
        assert measurement.statistics is not None
        assert measurement.statistics.n == len(measurement.samples) >= 10
        assert measurement.measuring_monotonic_ns is not None
        assert measurement.started_monotonic_ns is not None
        assert measurement.ended_monotonic_ns is not None
        assert measurement.started_monotonic_ns < measurement.measuring_monotonic_ns < measurement.ended_monotonic_ns


def test_large_product_is_checked_by_rows_and_a_random_vector() -> None:
    size = str(WHOLE_LIMIT + 1)
    with open_device("cpu") as device:
        workload = prepared(device_prepare(device), f"{size},64,8")
        workload.launch()
        outputs, reference = workload.outputs(), workload.reference()
    assert outputs["rows"].shape == (CHECKED_ROWS, 64)
    assert outputs["product"].shape == (WHOLE_LIMIT + 1,)
    assert compare(outputs, reference, 1e-5, poisoned=False).passed


def device_prepare(device: object) -> Callable[[dict[str, int]], Workload]:
    from tesserabench.bench import Case, Device, Params, find_benchmark  # noqa: PLC0415

    def prepare(sizes: dict[str, int]) -> Workload:
        opened: Device = device  # type: ignore[assignment]
        benchmark = find_benchmark("gemm/matmul")
        case = Case(benchmark=benchmark.name, params=Params({**sizes, "dtype": "float32"}))
        return opened.prepare(benchmark, case, 1)

    return prepare


def prepared(prepare: Callable[[dict[str, int]], Workload], sizes: str) -> Workload:
    m, n, k = (int(part) for part in sizes.split(","))
    return prepare({"m": m, "n": n, "k": k})


def test_poison_that_is_not_overwritten_fails_the_check() -> None:
    with open_device("cpu") as device:
        workload = prepared(device_prepare(device), "8,8,8")
        workload.launch()
        assert compare(workload.outputs(), workload.reference(), 1e-5, poisoned=True).passed
        workload.poison()
        assert not compare(workload.outputs(), workload.reference(), 1e-5, poisoned=True).passed


def test_cold_mode_sweeps_more_than_the_cache_and_leaves_it_out_of_the_time() -> None:
    with open_device("cpu") as device:
        timing = device.arm((BareWork(lambda: None),), TimingOrder(mode=Mode.COLD, iterations=2))
        assert timing.cache.kind is CacheKind.READ_SWEEP
        assert (timing.cache.bytes or 0) >= 64 << 20
        spent = time.perf_counter_ns()
        (total,) = timing.take(1).total_ns
        spent = time.perf_counter_ns() - spent
    assert 0 < total < spent / 10


def test_drill_makes_each_launch_take_its_own_time_and_more() -> None:
    own: list[int] = []

    def launch() -> None:
        begin = time.perf_counter_ns()
        np.ones(10_000).sum()
        own.append(time.perf_counter_ns() - begin)

    with open_device("cpu") as device:
        order = TimingOrder(mode=Mode.HOT, iterations=20, drill=Drill(factor=3.0, launch_ns=1))
        (total,) = device.arm((BareWork(launch),), order).take(1).total_ns
    assert total >= 3 * sum(own)


def test_half_precision_product_is_unsupported() -> None:
    result = run_locally("core", include="gemm", overrides={"matmul.dtype": "float16"}, options=TINY)
    (measurement,) = result.measurements
    assert measurement.outcome is Outcome.UNSUPPORTED
    assert "use float32 or float64, or device cuda" in measurement.reason


def test_memory_error_is_out_of_memory() -> None:
    with open_device("cpu") as device:
        failure = device.failure(MemoryError("Unable to allocate 8 TiB"))
    assert isinstance(failure, CaseFailure)
    assert failure.outcome is Outcome.OUT_OF_MEMORY


def test_work_that_would_not_fit_is_refused_before_it_is_allocated() -> None:
    (measurement,) = run_locally("core", include="copy", overrides={"copy.n": str(1 << 46)}, options=TINY).measurements
    assert measurement.outcome is Outcome.OUT_OF_MEMORY
    assert f"needs {2 * 4 << 46} bytes" in measurement.reason


def test_thread_count_is_set_and_recorded() -> None:
    for threads in (1, 2):
        with open_device("cpu", threads=threads) as device:
            assert device.environment()["cpu.threads"] == threads


def test_timer_is_calibrated() -> None:
    with open_device("cpu") as device:
        assert device.timer.name == "perf_counter_ns"
        assert 0 < device.timer.quantum_ns < 1e6
        assert 0 <= device.timer.floor_ns < 1e6


def test_short_launches_are_grouped_into_samples_the_timer_resolves() -> None:
    (measurement,) = run_locally(
        "core", include="reduction", overrides={"reduction.n": "16"}, options=TINY
    ).measurements
    assert measurement.sampling is not None
    assert measurement.sampling.iterations > 1
    assert measurement.sampling.stop_reason in set(StopReason)


def test_ceilings_are_measured_on_this_cpu() -> None:
    options = MeasureOptions(
        min_samples=10, budget_seconds=0.05, min_device_seconds=0, warmup_min_seconds=0, warmup_cap_seconds=0
    )
    result = run_locally("core", include="gemm", options=options)
    assert result.header is not None
    assert result.header.ceilings.bandwidth is not None
    assert result.header.ceilings.bandwidth > 1e8
    assert result.header.ceilings.flops["float32"] > 1e8


@pytest.mark.parametrize(
    ("spec", "threads", "error", "message"),
    [
        ("cpu:1", None, DeviceUnavailable, "device 'cpu:1' does not exist"),
        ("cpu", 0, DeviceUnavailable, "threads is 0; it must be 1 or more"),
        ("gpu", None, UnknownDevice, "device 'gpu' is unknown; use cpu, cuda, cuda:INDEX"),
    ],
)
def test_impossible_device_is_refused(spec: str, threads: int | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), open_device(spec, threads=threads):
        pass


def test_one_core_is_left_to_the_rest_of_the_machine_by_default() -> None:
    with open_device("cpu") as device:
        assert device.environment()["cpu.threads"] == max(1, len(os.sched_getaffinity(0)) - 1)
