"""Matrix products: formulas, checks, and what cuBLAS and cuBLASLt are told, on stand-ins that multiply on the host."""

import sys
from typing import Any, cast

import numpy as np
import pytest
from support.cuda_on_cpu import EmulatedCuda, check_work
from support.fake_cublas import STREAM, array_module, install
from tesserabench.bench import (
    CaseFailure,
    MeasureOptions,
    Outcome,
    Params,
    find_benchmark,
    open_device,
    run_locally,
)
from tesserabench.bench.case import ParamValue
from tesserabench.bench.dtypes import PRODUCT_LIMITS, product_limit
from tesserabench.bench.workloads import cublaslt
from tesserabench.bench.workloads.gemm_work import ProductWork

TINY = MeasureOptions(
    target=0.5,
    min_samples=10,
    budget_seconds=0.2,
    min_device_seconds=0.0,
    warmup_min_seconds=0.0,
    warmup_cap_seconds=0.05,
    probe_ceilings=False,
)
SHAPE = {"m": 33, "n": 48, "k": 80}


def params(**values: ParamValue) -> Params:
    return Params(values)


def on_cuda(benchmark: str, **values: ParamValue) -> ProductWork:
    device: Any = EmulatedCuda()
    device.xp = array_module()
    return cast("ProductWork", find_benchmark(benchmark).prepare(device, Params(values), 3))


@pytest.mark.parametrize(("dtype", "size"), [("float64", 736), ("float16", 184), ("int8", 188), ("float8_e4m3", 124)])
def test_bytes_count_operands_and_product_in_their_own_types(dtype: str, size: int) -> None:
    # A has 20 elements, B 40 and C 32; int8 writes int32, float8_e4m3 writes bfloat16.
    benchmark = find_benchmark("gemm/matmul")
    assert benchmark.bytes is not None
    assert benchmark.bytes(params(m=4, n=8, k=5, dtype=dtype)) == size


def test_batched_counts_every_product() -> None:
    benchmark = find_benchmark("gemm/batched")
    values = params(batch=3, m=2, n=5, k=7, dtype="float32")
    assert benchmark.flops is not None
    assert benchmark.bytes is not None
    assert benchmark.flops(values) == 2 * 3 * 2 * 5 * 7
    assert benchmark.bytes(values) == 3 * 4 * (14 + 35 + 10)


def test_long_sums_may_be_further_off() -> None:
    assert product_limit("float32", 16383) == 1e-5
    assert product_limit("float32", 16384) == 1e-4
    assert product_limit("int8", 1 << 20) == 0


@pytest.mark.parametrize(
    ("name", "overrides", "count"),
    [
        ("linear", {"m": "3", "n": "40", "k": "50"}, 1),
        ("layouts", {"m": "20", "n": "30", "k": "40", "dtype": "float32"}, 4),
        ("batched", {"batch": "19", "m": "5", "n": "6", "k": "7", "batched.dtype": "float32,float64"}, 2),
    ],
)
def test_products_run_for_real_on_a_cpu(name: str, overrides: dict[str, str], count: int) -> None:
    found = run_locally("gemm", tier="full", device="cpu", include=name, overrides=overrides, options=TINY)
    assert len(found.measurements) == count
    for measurement in found.measurements:
        assert measurement.outcome is Outcome.OK, measurement.reason


@pytest.mark.parametrize("name", ["matmul", "linear", "layouts", "batched"])
def test_low_precision_is_unsupported_on_a_cpu(name: str) -> None:
    benchmark = find_benchmark(f"gemm/{name}")
    values = Params({**{axis: allowed[0] for axis, allowed in benchmark.domain.items()}, "dtype": "bfloat16"})
    with open_device("cpu") as device, pytest.raises(CaseFailure, match="use float32 or float64, or device cuda"):
        benchmark.prepare(cast("Any", device), values, 1)


@pytest.mark.parametrize("dtype", [dtype for dtype in PRODUCT_LIMITS if dtype != "float8_e4m3"])
def test_cublas_gets_the_product_it_should_compute(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    cublas, _ = install(monkeypatch)
    work = on_cuda("gemm/matmul", **SHAPE, dtype=dtype)
    assert cast("Any", work).capturable is False
    check_work(work, product_limit(dtype, 80))
    # CUBLAS_COMPUTE_*: 32F 68, 32F_FAST_TF32 77, 64F 70, 32I 72.
    assert set(cublas.compute_types) == {{"tf32": 77, "float64": 70, "int8": 72}.get(dtype, 68)}


@pytest.mark.parametrize("dtype", PRODUCT_LIMITS)
def test_cublaslt_gets_the_product_it_should_compute(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    _, lt = install(monkeypatch)
    work: Any = on_cuda("gemm/matmul_lt", **SHAPE, dtype=dtype)
    assert work.capturable is True
    check_work(work, product_limit(dtype, 80))
    assert set(lt.streams) == {STREAM}
    work.close()
    assert lt.alive == {}


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
def test_every_layout_is_described_as_it_is_stored(monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    install(monkeypatch)
    check_work(on_cuda("gemm/layouts", **SHAPE, layout=layout, dtype="bfloat16"), 1e-2)


def test_batches_lie_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    check_work(on_cuda("gemm/batched", batch=21, m=5, n=6, k=7, dtype="float16"), 3e-3)


def test_eight_bit_floats_always_go_through_cublaslt(monkeypatch: pytest.MonkeyPatch) -> None:
    cublas, lt = install(monkeypatch)
    work = on_cuda("gemm/matmul", m=32, n=32, k=64, dtype="float8_e4m3")
    check_work(work, 6e-2)
    assert (len(cublas.compute_types), len(lt.streams)) == (0, 2)


def test_product_without_an_algorithm_is_unsupported_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    _, lt = install(monkeypatch, supported=False)
    with pytest.raises(CaseFailure, match=r"no algorithm .*\(m=33, n=48, k=80\).*multiples of 16") as caught:
        on_cuda("gemm/matmul_lt", **SHAPE, dtype="int8")
    assert caught.value.outcome is Outcome.UNSUPPORTED
    assert lt.alive == {}


def test_missing_libraries_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cublas", None)
    with pytest.raises(CaseFailure, match=r"cuBLAS cannot be loaded.*install tesserabench\[cuda13\]") as caught:
        on_cuda("gemm/matmul", **SHAPE, dtype="float32")
    assert caught.value.outcome is Outcome.UNSUPPORTED
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cublas", cast("Any", object()))
    with pytest.raises(CaseFailure, match=r"cuBLASLt cannot be loaded.*install tesserabench\[cuda13\]"):
        cublaslt.library.__wrapped__(999)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_one_wrong_part_of_a_large_product_is_found(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    install(monkeypatch)
    work = on_cuda("gemm/matmul", m=1500, n=64, k=32, dtype=dtype)
    work.launch()
    assert float(np.asarray(work.outputs()["wrong_rows"])[0]) == 0
    row = next(row for row in range(1500) if row not in work._rows)
    work.c[0, row, 7] += 40  # one element in a row that is not compared by itself
    assert float(np.asarray(work.outputs()["wrong_rows"])[0]) == 1
