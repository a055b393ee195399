"""The attention kernels, run thread by thread on the CPU with the tensor cores' own layouts of registers."""

from typing import Any, cast

import numpy as np
import pytest
from support.cuda_on_cpu import SEEDS, EmulatedCuda, check_work, emulated_work, needs_gxx
from support.fake_cublas import array_module, install
from tesserabench.bench import ArrayDevice, CaseFailure, Outcome, Params, find_benchmark
from tesserabench.bench.workloads.attention_cuda import CudaFlash, split
from tesserabench.bench.workloads.attention_work import Heads

LIMITS = {"float16": 1e-3, "bfloat16": 5e-3, "float32": 2e-6}


def heads(**values: Any) -> Heads:
    wanted = {"batch": 1, "heads": 1, "kv_heads": 1, "causal": False, "dtype": "bfloat16", "head_dim": 64, **values}
    return Heads(**wanted)


def flash(shape: Heads, order: int = 1) -> CudaFlash:
    return CudaFlash(cast("ArrayDevice", EmulatedCuda(seed=order)), shape, 5)


@needs_gxx
@pytest.mark.parametrize(
    ("head_dim", "dtype", "causal"),
    [(64, "bfloat16", False), (64, "float16", True), (128, "bfloat16", False), (128, "float16", True)],
)
def test_flash_is_right_at_lengths_that_fill_no_tile(head_dim: int, dtype: str, causal: bool) -> None:
    shape = heads(queries=150, keys=150, head_dim=head_dim, dtype=dtype, causal=causal)
    check_work(flash(shape), LIMITS[dtype], launches=1)


@needs_gxx
@pytest.mark.parametrize(
    ("queries", "keys", "causal"), [(1, 1, True), (128, 64, False), (64, 200, True), (70, 190, True), (129, 65, False)]
)
def test_flash_is_right_where_queries_and_keys_differ(queries: int, keys: int, causal: bool) -> None:
    check_work(flash(heads(queries=queries, keys=keys, causal=causal)), LIMITS["bfloat16"], launches=1)


@needs_gxx
@pytest.mark.parametrize("order", SEEDS)
def test_flash_is_right_in_any_order_of_threads_and_with_shared_keys(order: int) -> None:
    work = emulated_work(
        "attention/flash",
        {"batch": 2, "heads": 4, "kv_heads": 2, "length": 130, "head_dim": 64, "causal": True, "dtype": "float16"},
        order=order,
    )
    check_work(work, LIMITS["float16"], launches=1)


@needs_gxx
def test_queries_that_see_no_key_get_zeros() -> None:
    work = flash(heads(queries=200, keys=60, causal=True, dtype="float16"))
    work.poison()
    work.launch()
    assert np.all(work.o[0, 0, :140] == 0)
    assert np.all(np.isfinite(work.o))
    assert np.array_equal(work.o[0, 0, 140], work.v[0, 0, 0])


@needs_gxx
@pytest.mark.parametrize(
    ("kv_heads", "length", "head_dim", "dtype"),
    [(8, 1, 64, "float16"), (4, 700, 64, "bfloat16"), (2, 513, 128, "bfloat16"), (1, 300, 128, "float16")],
)
def test_decode_is_right_for_every_group(kv_heads: int, length: int, head_dim: int, dtype: str) -> None:
    work = emulated_work(
        "attention/decode",
        {"batch": 2, "heads": 8, "kv_heads": kv_heads, "length": length, "head_dim": head_dim, "dtype": dtype},
        order=1,
    )
    check_work(work, LIMITS[dtype], launches=1)


@needs_gxx
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("dtype", "length"), [("float32", 33), ("bfloat16", 40), ("float16", 264)])
def test_naive_is_right_with_its_softmax_in_place(
    monkeypatch: pytest.MonkeyPatch, dtype: str, length: int, causal: bool
) -> None:
    _, lt = install(monkeypatch)
    device: Any = EmulatedCuda(seed=1)
    device.xp = array_module()
    values: dict[str, Any] = {
        "batch": 1,
        "heads": 2,
        "length": length,
        "head_dim": 16,
        "causal": causal,
        "dtype": dtype,
    }
    work: Any = find_benchmark("attention/naive").prepare(device, Params(values), 3)
    check_work(work, 2 * LIMITS[dtype], launches=1)
    work.close()
    assert lt.alive == {}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("flash", {"head_dim": 96}, "head_dim is 96; the kernel is made for: 64, 128"),
        ("flash", {"heads": 6, "kv_heads": 4}, "heads must be a multiple of kv_heads"),
        ("decode", {"heads": 32}, "heads for each of kv_heads is 16"),
        ("decode", {"dtype": "float32"}, "dtype is float32; the kernel is made for: float16, bfloat16"),
    ],
)
def test_what_the_kernels_are_not_made_for_is_unsupported(name: str, changes: dict[str, Any], message: str) -> None:
    benchmark = find_benchmark(f"attention/{name}")
    values = {axis: allowed[0] for axis, allowed in benchmark.domain.items()}
    with pytest.raises(CaseFailure, match=message) as caught:
        benchmark.prepare(cast("ArrayDevice", EmulatedCuda()), Params({**values, "batch": 1, **changes}), 1)
    assert caught.value.outcome is Outcome.UNSUPPORTED


def test_caches_are_split_so_that_every_processor_has_work() -> None:
    one = heads(queries=1, keys=32768, heads=32, kv_heads=8, batch=1)
    splits, part = split(one, 132)
    assert splits * 8 >= 4 * 132
    assert (splits - 1) * part < 32768 <= splits * part
    assert split(heads(queries=1, keys=100, kv_heads=8, heads=8), 132) == (1, 100)
    assert split(heads(queries=1, keys=8192, kv_heads=8, heads=8, batch=256), 132) == (1, 8192)
