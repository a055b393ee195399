"""The kernels of the primitives suite, run thread by thread on the CPU, at sizes with every kind of tail."""

from typing import Any

import numpy as np
import pytest
from support.cuda_on_cpu import SEEDS, EmulatedCuda, check_work, emulated_work, needs_gxx
from tesserabench.bench import CaseFailure

pytestmark = needs_gxx

LIMITS = {"int32": 0.0, "float32": 1e-6, "float64": 1e-14}


@pytest.mark.parametrize("n", [1, 4, 1023, 14 * 1024, 14 * 1024 + 1, 50_001])
@pytest.mark.parametrize("dtype", LIMITS)
def test_scan_is_right_at_any_length(dtype: str, n: int) -> None:
    for order in SEEDS:
        check_work(emulated_work("primitives/scan", {"n": n, "dtype": dtype}, order=order), LIMITS[dtype])


def test_scan_uses_every_block_it_launches() -> None:
    work: Any = emulated_work("primitives/scan", {"n": 300_000, "dtype": "int32"})
    assert work.blocks == 14
    check_work(work, 0.0, launches=1)


@pytest.mark.parametrize("blocks", [1, 31, 32, 33, 100, 1023, 1024])
def test_sums_of_any_number_of_blocks_are_scanned(blocks: int) -> None:
    sums = np.arange(1, blocks + 1, dtype=np.int32)
    kernel = EmulatedCuda().kernel("scan", "scan_sums", defines={"ELEMENT": "int"})
    expected = np.concatenate(([0], np.cumsum(sums)[:-1]))
    kernel((1,), (1024,), (sums, np.uint32(blocks)))
    assert np.array_equal(sums, expected)


@pytest.mark.parametrize("n", [1, 5, 1000, 20_003])
@pytest.mark.parametrize("bins", [256, 2048])
@pytest.mark.parametrize("distribution", ["uniform", "skewed", "constant"])
def test_histogram_counts_everything_once(n: int, bins: int, distribution: str) -> None:
    for order in SEEDS[:2]:
        work: Any = emulated_work(
            "primitives/histogram", {"n": n, "bins": bins, "distribution": distribution}, order=order
        )
        check_work(work, 0.0)
        assert work.counts.sum() == n


def test_skewed_values_are_skewed() -> None:
    work: Any = emulated_work("primitives/histogram", {"n": 20_000, "bins": 256, "distribution": "skewed"})
    assert work.reference()["counts"][3] / 20_000 == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("k", [1, 8, 16])
@pytest.mark.parametrize(("rows", "columns"), [(3, 16), (5, 33), (2, 1024), (3, 1025), (2, 4100)])
def test_largest_of_rows_are_found(rows: int, columns: int, k: int) -> None:
    for order in SEEDS[:2]:
        work = emulated_work("primitives/topk", {"rows": rows, "columns": columns, "k": k}, order=order)
        check_work(work, 0.0, launches=1)


@pytest.mark.parametrize("columns", [64, 2048])
def test_equal_values_come_in_the_order_of_their_columns(columns: int) -> None:
    work: Any = emulated_work("primitives/topk", {"rows": 2, "columns": columns, "k": 16})
    work.x[:] = np.floor(work.x)
    check_work(work, 0.0)


def test_as_many_largest_as_columns_is_a_sort() -> None:
    work: Any = emulated_work("primitives/topk", {"rows": 2, "columns": 8, "k": 8})
    work.launch()
    assert np.array_equal(work.values, -np.sort(-work.x, axis=1))


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("topk", {"rows": 1, "columns": 4, "k": 8}, "k is 8 of 4 columns"),
        ("topk", {"rows": 1, "columns": 64, "k": 5}, "it must be one of 1, 8, 16"),
        ("histogram", {"n": 8, "bins": 100, "distribution": "uniform"}, "bins is 100"),
        ("histogram", {"n": 2**31 + 1, "bins": 256, "distribution": "uniform"}, "at most 2147483648"),
        ("scan", {"n": 2**28 + 1, "dtype": "int32"}, "at most 268435456"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused(name: str, params: dict[str, int | str], message: str) -> None:
    with pytest.raises(CaseFailure, match=message):
        emulated_work(f"primitives/{name}", params)
