"""The gemm, attention, norm and conv suites on real hardware, at sizes that fill no tile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cupy
import numpy as np
import pytest
from tesserabench.bench import (
    Case,
    CaseFailure,
    DeviceKind,
    MeasureOptions,
    Outcome,
    Params,
    Tier,
    find_benchmark,
    find_suite,
    open_device,
    run_locally,
)
from tesserabench.bench.verification import compare, limit_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not cupy.is_available(), reason="no CUDA device on this machine"),
]

SUITES = ("gemm", "attention", "norm", "conv", "llm")
WIDE = ("float64", "float32", "tf32", "float16", "bfloat16")
EIGHT_BITS = ("float8_e4m3", "int8")
HALVES = ("float16", "bfloat16")
CASES: list[tuple[str, dict[str, Any]]] = [
    *(
        (f"gemm/{name}", {"m": m, "n": n, "k": k, "dtype": dtype})
        for name in ("matmul", "matmul_lt")
        for m, n, k in ((1, 1, 1), (33, 17, 65), (1500, 200, 333))
        for dtype in WIDE
    ),
    *(
        (f"gemm/{name}", {"m": m, "n": n, "k": k, "dtype": dtype})
        for name in ("matmul", "matmul_lt", "linear")
        for m, n, k in ((16, 16, 32), (1536, 208, 336), (128, 4096, 4096))
        for dtype in EIGHT_BITS
    ),
    *(
        ("gemm/linear", {"m": m, "n": n, "k": k, "dtype": dtype})
        for m, n, k in ((1, 4096, 4096), (7, 1000, 520))
        for dtype in ("float32", *HALVES)
    ),
    *(
        ("gemm/layouts", {"m": 136, "n": 264, "k": 520, "layout": layout, "dtype": dtype})
        for layout in ("nn", "nt", "tn", "tt")
        for dtype in ("float32", "bfloat16")
    ),
    *(
        ("gemm/batched", {"batch": batch, "m": m, "n": n, "k": k, "dtype": dtype})
        for batch, m, n, k in ((3, 5, 6, 7), (257, 64, 64, 64), (19, 1, 128, 33))
        for dtype in WIDE
    ),
    *(
        (f"norm/{name}", {"rows": rows, "columns": columns, "dtype": dtype})
        for name in ("softmax", "layernorm", "rmsnorm", "residual_rmsnorm")
        for rows, columns in ((1, 1), (9, 33), (1001, 128), (300, 1000), (77, 4097), (64, 8192))
        for dtype in ("float32", *HALVES)
    ),
    *(
        ("norm/softmax", {"rows": 65, "columns": n, "dtype": d})
        for n in (128_256, 50_257)
        for d in ("float32", *HALVES)
    ),
    *(
        (
            "attention/flash",
            {
                "batch": 2,
                "heads": heads,
                "kv_heads": kv_heads,
                "length": length,
                "head_dim": head_dim,
                "causal": causal,
                "dtype": dtype,
            },
        )
        for heads, kv_heads in ((3, 3), (8, 2))
        for length in (1, 63, 128, 333, 1025, 4096)
        for head_dim in (64, 128)
        for causal in (False, True)
        for dtype in HALVES
    ),
    *(
        (
            "attention/naive",
            {"batch": 2, "heads": 3, "length": length, "head_dim": 64, "causal": causal, "dtype": dtype},
        )
        for length in (1, 136, 1024, 1025)
        for causal in (False, True)
        for dtype in ("float32", *HALVES)
    ),
    *(
        (
            "attention/decode",
            {
                "batch": 3,
                "heads": 8,
                "kv_heads": kv_heads,
                "length": length,
                "head_dim": head_dim,
                "dtype": dtype,
            },
        )
        for kv_heads in (1, 2, 4, 8)
        for length in (1, 257, 5001)
        for head_dim in (64, 128)
        for dtype in HALVES
    ),
    *(
        (
            "conv/direct",
            {
                "images": 3,
                "size": size,
                "channels": channels,
                "filters": filters,
                "taps": taps,
                "stride": stride,
                "dtype": dtype,
            },
        )
        for size, channels, filters, taps, stride in ((9, 5, 7, 3, 1), (28, 33, 70, 1, 2), (56, 64, 64, 3, 1))
        for dtype in ("float32", *HALVES)
    ),
]


def named(case: tuple[str, dict[str, Any]]) -> str:
    return f"{case[0]}-{'-'.join(map(str, case[1].values()))}"


@pytest.fixture(scope="module")
def device() -> Iterator[Any]:
    with open_device("cuda") as opened:
        yield opened


@contextmanager
def work_of(device: Any, name: str, params: dict[str, Any]) -> Iterator[tuple[Any, float]]:
    """Prepare a case; without an algorithm for its dtype on this device there is nothing to test."""
    found = find_benchmark(name)
    case = Case(benchmark=name, params=Params(params), version=found.version)
    try:
        work = device.prepare(found, case, 3)
    except CaseFailure as failure:
        older = tuple(map(int, device.info.compute_capability.split("."))) < (8, 9)
        if failure.outcome is not Outcome.UNSUPPORTED or params["dtype"] != "float8_e4m3" or not older:
            raise
        pytest.skip(str(failure))
    try:
        yield work, limit_of(found, case)
    finally:
        if hasattr(work, "close"):
            work.close()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_work_is_right_at_any_size(device: Any, case: tuple[str, dict[str, Any]]) -> None:
    with work_of(device, *case) as (work, limit):
        reference = work.reference()
        for _ in range(2):
            work.poison()
            work.launch()
            device.synchronize()
            found = compare(work.outputs(), reference, limit, poisoned=True)
            assert found.passed, found


CAPTURED = [case for case in CASES if case[0] != "gemm/matmul" and case[1].get("rows", 64) in {64, 65}]


@pytest.mark.parametrize("case", CAPTURED, ids=named)
def test_launches_can_be_captured_into_a_graph(device: Any, case: tuple[str, dict[str, Any]]) -> None:
    with work_of(device, *case) as (work, limit):
        work.launch()
        device.synchronize()
        pool = cupy.get_default_memory_pool()
        held = pool.used_bytes()
        device.stream.begin_capture()
        work.launch()
        graph = device.stream.end_capture()
        assert pool.used_bytes() == held
        work.poison()
        graph.launch(device.stream)
        device.synchronize()
        assert compare(work.outputs(), work.reference(), limit, poisoned=True).passed


@pytest.mark.parametrize("suite", SUITES)
def test_smoke_tier_is_right(suite: str) -> None:
    result = run_locally(suite, device="cuda", options=MeasureOptions.for_tier("smoke"))
    assert result.outcome is Outcome.OK, result.reason
    for item in result.measurements:
        assert item.outcome is Outcome.OK, f"{item.case_id}: {item.reason}"
    expected = sum(
        len(found.cases(Tier.SMOKE, DeviceKind.CUDA))
        for found in find_suite(suite).benchmarks
        if found.in_tier(Tier.SMOKE, DeviceKind.CUDA)
    )
    assert len(result.measurements) == expected


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_wrong_part_of_a_large_product_is_found(device: Any, dtype: str) -> None:
    with work_of(device, "gemm/matmul", {"m": 4096, "n": 4096, "k": 4096, "dtype": dtype}) as (work, limit):
        work.launch()
        device.synchronize()
        reference = work.reference()
        assert compare(work.outputs(), reference, limit, poisoned=False).passed
        work.c[0, 1001, 7] = 0x447A if dtype == "bfloat16" else 1000.0  # a bfloat16 of 1000: 15 standard deviations
        assert float(np.asarray(work.outputs()["wrong_rows"])[0]) == 1
        assert not compare(work.outputs(), reference, limit, poisoned=False).passed


def test_flash_attention_keeps_its_sums_in_registers_and_beats_the_naive_form(device: Any) -> None:
    shape = {"batch": 4, "heads": 16, "length": 2048, "head_dim": 128, "causal": False, "dtype": "bfloat16"}
    times = {}
    for name, params in (("flash", {**shape, "kv_heads": 16}), ("naive", shape)):
        with work_of(device, f"attention/{name}", params) as (work, _):
            begin, end = cupy.cuda.Event(), cupy.cuda.Event()
            for _ in range(5):
                work.launch()
            begin.record(device.stream)
            for _ in range(20):
                work.launch()
            end.record(device.stream)
            end.synchronize()
            times[name] = cupy.cuda.get_elapsed_time(begin, end)
            if name == "flash":
                (facts,) = device.kernels()
                assert facts.local_bytes == 0
    assert times["flash"] < times["naive"]
