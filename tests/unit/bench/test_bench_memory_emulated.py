"""The kernels of the memory suite, run thread by thread on the CPU, at sizes with every kind of tail."""

from typing import Any

import numpy as np
import pytest
from support.cuda_on_cpu import SEEDS, check_work, emulated_work, needs_gxx
from tesserabench.bench import CaseFailure

pytestmark = needs_gxx


@pytest.mark.parametrize("n", [1, 3, 1001, 8192])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["copy", "triad", "reduction", "read", "fill", "scale"])
def test_streams_are_right_at_any_length(name: str, dtype: str, n: int) -> None:
    for order in SEEDS:
        work = emulated_work(f"memory/{name}", {"n": n, "dtype": dtype}, order=order)
        check_work(work, 1e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(("n", "width"), [(1, 1), (3, 2), (5, 4), (1002, 8), (20_004, 16)])
def test_accesses_of_every_width_copy_everything(n: int, width: int) -> None:
    check_work(emulated_work("memory/width", {"n": n, "width": width}), 0.0)


@pytest.mark.parametrize(("n", "width"), [(3, 8), (1002, 16), (64, 3)])
def test_widths_that_leave_a_rest_are_refused(n: int, width: int) -> None:
    with pytest.raises(CaseFailure, match="width must be one of"):
        emulated_work("memory/width", {"n": n, "width": width})


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 70), (33, 1), (32, 32), (31, 65), (100, 37)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_transpose_is_right_at_any_shape(m: int, n: int, dtype: str) -> None:
    for order in SEEDS:
        check_work(emulated_work("memory/transpose", {"m": m, "n": n, "dtype": dtype}, order=order), 0.0)


@pytest.mark.parametrize("accesses", [1, 1000, 60_000, 8 * 8192 + 5])
@pytest.mark.parametrize("op", ["gather", "update"])
def test_random_accesses_go_where_the_sequence_says(op: str, accesses: int) -> None:
    for order in SEEDS[:2]:
        work = emulated_work("memory/random", {"op": op, "entries": 1 << 12, "accesses": accesses}, order=order)
        check_work(work, 0.0, launches=1)


def test_updates_are_told_apart_over_many_launches() -> None:
    work: Any = emulated_work("memory/random", {"op": "update", "entries": 64, "accesses": 1000})
    for _ in range(3):
        work.launch()
    assert np.array_equal(work.outputs()["counts"], work.reference()["counts"])
    work.table[5] += 1
    assert np.isnan(work.outputs()["counts"]).all()


def test_updates_that_never_ran_are_not_right() -> None:
    work = emulated_work("memory/random", {"op": "update", "entries": 64, "accesses": 1000})
    assert np.isnan(work.outputs()["counts"]).all()


def test_table_must_be_a_power_of_two() -> None:
    with pytest.raises(CaseFailure, match="power of two"):
        emulated_work("memory/random", {"op": "gather", "entries": 1000, "accesses": 10})


@pytest.mark.parametrize(("size", "hops"), [(256, 1), (1280, 7), (1280, 10), (128 * 1000, 12_345)])
def test_chase_follows_the_cycle_from_launch_to_launch(size: int, hops: int) -> None:
    work: Any = emulated_work("memory/chase", {"size": size, "hops": hops})
    assert np.isnan(work.outputs()["advanced"]).all()
    check_work(work, 0.0)
    for _ in range(3):
        work.launch()
    assert np.array_equal(work.outputs()["advanced"], work.reference()["advanced"])
    walked, at = {0}, int(work.next[0])
    while at != 0:
        walked.add(at)
        at = int(work.next[at])
    assert walked == {32 * line for line in range(size // 128)}


def test_chase_that_took_a_wrong_turn_is_found() -> None:
    work: Any = emulated_work("memory/chase", {"size": 12_800, "hops": 7})
    work.launch()
    work.state[0] = work.next[work.state[0]]
    assert not np.array_equal(work.outputs()["advanced"], work.reference()["advanced"])
