"""The kernels of the norm suite, run thread by thread on the CPU."""

import pytest
from support.cuda_on_cpu import SEEDS, check_work, emulated_work, needs_gxx

pytestmark = needs_gxx

LIMITS = {"float32": 2e-6, "float16": 1e-3, "bfloat16": 5e-3}
NAMES = ("softmax", "layernorm", "rmsnorm", "residual_rmsnorm")


def check(name: str, shape: tuple[int, int], dtype: str, *, order: int = 1) -> None:
    rows, columns = shape
    work = emulated_work(f"norm/{name}", {"rows": rows, "columns": columns, "dtype": dtype}, order=order)
    check_work(work, LIMITS[dtype], launches=1)


@pytest.mark.parametrize("shape", [(1, 1), (9, 33), (3, 256)])
@pytest.mark.parametrize("dtype", sorted(LIMITS))
@pytest.mark.parametrize("name", NAMES)
def test_narrow_rows_are_right_at_any_shape(name: str, dtype: str, shape: tuple[int, int]) -> None:
    check(name, shape, dtype)


@pytest.mark.parametrize("name", NAMES)
def test_wide_rows_are_right_without_alignment(name: str) -> None:
    check(name, (2, 4097), "bfloat16")


@pytest.mark.parametrize("order", SEEDS)
@pytest.mark.parametrize("name", ["softmax", "residual_rmsnorm"])
def test_rows_of_a_whole_block_are_right_in_any_order_of_threads(name: str, order: int) -> None:
    check(name, (3, 2048), "bfloat16", order=order)


@pytest.mark.parametrize(("dtype", "columns"), [("float32", 8193), ("bfloat16", 65544)])
def test_rows_too_long_for_registers_are_streamed(dtype: str, columns: int) -> None:
    check("softmax", (2, columns), dtype)
