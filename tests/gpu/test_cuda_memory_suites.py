"""The memory, primitives, embedding, elementwise, sparse and fft suites on real hardware, at sizes with a tail."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cupy
import numpy as np
import pytest
from tesserabench.bench import (
    Case,
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

SUITES = ("memory", "primitives", "embedding", "elementwise", "sparse", "fft")
MI = 1 << 20
CASES: list[tuple[str, dict[str, Any]]] = [
    *(
        (f"memory/{name}", {"n": n, "dtype": dtype})
        for name in ("copy", "triad", "reduction", "read", "fill", "scale", "cached")
        for n in (1, 3, 1001, 5 * MI + 7)
        for dtype in ("float32", "float64")
    ),
    *(("memory/width", {"n": 4 * MI + 4, "width": width}) for width in (1, 2, 4, 8, 16)),
    *(
        ("memory/transpose", {"m": m, "n": n, "dtype": dtype})
        for m, n in ((1, 1), (1, 70), (33, 1), (100, 37), (4097, 2050))
        for dtype in ("float16", "float32", "float64")
    ),
    *(
        ("memory/random", {"op": op, "entries": entries, "accesses": accesses})
        for op in ("gather", "update")
        for entries, accesses in ((1, 1), (4096, 100_003), (16 * MI, 4 * MI + 5))
    ),
    *(("memory/chase", {"size": size, "hops": hops}) for size, hops in ((256, 1), (1280, 7), (64 * MI, 100_000))),
    *(
        ("primitives/scan", {"n": n, "dtype": dtype})
        for n in (1, 4, 1023, 50_001, 20 * MI + 3)
        for dtype in ("int32", "float32", "float64")
    ),
    *(
        ("primitives/sort", {"n": n, "dtype": dtype})
        for n in (1, 1001, 3 * MI + 1)
        for dtype in ("uint32", "float32", "uint64")
    ),
    *(
        ("primitives/histogram", {"n": n, "bins": bins, "distribution": distribution})
        for n in (1, 5, 3 * MI + 3)
        for bins in (256, 2048)
        for distribution in ("uniform", "skewed", "constant")
    ),
    *(
        ("primitives/topk", {"rows": rows, "columns": columns, "k": k})
        for rows, columns in ((3, 16), (5, 33), (300, 1025), (70, 50_257))
        for k in (1, 8, 16)
    ),
    *(
        (
            "embedding/gather",
            {"rows": 1000, "width": width, "lookups": lookups, "distribution": distribution, "dtype": dtype},
        )
        for width, lookups in ((1, 1), (3, 70), (8, 3001), (130, 100_003))
        for distribution in ("uniform", "zipf")
        for dtype in ("float16", "float32")
    ),
    *(
        ("elementwise/chain", {"n": n, "steps": steps, "fused": fused})
        for n in (1, 6, 3 * MI + 1)
        for steps in (2, 8, 32)
        for fused in (True, False)
    ),
    *(("elementwise/map", {"n": n, "function": function}) for n in (1, 7, 3 * MI + 1) for function in ("exp", "gelu")),
    *(
        ("sparse/spmv", {"rows": rows, "per_row": per_row, "pattern": pattern, "dtype": dtype})
        for rows, per_row in ((1, 1), (7, 3), (100_003, 33))
        for pattern in ("banded", "power_law")
        for dtype in ("float32", "float64")
    ),
    *(("fft/r2c", {"n": n, "batch": 9, "dtype": dtype}) for n in (60, 61, 4096) for dtype in ("float32", "float64")),
]


@pytest.fixture(scope="module")
def device() -> Iterator[Any]:
    with open_device("cuda") as opened:
        yield opened


def work_of(device: Any, name: str, params: dict[str, Any]) -> tuple[Any, float]:
    found = find_benchmark(name)
    case = Case(benchmark=name, params=Params(params), version=found.version)
    return device.prepare(found, case, 3), limit_of(found, case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1].values()))}")
def test_kernels_are_right_at_any_size(device: Any, case: tuple[str, dict[str, Any]]) -> None:
    work, limit = work_of(device, *case)
    reference = work.reference()
    for _ in range(3):
        work.poison()
        work.launch()
        device.synchronize()
        found = compare(work.outputs(), reference, limit, poisoned=True)
        assert found.passed, found


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case[0] != "primitives/sort"],
    ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1].values()))}",
)
def test_launches_can_be_captured_into_a_graph(device: Any, case: tuple[str, dict[str, Any]]) -> None:
    work, limit = work_of(device, *case)
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
    expected = sum(len(found.cases(Tier.SMOKE, DeviceKind.CUDA)) for found in find_suite(suite).benchmarks)
    assert len(result.measurements) == expected


def test_float_sums_have_the_same_bits_every_time(device: Any) -> None:
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("memory/reduction", {"n": 5 * MI + 7, "dtype": "float32"}),
        ("primitives/scan", {"n": 5 * MI + 7, "dtype": "float32"}),
        ("sparse/spmv", {"rows": 100_003, "per_row": 33, "pattern": "power_law", "dtype": "float32"}),
    )
    for name, params in cases:
        work, _ = work_of(device, name, params)
        seen = set()
        for _ in range(5):
            work.poison()
            work.launch()
            device.synchronize()
            seen.add(b"".join(np.ascontiguousarray(array).tobytes() for array in work.outputs().values()))
        assert len(seen) == 1, name


def test_latency_grows_from_cache_to_memory() -> None:
    options = replace(MeasureOptions.for_tier("smoke"), budget_seconds=0.2, probe_ceilings=False)
    result = run_locally("memory", device="cuda", include="chase", options=options)
    hops = {
        item.case.params.integer("size"): next(metric.value for metric in item.metrics if metric.name == "item_time")
        for item in result.measurements
    }
    first, second, memory = (hops[size] for size in sorted(hops))
    assert 5 < first < second < memory < 3000
