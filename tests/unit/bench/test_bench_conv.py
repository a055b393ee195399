"""Convolution: formulas against numbers made by hand, the kernel run thread by thread on the CPU."""

import pytest
from support.cuda_on_cpu import SEEDS, check_work, emulated_work, needs_gxx
from tesserabench.bench import DeviceKind, Outcome, Params, Tier, find_benchmark, run_locally
from tesserabench.bench.case import ParamValue


def params(**values: ParamValue) -> dict[str, ParamValue]:
    base: dict[str, ParamValue] = {
        "images": 2,
        "size": 9,
        "channels": 5,
        "filters": 7,
        "taps": 3,
        "stride": 1,
        "dtype": "float32",
    }
    return {**base, **values}


def test_formulas_count_products_and_every_array_once() -> None:
    benchmark = find_benchmark("conv/direct")
    assert benchmark.flops is not None
    assert benchmark.bytes is not None
    # 9 x 9 pixels with stride 2 and a border of one give 5 x 5; each is a sum of 3 * 3 * 5 products for 7 filters.
    values = Params(params(stride=2))
    assert benchmark.flops(values) == 2 * 2 * 25 * 45 * 7
    assert benchmark.bytes(values) == 4 * (2 * 81 * 5 + 7 * 45 + 2 * 25 * 7)


@needs_gxx
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 2e-6), ("float16", 1e-3), ("bfloat16", 5e-3)])
@pytest.mark.parametrize("changes", [{}, {"stride": 2}, {"taps": 1, "filters": 70, "channels": 33}, {"taps": 5}])
def test_convolution_is_right_at_odd_sizes(dtype: str, limit: float, changes: dict[str, int]) -> None:
    check_work(emulated_work("conv/direct", params(dtype=dtype, **changes), order=1), limit, launches=1)


@needs_gxx
@pytest.mark.parametrize("order", SEEDS)
def test_convolution_does_not_depend_on_the_order_of_threads(order: int) -> None:
    check_work(emulated_work("conv/direct", params(size=6, channels=17), order=order), 2e-6, launches=1)


def test_convolution_runs_on_accelerators_alone() -> None:
    (found,) = run_locally("conv", tier="regression", device="simulated", overrides={"dtype": "float32"}).measurements
    assert found.outcome is Outcome.OK, found.reason
    assert not find_benchmark("conv/direct").in_tier(Tier.NIGHTLY, DeviceKind.CPU)
