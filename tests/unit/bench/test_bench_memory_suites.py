"""The memory, primitives, embedding, elementwise, sparse and fft suites: formulas, tiers, and NumPy's work for real."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tesserabench.bench import (
    ArrayDevice,
    CaseFailure,
    CheckedInputs,
    DeviceKind,
    MeasureOptions,
    Mode,
    Outcome,
    Params,
    Statistics,
    Tier,
    find_benchmark,
    find_suite,
    open_device,
    summarise,
)
from tesserabench.bench.verification import compare
from tesserabench.bench.workloads.embedding_work import chosen_rows
from tesserabench.bench.workloads.memory_access_work import entries, key_of
from tesserabench.bench.workloads.sparse_work import row_lengths

SUITES = ("memory", "primitives", "embedding", "elementwise", "sparse", "fft")
TINY: list[tuple[str, dict[str, bool | int | float | str]]] = [
    ("memory/copy", {"n": 1001, "dtype": "float32"}),
    ("memory/triad", {"n": 1001, "dtype": "float64"}),
    ("memory/reduction", {"n": 1001, "dtype": "float32"}),
    ("memory/read", {"n": 1001, "dtype": "float32"}),
    ("memory/fill", {"n": 1001, "dtype": "float64"}),
    ("memory/scale", {"n": 1001, "dtype": "float32"}),
    ("memory/cached", {"n": 1001, "dtype": "float32"}),
    ("memory/transpose", {"m": 33, "n": 70, "dtype": "float32"}),
    ("memory/random", {"op": "gather", "entries": 256, "accesses": 1001}),
    ("memory/random", {"op": "update", "entries": 256, "accesses": 1001}),
    ("primitives/scan", {"n": 1001, "dtype": "int32"}),
    ("primitives/scan", {"n": 1001, "dtype": "float64"}),
    ("primitives/sort", {"n": 1001, "dtype": "uint32"}),
    ("primitives/sort", {"n": 1001, "dtype": "float32"}),
    ("primitives/sort", {"n": 1001, "dtype": "uint64"}),
    ("primitives/histogram", {"n": 1001, "bins": 256, "distribution": "skewed"}),
    ("primitives/topk", {"rows": 7, "columns": 100, "k": 8}),
    ("embedding/gather", {"rows": 50, "width": 3, "lookups": 99, "distribution": "zipf", "dtype": "float16"}),
    ("elementwise/chain", {"n": 1001, "steps": 8, "fused": False}),
    ("elementwise/map", {"n": 1001, "function": "exp"}),
    ("elementwise/map", {"n": 1001, "function": "gelu"}),
    ("sparse/spmv", {"rows": 99, "per_row": 5, "pattern": "power_law", "dtype": "float64"}),
    ("fft/r2c", {"n": 60, "batch": 7, "dtype": "float32"}),
    ("fft/r2c", {"n": 61, "batch": 7, "dtype": "float64"}),
]
LIMIT = 1e-5


@pytest.fixture
def cpu() -> Iterator[Any]:
    with open_device("cpu") as device:
        yield device


def names(case: tuple[str, dict[str, Any]]) -> str:
    return f"{case[0]}-{'-'.join(map(str, case[1].values()))}"


@pytest.mark.parametrize("case", TINY, ids=names)
def test_numpy_work_is_right(cpu: ArrayDevice, case: tuple[str, dict[str, Any]]) -> None:
    name, params = case
    work = find_benchmark(name).prepare(cpu, Params(params), 3)
    for _ in range(2):
        work.poison()
        work.launch()
        assert compare(work.outputs(), work.reference(), LIMIT, poisoned=True).passed


@pytest.mark.parametrize("case", TINY, ids=names)
def test_work_that_is_never_launched_is_not_right(cpu: ArrayDevice, case: tuple[str, dict[str, Any]]) -> None:
    name, params = case
    work = find_benchmark(name).prepare(cpu, Params(params), 3)
    work.poison()
    assert not compare(work.outputs(), work.reference(), LIMIT, poisoned=True).passed


@pytest.mark.parametrize("case", TINY, ids=names)
def test_inputs_depend_on_the_seed_alone(cpu: ArrayDevice, case: tuple[str, dict[str, Any]]) -> None:
    name, params = case
    found = find_benchmark(name)

    def reference(seed: int) -> list[bytes]:
        work = found.prepare(cpu, Params(params), seed)
        return [array.tobytes() for array in work.reference().values()]

    assert reference(3) == reference(3)
    if found.inputs != "none":
        assert reference(3) != reference(4)


@pytest.mark.parametrize(
    ("name", "params", "flops", "size", "items"),
    [
        ("memory/read", {"n": 10, "dtype": "float32"}, None, 40, None),
        ("memory/fill", {"n": 10, "dtype": "float64"}, None, 80, None),
        ("memory/scale", {"n": 10, "dtype": "float64"}, 10, 160, None),
        ("memory/width", {"n": 10, "width": 4}, None, 80, None),
        ("memory/transpose", {"m": 3, "n": 5, "dtype": "float16"}, None, 60, None),
        ("memory/random", {"op": "gather", "entries": 8, "accesses": 100}, None, None, 100),
        ("memory/chase", {"size": 1280, "hops": 7}, None, None, 7),
        ("primitives/scan", {"n": 10, "dtype": "int32"}, None, 80, 10),
        ("primitives/sort", {"n": 10, "dtype": "uint64"}, None, 160, 10),
        ("primitives/histogram", {"n": 10, "bins": 256, "distribution": "uniform"}, None, 40, 10),
        ("primitives/topk", {"rows": 2, "columns": 100, "k": 8}, None, 2 * (400 + 64), 2),
        (
            "embedding/gather",
            {"rows": 9, "width": 4, "lookups": 5, "distribution": "zipf", "dtype": "float16"},
            None,
            5 * (2 * 8 + 4),
            5,
        ),
        ("elementwise/chain", {"n": 10, "steps": 8, "fused": True}, 160, 80, None),
        ("elementwise/map", {"n": 10, "function": "exp"}, None, 80, None),
        (
            "sparse/spmv",
            {"rows": 10, "per_row": 3, "pattern": "banded", "dtype": "float64"},
            60,
            30 * 12 + 4 * 11 + 160,
            30,
        ),
        ("fft/r2c", {"n": 8, "batch": 3, "dtype": "float32"}, 180, 3 * (32 + 5 * 8), None),
    ],
)
def test_formulas(name: str, params: dict[str, Any], flops: int | None, size: int | None, items: int | None) -> None:
    found, values = find_benchmark(name), Params(params)
    assert (found.flops(values) if found.flops else None) == flops
    assert (found.bytes(values) if found.bytes else None) == size
    assert (found.items(values) if found.items else None) == items


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("kind", [DeviceKind.CPU, DeviceKind.CUDA])
def test_tiers_only_grow_within_reason(suite: str, kind: DeviceKind) -> None:
    counts = [
        sum(len(item.cases(tier, kind)) for item in find_suite(suite).benchmarks if item.in_tier(tier, kind))
        for tier in Tier
    ]
    assert counts == sorted(counts)
    assert 1 <= counts[0] <= 15
    assert counts[-1] <= 80


@pytest.mark.parametrize("suite", SUITES)
def test_memory_bound_work_is_timed_cold_on_cuda_and_hot_on_the_cpu(suite: str) -> None:
    for found in find_suite(suite).benchmarks:
        cold = found.name not in {"memory/chase", "memory/cached"}
        assert found.default_mode(DeviceKind.CUDA) is (Mode.COLD if cold else Mode.HOT), found.name
        assert found.default_mode(DeviceKind.CPU) is Mode.HOT


def test_every_smoke_case_of_the_cpu_touches_little_memory() -> None:
    for suite in SUITES:
        for found in find_suite(suite).benchmarks:
            if found.bytes is not None and found.in_tier(Tier.SMOKE, DeviceKind.CPU):
                for case in found.cases(Tier.SMOKE, DeviceKind.CPU):
                    assert found.bytes(case.params) <= 64 << 20, case.id


@pytest.mark.parametrize(
    ("name", "params", "reason"),
    [
        ("elementwise/chain", {"n": 8, "steps": 8, "fused": True}, "NumPy cannot fuse"),
        ("memory/random", {"op": "gather", "entries": 10, "accesses": 1}, "power of two"),
        ("primitives/topk", {"rows": 1, "columns": 4, "k": 8}, "k is 8 of 4"),
    ],
)
def test_what_cannot_be_done_is_unsupported(cpu: ArrayDevice, name: str, params: dict[str, Any], reason: str) -> None:
    with pytest.raises(CaseFailure, match=reason) as caught:
        find_benchmark(name).prepare(cpu, Params(params), 3)
    assert caught.value.outcome is Outcome.UNSUPPORTED


def test_random_entries_are_in_the_table_and_spread() -> None:
    chosen = np.concatenate(list(entries(100_000, 1024, key_of(5))))
    assert chosen.min() >= 0
    assert chosen.max() < 1024
    assert np.bincount(chosen, minlength=1024).std() == pytest.approx(np.sqrt(100_000 / 1024), rel=0.1)


def test_chase_tells_the_time_of_a_hop() -> None:
    from tesserabench.bench.workloads.memory_access_work import CudaChase  # noqa: PLC0415

    work = CudaChase.__new__(CudaChase)
    work.hops = 1000
    statistics: Statistics = summarise([100_000] * 30)
    (told,) = work.metrics(statistics)
    assert (told.name, told.value) == ("item_time", 100.0)


def test_zipf_prefers_few_rows_and_stays_in_the_table() -> None:
    rows = chosen_rows(np, 1000, 20_000, seed=1, zipf=True)
    assert rows.min() >= 0
    assert rows.max() < 1000
    counts = np.sort(np.bincount(rows, minlength=1000))[::-1]
    # The most frequent of a thousand has a share of log 2 / log 1001.
    assert counts[0] / 20_000 == pytest.approx(np.log(2) / np.log(1001), rel=0.05)
    even = chosen_rows(np, 1000, 20_000, seed=1, zipf=False)
    assert np.bincount(even, minlength=1000).max() < 60


@pytest.mark.parametrize(("rows", "per_row"), [(1, 1), (10, 10), (1000, 16), (100_000, 32)])
def test_power_law_has_exactly_the_entries_it_says(rows: int, per_row: int) -> None:
    lengths = row_lengths(rows, per_row, "power_law")
    assert lengths.sum() == rows * per_row
    assert lengths.min() >= 1
    if rows >= 1000:
        assert lengths.max() > 10 * per_row
        assert np.median(lengths) < per_row


@pytest.mark.parametrize("case", TINY, ids=names)
def test_inputs_have_a_digest_that_launches_do_not_change(cpu: ArrayDevice, case: tuple[str, dict[str, Any]]) -> None:
    name, params = case
    work: Any = find_benchmark(name).prepare(cpu, Params(params), 3)
    if name == "memory/fill" or params.get("op") == "update":
        assert not isinstance(work, CheckedInputs)
        return
    before = work.checksum()
    work.poison()
    work.launch()
    assert work.checksum() == before
    other: Any = find_benchmark(name).prepare(cpu, Params(params), 4)
    assert other.checksum() != before


def test_regression_tier_of_these_suites_fits_ten_minutes_of_a_gpu() -> None:
    cases = {
        case.id
        for suite in SUITES
        for found in find_suite(suite).benchmarks
        for case in found.cases(Tier.REGRESSION, DeviceKind.CUDA)
    }
    preparing_seconds = 4.0
    options = MeasureOptions.for_tier(Tier.REGRESSION)
    assert len(cases) * (preparing_seconds + options.budget_seconds) < 600
