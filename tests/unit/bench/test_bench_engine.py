"""What the engine makes of a case on the simulated device: blocks, modes, flags, retries, checks and ceilings."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tesserabench.bench import (
    Backend,
    Block,
    CacheKind,
    Device,
    Flag,
    Measurement,
    MeasureOptions,
    MetricValue,
    Mode,
    Outcome,
    Params,
    Phase,
    Registry,
    SampleFlag,
    SilentObserver,
    Statistics,
    StopReason,
    Timing,
    TimingOrder,
    TrialFlag,
    TrialResult,
    Workload,
    benchmark,
    measure_trial,
    open_device,
    plan_trial,
    run_locally,
)
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.device.script import SimulatedWorkload
from tesserabench.bench.device.simulated import SimulatedDevice
from tesserabench.bench.timing.blocks import LEAST_SAMPLES
from tesserabench.bench.workloads.bare import BareWork

SMOKE = MeasureOptions.for_tier("smoke")
QUIET = "rules = [{spread = 0.003}]"


def simulate(scenario: str, mode: str | None = None, **changes: Any) -> Measurement:
    """The measurement of one matrix product under a scenario."""
    result = run_locally(
        "core", include=r"gemm/matmul\[", mode=mode, device=f"simulated:{scenario}", options=replace(SMOKE, **changes)
    )
    (measurement,) = result.measurements
    return measurement


def taken(measurement: Measurement) -> Measurement:
    """The measurement, which must have ended well."""
    assert measurement.outcome is Outcome.OK, measurement.reason
    return measurement


def metrics(measurement: Measurement) -> dict[str, float]:
    return {metric.name: metric.value for metric in measurement.metrics}


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_samples_stand_in_columns_of_separated_blocks() -> None:
    found = taken(simulate(QUIET))
    assert found.sampling is not None
    count = len(found.samples)
    assert count == len(found.clock_mhz) == len(found.offset_us) == len(found.block) == len(found.sample_flags)
    assert found.sampling.blocks == found.block[-1] + 1 >= SMOKE.min_blocks
    assert found.sampling.launches == count * found.sampling.iterations
    assert found.offset_us[0] == 0.0
    assert list(found.offset_us) == sorted(found.offset_us)
    sizes = [found.block.count(index) for index in range(found.sampling.blocks)]
    assert min(sizes) >= LEAST_SAMPLES
    first_of = [found.block.index(index) for index in range(found.sampling.blocks)]
    for index in first_of[1:]:
        step = found.offset_us[index] - found.offset_us[index - 1] - found.samples[index - 1] / 1000
        assert 2_000 <= step <= 8_010, "blocks stand a few milliseconds apart"
    assert set(found.clock_mhz) == {1980.0}


def test_converged_needs_the_least_number_of_blocks() -> None:
    for blocks in (1, 7):
        found = taken(simulate(QUIET, min_blocks=blocks))
        assert found.sampling is not None
        assert found.sampling.stop_reason is StopReason.CONVERGED
        assert found.sampling.blocks >= blocks


class Listening(SimulatedDevice):
    """Notes what was asked of its timings."""

    def __init__(self, scenario: str) -> None:
        with open_device(f"simulated:{scenario}") as opened:
            assert isinstance(opened, SimulatedDevice)
            super().__init__(opened.scenario)
        self.orders: list[TimingOrder] = []
        self.timings: list[Any] = []
        self.blocks: list[tuple[int, int]] = []

    def arm(self, workloads: Sequence[Workload], order: TimingOrder) -> Any:
        timing = super().arm(workloads, order)
        take, phase = timing.take, self._phase

        def listen(samples: int) -> Block:
            block = take(samples)
            if phase is not Phase.CEILING:
                self.blocks.append((samples, sum(block.total_ns)))
            return block

        timing.take = listen  # type: ignore[method-assign]
        self.orders.append(order)
        self.timings.append(timing)
        return timing


def listened(scenario: str, **changes: Any) -> tuple[Listening, TrialResult]:
    device = Listening(scenario)
    options = replace(SMOKE, probe_ceilings=False, **changes)
    plan = plan_trial("core", tier="smoke", device_kind="simulated", include=r"gemm/matmul\[", options=options)
    return device, measure_trial(plan, device, observer=SilentObserver())


def test_no_block_of_long_launches_is_longer_than_a_quarter_of_a_second() -> None:
    device, _ = listened("rules = [{spread = 0.003, scale = 20}]", budget_seconds=30.0)
    assert max(total for _, total in device.blocks) <= 0.27e9
    device, _ = listened("rules = [{spread = 0.003, scale = 500}]", budget_seconds=30.0)
    assert {samples for samples, _ in device.blocks} == {1}


def test_timing_of_the_warm_up_measures_too_and_every_timing_is_closed() -> None:
    device, _ = listened(QUIET)
    assert [order.iterations for order in device.orders] == [1]
    assert all(timing.closed for timing in device.timings)
    device, result = listened("timer_quantum_ns = 50000.0\nrules = [{spread = 0.003}]")
    assert result.measurements[0].sampling is not None
    assert [order.iterations for order in device.orders] == [1, result.measurements[0].sampling.iterations]
    assert all(timing.closed for timing in device.timings)


@pytest.mark.parametrize("fault", ["device_lost", "raise", "wrong_result"])
@pytest.mark.parametrize("phase", ["warmup", "measure"])
def test_timing_is_closed_whatever_becomes_of_the_case(fault: str, phase: str) -> None:
    device, _ = listened(f'rules = [{{spread = 0.003, fault = "{fault}", fault_phase = "{phase}"}}]')
    assert device.timings
    assert all(timing.closed for timing in device.timings)


def test_cancellation_is_heard_between_blocks() -> None:
    device = Listening(QUIET)
    options = replace(SMOKE, target=1e-6, budget_seconds=60.0)
    plan = plan_trial("core", tier="smoke", device_kind="simulated", include=r"gemm/matmul\[", options=options)
    result = measure_trial(plan, device, observer=SilentObserver(), cancelled=lambda: len(device.blocks) > 30)
    assert result.outcome is Outcome.CANCELLED
    assert len(device.blocks) == 31


# --- warm-up ----------------------------------------------------------------------------------------------------------


def test_warm_up_goes_on_until_the_times_stand_still() -> None:
    early, late = (simulate(f"rules = [{{spread = 0.001, settles_after = {after}}}]") for after in (0, 40))
    assert early.warmup is not None
    assert late.warmup is not None
    assert early.warmup.complete
    assert late.warmup.complete
    assert late.warmup.calls > 40 > early.warmup.calls
    assert metrics(late)["first_ratio"] == pytest.approx(2.0, rel=0.02)


def test_warm_up_that_ends_at_its_cap_is_flagged() -> None:
    found = taken(simulate("rules = [{spread = 0.003, settles_after = 150}]"))
    assert found.warmup is not None
    assert not found.warmup.complete
    assert Flag.WARMUP_INCOMPLETE in found.flags


# --- modes ------------------------------------------------------------------------------------------------------------


def test_rotation_has_so_many_sets_that_the_cache_holds_none() -> None:
    found = taken(simulate(QUIET, "rotating"))
    assert found.sampling is not None
    assert found.sampling.cache.kind is CacheKind.ROTATION
    # 5 x 50 MiB of cache over 3 x 64 MiB of one float32 product of 4096, and one more.
    assert found.sampling.cache.copies == 3
    assert found.sampling.cache.bytes == 3 * 3 * 4 * 4096**2
    assert not {Flag.CACHE_UNKNOWN, Flag.ROTATION_SHORT} & set(found.flags)


def test_rotation_that_leaves_a_set_out_is_caught() -> None:
    found = taken(simulate("unvisited", "rotating"))
    assert found.sampling is not None
    assert found.sampling.cache.kind is CacheKind.UNKNOWN
    assert Flag.CACHE_UNKNOWN in found.flags


def test_rotation_that_does_not_fit_says_so() -> None:
    tight = taken(simulate("memory_bytes = 220000000\nrules = [{spread = 0.003}]", "rotating", probe_ceilings=False))
    assert tight.sampling is not None
    assert tight.sampling.cache.copies == 1
    assert {Flag.CACHE_UNKNOWN, Flag.ROTATION_SHORT} <= set(tight.flags)


def test_rotation_of_small_work_is_limited_and_says_so() -> None:
    result = run_locally(
        "core",
        include="copy",
        overrides={"n": "1000"},
        mode="rotating",
        device=f"simulated:{QUIET}",
        options=SMOKE,
    )
    (found,) = result.measurements
    assert found.sampling is not None
    assert found.sampling.cache.copies == 64
    assert {Flag.CACHE_UNKNOWN, Flag.ROTATION_SHORT} <= set(found.flags)


def test_sustained_work_has_no_pause_and_a_window_that_counts_every_launch() -> None:
    found = taken(simulate(QUIET, "sustained", sustained_seconds=2.0))
    assert found.sampling is not None
    assert found.sampling.elapsed_seconds >= 2.0
    assert found.sampling.launches == len(found.samples) * found.sampling.iterations
    assert len(found.samples) <= SMOKE.max_samples
    busy = found.sampling.device_seconds / found.sampling.elapsed_seconds
    assert busy > 0.99
    assert found.measuring_monotonic_ns is not None
    assert found.measured_monotonic_ns is not None
    assert found.measuring_monotonic_ns < found.measured_monotonic_ns
    assert found.sampling.stop_reason is StopReason.CONVERGED


def test_sustained_work_waits_for_the_temperature() -> None:
    cold = taken(simulate(QUIET, "sustained", sustained_seconds=2.0))
    hot = taken(simulate("heats_to_celsius = 80.0\nrules = [{spread = 0.003}]", "sustained", sustained_seconds=2.0))
    assert cold.warmup is not None
    assert hot.warmup is not None
    # 40 degrees at a time constant of 5 s: slower than 0.2 degrees a second after 5 ln(40 / 5 / 0.2) = 18 s.
    assert cold.warmup.seconds < 10
    assert 17 < hot.warmup.seconds < 25
    assert hot.warmup.complete
    capped = simulate(
        "heats_to_celsius = 80.0\nheating_seconds = 50.0\nrules = [{spread = 0.003}]",
        "sustained",
        sustained_seconds=2.0,
        sustained_warmup_cap_seconds=4.0,
    )
    assert Flag.WARMUP_INCOMPLETE in capped.flags


def test_sustained_work_that_drifts_or_is_noisy_says_so() -> None:
    drifting = simulate("rules = [{spread = 0.003, drift_per_sample = 0.0001}]", "sustained", sustained_seconds=2.0)
    assert drifting.sampling is not None
    assert drifting.sampling.stop_reason is StopReason.DRIFTING
    assert Flag.DRIFTING in drifting.flags
    noisy = simulate("rules = [{spread = 0.3}]", "sustained", sustained_seconds=2.0, target=1e-4)
    assert noisy.sampling is not None
    assert noisy.sampling.stop_reason is StopReason.BUDGET_EXHAUSTED


def test_phases_of_sustained_work_are_given_the_time_they_need() -> None:
    options = MeasureOptions(budget_seconds=1.0, sustained_seconds=60.0, sustained_warmup_cap_seconds=45.0)
    assert options.budget_of(Phase.MEASURE, Mode.SUSTAINED) == 210.0
    assert options.budget_of(Phase.MEASURE, Mode.HOT) == options.budget_of(Phase.MEASURE) == 33.0
    assert options.budget_of(Phase.WARMUP, Mode.SUSTAINED) == 165.0


def test_back_end_that_the_device_does_not_have_is_refused() -> None:
    found = simulate(QUIET, backend=Backend.GRAPH)
    assert found.outcome is Outcome.UNSUPPORTED
    assert "not by graph; name no back end" in found.reason


@pytest.mark.parametrize("mode", ["hot", "rotating", "sustained"])
def test_short_launches_back_to_back_by_events_are_refused(mode: str) -> None:
    scenario = 'backend = "events"\nrules = [{spread = 0.003, scale = 0.002}]'
    found = simulate(scenario, mode)
    assert found.outcome is Outcome.UNSUPPORTED
    assert "would time the host; use back end graph or blocked, or mode cold or host" in found.reason
    assert taken(simulate(scenario.replace("events", "graph"), mode, probe_ceilings=False)).samples
    assert taken(simulate(scenario, "cold", probe_ceilings=False)).samples


# --- flags ------------------------------------------------------------------------------------------------------------


def test_low_clock_is_told_sample_by_sample() -> None:
    found = taken(simulate("low-clock"))
    assert found.statistics is not None
    assert Flag.LOW_CLOCK in found.flags
    for time, clock, flag in zip(found.samples, found.clock_mhz, found.sample_flags, strict=True):
        slow = clock < 1900
        assert bool(flag & SampleFlag.LOW_CLOCK) is slow
        assert (time > found.statistics.median * 1.05) is slow
    # In cycles the clock makes no difference.
    assert metrics(found)["cycles"] == pytest.approx(found.statistics.median * 1.98, rel=0.01)


def test_outliers_are_told_and_kept() -> None:
    found = taken(simulate("rules = [{spread = 0.003, spike_probability = 0.05, spike_scale = 2.0}]"))
    assert found.statistics is not None
    severe = [bool(flag & SampleFlag.SEVERE_OUTLIER) for flag in found.sample_flags]
    mild = [bool(flag & SampleFlag.MILD_OUTLIER) for flag in found.sample_flags]
    assert sum(severe) == found.statistics.severe_outliers > 0
    assert sum(mild) == found.statistics.mild_outliers
    assert all(time > 1.5 * found.statistics.median for time, far in zip(found.samples, severe, strict=True) if far)


def test_two_levels_are_flagged() -> None:
    assert Flag.BIMODAL in taken(simulate("bimodal", target=0.002)).flags
    assert Flag.BIMODAL not in taken(simulate("noisy", target=0.002)).flags


def test_samples_as_short_as_the_timers_floor_are_flagged() -> None:
    scenario = "timer_floor_ns = 2000.0\nrules = [{spread = 0.003, scale = 0.002}]"
    cold, hot = (taken(simulate(scenario, mode, probe_ceilings=False)) for mode in ("cold", "hot"))
    assert Flag.BELOW_FLOOR in cold.flags
    assert Flag.BELOW_FLOOR not in hot.flags, "several launches share a sample"
    assert hot.sampling is not None
    assert hot.sampling.iterations > 1


def test_work_that_escapes_the_timer_is_implausible() -> None:
    found = simulate("escaped-work")
    assert found.outcome is Outcome.IMPLAUSIBLE
    assert Flag.ESCAPED_WORK in found.flags
    assert "let `launch` enqueue everything on the current stream" in found.reason


@pytest.mark.parametrize("scale", [0.0005, 0.01, 1.0, 100.0])
def test_work_that_stays_where_it_belongs_raises_no_alarm(scale: float) -> None:
    found = simulate(f"rules = [{{spread = 0.05, scale = {scale}, escaped_factor = 1.5}}]", probe_ceilings=False)
    assert Flag.ESCAPED_WORK not in taken(found).flags


def test_remarks_of_the_device_are_carried() -> None:
    found = taken(simulate('remarks = ["spin_timed_out"]\nrules = [{spread = 0.003}]'))
    assert found.flags == ("spin_timed_out",)


def test_rate_beyond_the_theoretical_peak_is_implausible() -> None:
    compute = simulate("rules = [{spread = 0.003, scale = 0.9}]\n[peak_flops]\nfloat32 = 6.0e13")
    assert compute.outcome is Outcome.IMPLAUSIBLE
    assert "times the theoretical peak for float32 (6e+13 FLOP/s)" in compute.reason
    assert taken(simulate("rules = [{spread = 0.003}]\n[peak_flops]\nfloat32 = 6.0e13")).samples
    text = "peak_bandwidth = 3.0e12\nrules = [{spread = 0.003, scale = SCALE}]"
    for scale, outcome in ((0.9, Outcome.IMPLAUSIBLE), (1.0, Outcome.OK)):
        device = "simulated:" + text.replace("SCALE", str(scale))
        (copy,) = run_locally("core", include="copy", device=device, options=SMOKE).measurements
        assert copy.outcome is outcome
    small = run_locally(
        "core", include="copy", overrides={"n": "1048576"}, device="simulated:" + text.replace("SCALE", "0.2")
    )
    assert small.measurements[0].outcome is Outcome.OK, "a cache may beat the memory"


# --- throttling -------------------------------------------------------------------------------------------------------


def test_thermal_throttling_that_a_pause_ends_is_measured_again() -> None:
    found = taken(simulate("recovering"))
    assert Flag.RETRIED in found.flags
    assert all(flag & SampleFlag.AFTER_RETRY for flag in found.sample_flags)
    quiet = taken(simulate(QUIET))
    assert found.statistics is not None
    assert quiet.statistics is not None
    assert found.statistics.median == pytest.approx(quiet.statistics.median, rel=0.01)
    assert not any(flag & SampleFlag.AFTER_RETRY for flag in quiet.sample_flags)


def test_thermal_throttling_that_stays_is_reported_after_the_second_try() -> None:
    found = simulate("throttled")
    assert found.outcome is Outcome.THROTTLED
    assert "reason: thermal" in found.reason
    assert found.samples
    assert all(flag & SampleFlag.AFTER_RETRY for flag in found.sample_flags)


def test_brake_is_not_tried_again() -> None:
    found = simulate("brake")
    assert found.outcome is Outcome.THROTTLED
    assert not any(flag & SampleFlag.AFTER_RETRY for flag in found.sample_flags)


def test_power_cap_is_a_regime_and_no_failure() -> None:
    assert Flag.POWER_LIMITED in taken(simulate("power-limited", "hot")).flags
    assert Flag.POWER_LIMITED not in taken(simulate("power-limited", "sustained", sustained_seconds=2.0)).flags


# --- correctness ------------------------------------------------------------------------------------------------------


def test_inputs_that_are_written_over_make_the_case_incorrect() -> None:
    found = simulate("corrupt-input")
    assert found.outcome is Outcome.INCORRECT
    assert "writes over its inputs" in found.reason


def test_outputs_that_the_last_block_does_not_write_are_caught() -> None:
    class Lazy(SimulatedWorkload):
        """Works only until it has been timed for a while."""

        def launch(self) -> None:
            if self.script.phase is not Phase.MEASURE or self.script.launches < 40:
                super().launch()

    class Device(SimulatedDevice):
        def prepare(self, benchmark: Any, case: Any, seed: int) -> Lazy:
            return Lazy(super().prepare(benchmark, case, seed).script)

    device = Device(Listening(QUIET).scenario)
    options = replace(SMOKE, probe_ceilings=False)
    plan = plan_trial("core", tier="smoke", device_kind="simulated", include=r"gemm/matmul\[", options=options)
    (found,) = measure_trial(plan, device, observer=SilentObserver()).measurements
    assert found.outcome is Outcome.INCORRECT
    assert "is not finite" in found.reason
    assert found.correctness is not None
    assert not found.correctness.passed


@pytest.mark.parametrize(("scenario", "share"), [(QUIET, 1.0), ("nondeterministic", 0.5)])
def test_determinism_is_the_share_of_equal_launches(scenario: str, share: float) -> None:
    found = taken(simulate(scenario, determinism_launches=5))
    assert metrics(found)["determinism"] == share
    assert (Flag.NONDETERMINISTIC in found.flags) is (share < 1)
    assert "determinism" not in metrics(taken(simulate(scenario)))


def test_numeric_errors_are_metrics() -> None:
    found = metrics(taken(simulate("nondeterministic")))
    assert found["numeric_error"] == pytest.approx(5.7e-18, rel=0.1)
    assert found["max_abs_error"] == np.nextafter(1.0, 2.0) - 1.0
    assert found["outside_tolerance"] == 0.0


class Telling(BareWork):
    """Has a metric of its own, and something to close."""

    closed = 0

    def metrics(self, statistics: Statistics) -> Iterable[MetricValue]:
        rate = next(iter(metrics_of("item_rate")))
        return [MetricValue.of(rate, 1e9 / statistics.median, None, None)]

    def close(self) -> None:
        Telling.closed += 1


def metrics_of(name: str) -> Any:
    from tesserabench.bench import METRICS  # noqa: PLC0415 - beside what reads it

    return [metric for metric in METRICS if metric.name == name]


def registry_of(workload: Workload, **declared: Any) -> Registry:
    registry = Registry()
    registry.suite("own", summary="")

    @benchmark(name="work", suite="own", summary="", parameters={"n": (1,)}, registry=registry, **declared)
    def prepare(device: ArrayDevice, params: Params, seed: int) -> Workload:
        return workload

    return registry


def on_the_cpu(registry: Registry, mode: str | None = None) -> Measurement:
    options = replace(SMOKE, budget_seconds=0.05, warmup_min_seconds=0.0, warmup_cap_seconds=0.01)
    options = replace(options, min_device_seconds=0.0, probe_ceilings=False, target=0.5)
    (found,) = run_locally("own", device="cpu", mode=mode, registry=registry, options=options).measurements
    return found


def test_work_without_a_reference_is_measured_and_flagged() -> None:
    found = taken(on_the_cpu(registry_of(BareWork(lambda: None))))
    assert found.correctness is None
    assert Flag.UNCHECKED in found.flags


def test_metrics_of_the_work_itself_are_reported_and_it_is_closed_once() -> None:
    Telling.closed = 0
    found = taken(on_the_cpu(registry_of(Telling(lambda: None))))
    assert "item_rate" in metrics(found)
    assert Telling.closed == 1


def test_items_give_a_rate_and_no_metric_is_told_twice() -> None:
    found = taken(on_the_cpu(registry_of(Telling(lambda: None), items=lambda _: 1000)))
    assert [metric.name for metric in found.metrics].count("item_rate") == 1
    assert found.items == 1000
    assert found.statistics is not None
    assert metrics(found)["item_rate"] == pytest.approx(1000 / found.statistics.median * 1e9)


def test_mode_that_means_nothing_is_refused_with_those_that_do() -> None:
    registry = registry_of(BareWork(lambda: None), mode="host", modes=("host", "cold"))
    assert taken(on_the_cpu(registry)).mode is Mode.HOST
    found = on_the_cpu(registry, "sustained")
    assert found.outcome is Outcome.UNSUPPORTED
    assert found.reason == "own/work means nothing in mode sustained; name no mode, or one of: cold, host"


def test_dtype_without_a_limit_names_the_remedy() -> None:
    registry = Registry()
    registry.suite("own", summary="")

    @benchmark(name="work", suite="own", summary="", parameters={"dtype": ("float4",)}, registry=registry)
    def prepare(device: ArrayDevice, params: Params, seed: int) -> Workload:
        return BareWork(lambda: None)

    found = on_the_cpu(registry)
    assert found.outcome is Outcome.HARNESS_ERROR
    assert "dtype 'float4' has no limit for its error; give own/work a tolerance" in found.reason


def test_facts_of_the_kernels_become_metrics() -> None:
    kernels = """
        [[kernels]]
        name = "first"
        registers = 40
        shared_bytes = 1024
        local_bytes = 0
        occupancy = 0.75
        compile_seconds = 0.5
        [[kernels]]
        name = "second"
        registers = 64
        occupancy = 0.5
    """
    found = taken(simulate(f"{QUIET}\n{kernels}"))
    assert [kernel.name for kernel in found.kernels] == ["first", "second"]
    told = metrics(found)
    assert (told["registers"], told["shared_memory"], told["local_memory"]) == (64, 1024, 0)
    assert (told["occupancy"], told["compile_time"]) == (0.5, 0.5e9)


# --- ceilings ---------------------------------------------------------------------------------------------------------


class Slowing(SimulatedDevice):
    """Its probes are slower after the first case."""

    factor = 1.0
    seen = 0

    def prepare(self, benchmark: Any, case: Any, seed: int) -> SimulatedWorkload:
        self.seen += self._phase is not Phase.CEILING
        return super().prepare(benchmark, case, seed)

    def price(self, script: Any, order: TimingOrder, clock_factor: float) -> int:
        slowed = self.factor if self.seen and self._phase is Phase.CEILING else 1.0
        return super().price(script, order, clock_factor * slowed)


@pytest.mark.parametrize(("factor", "flags"), [(1.0, ()), (1.01, ()), (1.03, (TrialFlag.ENVIRONMENT_DRIFT,))])
def test_ceilings_are_probed_again_at_the_end(factor: float, flags: tuple[str, ...]) -> None:
    device = Slowing(Listening(QUIET).scenario)
    device.factor = factor
    plan = plan_trial("core", tier="smoke", device_kind="simulated", options=SMOKE)
    result = measure_trial(plan, device, observer=SilentObserver())
    assert result.outcome is Outcome.OK
    assert result.flags == flags
    assert result.header is not None
    assert result.closing is not None
    assert result.closing.bandwidth == pytest.approx((result.header.ceilings.bandwidth or 0) / factor, rel=1e-6)
    assert set(result.closing.flops) == set(result.header.ceilings.flops) == {"float32"}


def test_trial_without_probes_has_no_closing_ceilings() -> None:
    result = run_locally("core", device="simulated", options=replace(SMOKE, probe_ceilings=False))
    assert result.closing is None
    assert result.flags == ()


def test_device_lost_at_the_end_is_told_with_all_measurements() -> None:
    class Losing(SimulatedDevice):
        seen = 0

        def prepare(self, benchmark: Any, case: Any, seed: int) -> SimulatedWorkload:
            self.seen += self._phase is not Phase.CEILING
            if self.seen and self._phase is Phase.CEILING:
                from tesserabench.bench import CaseFailure  # noqa: PLC0415 - beside its only use

                raise CaseFailure(Outcome.DEVICE_LOST, "gone", fatal=True)
            return super().prepare(benchmark, case, seed)

    device: Device = Losing(Listening(QUIET).scenario)
    plan = plan_trial("core", tier="smoke", device_kind="simulated", options=SMOKE)
    result = measure_trial(plan, device, observer=SilentObserver())
    assert result.outcome is Outcome.DEVICE_LOST
    assert result.reason == "probing the ceilings after the last case failed: gone"
    assert len(result.measurements) == 5
    assert result.not_run == ()


def test_simulated_timing_is_a_timing() -> None:
    with open_device("simulated") as device:
        assert isinstance(device, SimulatedDevice)
        found = plan_trial("core", tier="smoke", device_kind="simulated", include="copy").cases[0]
        from tesserabench.bench import find_benchmark  # noqa: PLC0415 - beside its only use

        work = device.prepare(find_benchmark(found.benchmark), found, 0)
        timing: Timing = device.arm((work,), TimingOrder(mode=Mode.HOT))
        assert len(timing.take(3).total_ns) == 3
