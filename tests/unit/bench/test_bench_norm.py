"""The norm suite: formulas against numbers made by hand, how rows are shared out, and the CPU's work for real."""

import pytest
from support.cuda_on_cpu import EmulatedCuda
from tesserabench.bench import CaseFailure, MeasureOptions, Outcome, Params, find_benchmark, run_locally
from tesserabench.bench.workloads.norm_cuda import LANES, RowShape, most_packs, shape_of

TINY = MeasureOptions(
    target=0.5,
    min_samples=10,
    budget_seconds=0.2,
    min_device_seconds=0.0,
    warmup_min_seconds=0.0,
    warmup_cap_seconds=0.05,
    probe_ceilings=False,
)


@pytest.mark.parametrize(
    ("name", "flops", "elements"),
    [
        ("softmax", 5 * 12, 2 * 12),
        ("layernorm", 8 * 12, 2 * 12 + 2 * 4),
        ("rmsnorm", 4 * 12, 2 * 12 + 4),
        ("residual_rmsnorm", 5 * 12, 4 * 12 + 4),
    ],
)
def test_formulas_count_every_array_once(name: str, flops: int, elements: int) -> None:
    benchmark = find_benchmark(f"norm/{name}")
    assert benchmark.flops is not None
    assert benchmark.bytes is not None
    for dtype, size in (("float32", 4), ("bfloat16", 2)):
        params = Params({"rows": 3, "columns": 4, "dtype": dtype})
        assert benchmark.flops(params) == flops
        assert benchmark.bytes(params) == elements * size


@pytest.mark.parametrize("shape", [("1", "1"), ("7", "33"), ("300", "1000")])
def test_norms_run_for_real_on_a_cpu(shape: tuple[str, str]) -> None:
    rows, columns = shape
    found = run_locally("norm", device="cpu", overrides={"rows": rows, "columns": columns}, options=TINY)
    assert len(found.measurements) == 4
    for measurement in found.measurements:
        assert measurement.outcome is Outcome.OK, measurement.reason


def test_half_precision_is_unsupported_on_a_cpu() -> None:
    (found,) = run_locally(
        "norm", device="cpu", include="layernorm", overrides={"dtype": "float16"}, options=TINY
    ).measurements
    assert found.outcome is Outcome.UNSUPPORTED
    assert "use float32, or device cuda" in found.reason


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_row_that_fits_is_held_whole(dtype: str) -> None:
    for columns in (*range(1, 600), 1024, 4096, 4097, 8192, 16384, 32768):
        shape = shape_of(columns, dtype)
        if shape.fits:
            assert shape.lanes * shape.packs * shape.width >= columns
            assert columns % shape.width == 0
            assert shape.lanes in LANES
            assert shape.packs <= most_packs(shape.width)


def test_short_rows_share_a_block_and_long_ones_fill_it() -> None:
    short, long = shape_of(128, "bfloat16"), shape_of(8192, "bfloat16")
    assert short == RowShape(width=8, lanes=32, packs=1, fits=True)
    assert (short.block, short.grid(1001)) == (256, (126,))
    assert (long.lanes, long.block, long.grid(1001)) == (256, 256, (1001,))
    assert not shape_of(128_256, "bfloat16").fits


def test_rows_that_fit_no_block_are_unsupported_but_for_softmax() -> None:
    benchmark, device = find_benchmark("norm/rmsnorm"), EmulatedCuda()
    params = Params({"rows": 1, "columns": 70_000, "dtype": "bfloat16"})
    with pytest.raises(CaseFailure, match="columns is 70000; rows of dtype bfloat16 may have at most 32768") as caught:
        benchmark.prepare(device, params, 1)  # type: ignore[arg-type]
    assert caught.value.outcome is Outcome.UNSUPPORTED
