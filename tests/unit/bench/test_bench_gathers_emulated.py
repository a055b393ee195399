"""Kernels of the embedding, elementwise and sparse suites, run thread by thread on the CPU."""

from typing import Any

import pytest
from support.cuda_on_cpu import SEEDS, check_work, emulated_work, needs_gxx
from tesserabench.bench import CaseFailure

pytestmark = needs_gxx


@pytest.mark.parametrize(("rows", "width", "lookups"), [(1, 1, 1), (100, 3, 70), (50, 8, 300), (33, 34, 1000)])
@pytest.mark.parametrize("distribution", ["uniform", "zipf"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_are_looked_up(rows: int, width: int, lookups: int, distribution: str, dtype: str) -> None:
    work = emulated_work(
        "embedding/gather",
        {"rows": rows, "width": width, "lookups": lookups, "distribution": distribution, "dtype": dtype},
    )
    check_work(work, 0.0)


@pytest.mark.parametrize("n", [1, 6, 1001, 9000])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("steps", [2, 8, 32])
def test_chain_is_the_same_fused_or_not(n: int, steps: int, fused: bool) -> None:
    check_work(emulated_work("elementwise/chain", {"n": n, "steps": steps, "fused": fused}), 1e-6)


@pytest.mark.parametrize("n", [1, 7, 1001])
@pytest.mark.parametrize("function", ["exp", "gelu"])
def test_functions_are_applied_everywhere(n: int, function: str) -> None:
    check_work(emulated_work("elementwise/map", {"n": n, "function": function}), 1e-6)


@pytest.mark.parametrize(("rows", "per_row"), [(1, 1), (7, 3), (100, 40), (999, 33)])
@pytest.mark.parametrize("pattern", ["banded", "power_law"])
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-5), ("float64", 1e-13)])
def test_sparse_product_is_right(rows: int, per_row: int, pattern: str, dtype: str, limit: float) -> None:
    for order in SEEDS[:2]:
        work = emulated_work(
            "sparse/spmv", {"rows": rows, "per_row": per_row, "pattern": pattern, "dtype": dtype}, order=order
        )
        check_work(work, limit, launches=1)


def test_banded_matrix_is_a_band() -> None:
    work: Any = emulated_work("sparse/spmv", {"rows": 50, "per_row": 5, "pattern": "banded", "dtype": "float32"})
    columns = work.columns.reshape(50, 5)
    assert columns[10].tolist() == [8, 9, 10, 11, 12]
    assert columns[0].tolist() == [48, 49, 0, 1, 2]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("elementwise/chain", {"n": 8, "steps": 3, "fused": True}, "steps is 3"),
        ("sparse/spmv", {"rows": 4, "per_row": 5, "pattern": "banded", "dtype": "float32"}, "per_row at most rows"),
        ("sparse/spmv", {"rows": 2**20, "per_row": 2**11, "pattern": "banded", "dtype": "float32"}, "2147483648"),
    ],
)
def test_what_the_kernels_cannot_do_is_refused(
    name: str, params: dict[str, bool | int | float | str], message: str
) -> None:
    with pytest.raises(CaseFailure, match=message):
        emulated_work(name, params)
