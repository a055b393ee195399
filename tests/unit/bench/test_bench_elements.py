"""Element types that NumPy lacks, against values made by hand and against every neighbour."""

import math

import numpy as np
import pytest
from tesserabench.bench.inputs import CHUNK
from tesserabench.bench.workloads.elements import decode, encode, normal_inputs, not_finite, storage


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.0, 0x3F80),
        (-2.5, 0xC020),
        (1 + 2**-8, 0x3F80),  # half a step above 1: to the even neighbour below
        (1 + 3 * 2**-8, 0x3F82),  # half a step: to the even neighbour above
        (math.pi, 0x4049),
        (0.0, 0x0000),
    ],
)
def test_bfloat16_rounds_to_nearest_even(value: float, bits: int) -> None:
    assert int(encode(np, np.array([value], dtype=np.float32), "bfloat16")[0]) == bits


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (1.0, 0x38),
        (-1.0, 0xB8),
        (448.0, 0x7E),
        (1e6, 0x7E),  # beyond the largest: clipped
        (2**-9, 0x01),  # the smallest
        (2**-10, 0x00),  # half of it: to even
        (3 * 2**-10, 0x02),
        (7.5 * 2**-9, 0x08),  # rounds up into the normal numbers
        (2**-6, 0x08),
        (1.0625, 0x38),  # half a step above 1: to even
        (1.1875, 0x3A),
        (-0.3, 0xAA),
    ],
)
def test_e4m3_follows_its_specification(value: float, code: int) -> None:
    assert int(encode(np, np.array([value], dtype=np.float32), "float8_e4m3")[0]) == code


@pytest.mark.parametrize(("dtype", "codes"), [("float8_e4m3", 256), ("bfloat16", 65536)])
def test_every_number_survives_reading_and_rounding(dtype: str, codes: int) -> None:
    stored = np.arange(codes).astype(storage(dtype))
    values = decode(np, stored, dtype)
    finite = np.isfinite(values)
    assert np.array_equal(encode(np, values[finite].astype(np.float32), dtype), stored[finite])


def test_every_bfloat16_that_is_not_finite_is_counted() -> None:
    # 127 fractions but zero are NaN, and zero is infinite, with either sign.
    assert float(not_finite(np, np.arange(65536).astype(np.uint16), "bfloat16")[0]) == 2 * 128


def test_e4m3_rounds_to_the_nearest_of_its_numbers() -> None:
    values = np.random.default_rng(0).normal(scale=20, size=20_000).astype(np.float32)
    every = decode(np, np.arange(256).astype(np.uint8), "float8_e4m3")
    every = every[np.isfinite(every)]
    nearest = np.abs(values[:, None] - every[None, :]).min(axis=1)
    found = decode(np, encode(np, values, "float8_e4m3"), "float8_e4m3")
    assert np.array_equal(np.abs(values - found), nearest)


@pytest.mark.parametrize("dtype", ["float64", "float32", "tf32", "float16", "bfloat16", "float8_e4m3", "int8"])
def test_inputs_are_normal_and_never_zeros(dtype: str) -> None:
    values = decode(np, normal_inputs(np, 50_000, dtype, seed=1), dtype) / (32 if dtype == "int8" else 1)
    assert float(values.mean()) == pytest.approx(0, abs=0.03)
    assert float(values.std()) == pytest.approx(1, abs=0.05)
    assert np.count_nonzero(values) > 49_000


def test_chunks_of_rounded_inputs_join_without_a_seam() -> None:
    whole = normal_inputs(np, CHUNK + 5, "bfloat16", seed=2)
    assert np.array_equal(whole, encode(np, normal_inputs(np, CHUNK + 5, "float32", seed=2), "bfloat16"))
