"""The kernels of the memory suite, run thread by thread on the CPU, at sizes with every kind of tail."""

import pytest
from support.cuda_on_cpu import SEEDS, check_work, emulated_work, needs_gxx

pytestmark = needs_gxx


@pytest.mark.parametrize("n", [1, 3, 1001, 8192])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["copy", "triad", "reduction"])
def test_streams_are_right_at_any_length(name: str, dtype: str, n: int) -> None:
    for order in SEEDS:
        work = emulated_work(f"memory/{name}", {"n": n, "dtype": dtype}, order=order)
        check_work(work, 1e-6 if dtype == "float32" else 1e-12)
