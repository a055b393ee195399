"""Attention: formulas against numbers made by hand, and the CPU's work for real."""

from typing import Any, cast

import pytest
from tesserabench.bench import (
    ArrayDevice,
    MeasureOptions,
    Outcome,
    Params,
    find_benchmark,
    find_suite,
    open_device,
    run_locally,
)
from tesserabench.bench.case import ParamValue

TINY = MeasureOptions(
    target=0.5,
    min_samples=10,
    budget_seconds=0.2,
    min_device_seconds=0.0,
    warmup_min_seconds=0.0,
    warmup_cap_seconds=0.05,
    probe_ceilings=False,
)


def counts(name: str, **values: ParamValue) -> tuple[int, int]:
    benchmark = find_benchmark(name)
    assert benchmark.flops is not None
    assert benchmark.bytes is not None
    return benchmark.flops(Params(values)), benchmark.bytes(Params(values))


def test_flash_counts_operands_once_and_half_of_the_pairs_if_causal() -> None:
    shape: dict[str, ParamValue] = {"batch": 2, "heads": 4, "kv_heads": 2, "length": 100, "head_dim": 64}
    # 4 * 2 * 4 * 100^2 * 64 operations; Q and O have 2 * 4 * 100 * 64 elements each, K and V half as many.
    assert counts("attention/flash", **shape, causal=False, dtype="bfloat16") == (20_480_000, 2 * 153_600)
    assert counts("attention/flash", **shape, causal=True, dtype="bfloat16") == (10_240_000, 2 * 153_600)


def test_naive_counts_the_scores_four_times() -> None:
    shape: dict[str, ParamValue] = {"batch": 1, "heads": 2, "length": 10, "head_dim": 8}
    # Q, K, V, O of 160 elements each; scores of 200, written, read, written and read.
    assert counts("attention/naive", **shape, causal=False, dtype="float32") == (6400, 4 * (640 + 800))


def test_decode_counts_the_cache() -> None:
    shape: dict[str, ParamValue] = {"batch": 3, "heads": 8, "kv_heads": 2, "length": 50, "head_dim": 64}
    # K and V of 3 * 2 * 50 * 64 elements, Q and O of 3 * 8 * 64.
    assert counts("attention/decode", **shape, dtype="float16") == (4 * 3 * 8 * 50 * 64, 2 * (2 * 19_200 + 2 * 1536))


@pytest.mark.parametrize(
    ("name", "overrides", "count"),
    [
        ("naive", {"batch": "2", "heads": "3", "length": "65", "head_dim": "16"}, 2),
        ("decode", {"batch": "2", "heads": "6", "kv_heads": "2", "length": "65", "head_dim": "16"}, 1),
    ],
)
def test_attention_runs_for_real_on_a_cpu(name: str, overrides: dict[str, str], count: int) -> None:
    found = run_locally("attention", tier="full", device="cpu", include=name, overrides=overrides, options=TINY)
    assert len(found.measurements) == count
    for measurement in found.measurements:
        assert measurement.outcome is Outcome.OK, measurement.reason


def test_poison_that_is_not_overwritten_fails() -> None:
    benchmark = find_benchmark("attention/naive")
    values: dict[str, ParamValue] = {"batch": 1, "heads": 1, "length": 8, "head_dim": 4, "causal": True}
    with open_device("cpu") as device:
        work = benchmark.prepare(device, Params({**values, "dtype": "float32"}), 1)  # type: ignore[arg-type]
        work.poison()
        assert float(work.outputs()["unwritten"][0]) == 32


@pytest.mark.parametrize("tier", ["smoke", "full"])
@pytest.mark.parametrize("suite", ["attention", "norm", "gemm", "llm"])
def test_every_case_has_a_price_on_the_simulated_device(suite: str, tier: str) -> None:
    found = run_locally(suite, tier=tier, device="simulated", options=TINY)
    assert found.measurements
    for measurement in found.measurements:
        assert measurement.outcome is Outcome.OK, measurement.reason


def test_suite_of_language_models_has_the_parts_of_a_layer() -> None:
    names = {benchmark.name for benchmark in find_suite("llm").benchmarks}
    assert {"gemm/linear", "attention/flash", "attention/decode", "norm/residual_rmsnorm"} <= names


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("gemm/batched", {"batch": 2, "m": 3, "n": 4, "k": 5, "dtype": "float32"}),
        ("attention/naive", {"batch": 1, "heads": 1, "length": 8, "head_dim": 4, "causal": True, "dtype": "float32"}),
        ("norm/residual_rmsnorm", {"rows": 3, "columns": 5, "dtype": "float32"}),
    ],
)
def test_inputs_are_watched(name: str, params: dict[str, ParamValue]) -> None:
    with open_device("cpu") as device:
        work: Any = find_benchmark(name).prepare(cast("ArrayDevice", device), Params(params), 1)
        before = work.checksum()
        work.launch()
        assert work.checksum() == before
        changed = work.residual if name.startswith("norm") else work.b if name.startswith("gemm") else work.v
        changed[...] = changed[..., ::-1].copy()
        assert work.checksum() != before
