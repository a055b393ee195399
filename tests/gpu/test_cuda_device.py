"""The CUDA device on real hardware."""

from collections.abc import Iterator, Mapping

import cupy
import numpy as np
import pytest
from tesserabench.bench import Device, MeasureOptions, Mode, Outcome, TimingOrder, open_device, run_locally
from tesserabench.bench.kernels import find, modules
from tesserabench.bench.workloads.bare import BareWork

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not cupy.is_available(), reason="no CUDA device on this machine"),
]


@pytest.fixture
def device() -> Iterator[Device]:
    with open_device("cuda") as opened:
        yield opened


@pytest.mark.parametrize("mode", ["hot", "cold", "host"])
def test_smoke_tier_gives_right_results_on_every_benchmark(mode: str) -> None:
    result = run_locally("core", device="cuda", mode=mode)
    assert result.outcome is Outcome.OK, result.reason
    for measurement in result.measurements:
        assert measurement.outcome is Outcome.OK, f"{measurement.case_id}: {measurement.reason}"


def test_rates_do_not_exceed_what_was_probed() -> None:
    result = run_locally("core", device="cuda")
    for measurement in result.measurements:
        ratio = next(metric.value for metric in measurement.metrics if metric.name == "ceiling_ratio")
        assert 0.01 < ratio < 1.2, measurement.case_id


@pytest.mark.parametrize(
    ("module", "variant"), [(module, variant) for module in modules() for variant in find(module).variants]
)
def test_kernel_loads(device: Device, module: str, variant: Mapping[str, str]) -> None:
    for function in find(module).functions:
        kernel = device.kernel(module, function, defines=variant)  # type: ignore[attr-defined]
        assert kernel.num_regs > 0


@pytest.mark.parametrize("nanoseconds", [200_000, 1_000_000])
def test_spin_takes_the_time_it_was_given(device: Device, nanoseconds: int) -> None:
    spin = device.kernel("spin", "spin", defines={})  # type: ignore[attr-defined]
    work = BareWork(lambda: spin((1,), (1,), (cupy.uint64(nanoseconds),)))
    timing = device.arm((work,), TimingOrder(mode=Mode.HOT, iterations=20))
    _, total = timing.take(2).total_ns
    assert total / 20 == pytest.approx(nanoseconds, rel=0.1)


@pytest.mark.parametrize("count", [1, 3, 1001, 1 << 20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_own_kernels_handle_any_length(count: int, dtype: str) -> None:
    overrides = {"n": str(count), "dtype": dtype}
    options = MeasureOptions.for_tier("smoke")
    for measurement in run_locally("memory", device="cuda", overrides=overrides, options=options).measurements:
        assert measurement.outcome is Outcome.OK, measurement.reason


def test_cold_copy_is_slower_than_hot_copy_of_what_fits_the_cache() -> None:
    def median(mode: str) -> float:
        (found,) = run_locally(
            "memory", device="cuda", mode=mode, include="copy", overrides={"n": "2097152"}
        ).measurements
        assert found.statistics is not None
        return found.statistics.median

    assert median("cold") > 1.05 * median("hot")


def test_planted_slow_down_is_visible() -> None:
    def median(**drill: float) -> float:
        options = MeasureOptions(min_samples=10, budget_seconds=1.0, drill=drill)
        (found,) = run_locally("memory", device="cuda", include="copy", options=options).measurements
        assert found.statistics is not None
        return found.statistics.median

    assert median(copy=1.3) / median() == pytest.approx(1.3, rel=0.1)


def test_too_large_work_is_out_of_memory_and_spares_the_next_case() -> None:
    result = run_locally("memory", device="cuda", overrides={"copy.n": str(1 << 40)})
    found = {item.case.benchmark: item.outcome for item in result.measurements}
    assert found.pop("memory/copy") is Outcome.OUT_OF_MEMORY
    assert set(found.values()) == {Outcome.OK}


def test_device_tells_who_it_is(device: Device) -> None:
    info = device.info
    assert info.uuid is not None
    assert info.uuid.startswith("GPU-")
    assert info.memory_bytes is not None
    assert info.cache_bytes is not None
    assert device.timer.quantum_ns > 0
    assert np.isfinite(device.timer.floor_ns)
