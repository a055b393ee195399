import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.bench import Case, CaseFailure, Outcome, Params, find_benchmark
from tesserabench.bench.verification import (
    LIMITS,
    compare,
    fingerprint,
    limit_of,
    relative_error,
    require,
    spread_of_errors,
)


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=20), st.floats(1e-9, 1e-1))
def test_error_is_the_relative_size_of_a_uniform_disturbance(values: list[float], size: float) -> None:
    exact = np.array(values)
    assert relative_error(exact * (1 + size), exact) == pytest.approx(size, rel=1e-4)
    assert relative_error(exact.copy(), exact) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_anything_not_finite_has_no_error_to_speak_of(bad: float) -> None:
    assert relative_error(np.array([1.0, bad]), np.array([1.0, 2.0])) is None


def test_wrong_shape_and_zero_reference_fail() -> None:
    assert relative_error(np.zeros(3), np.zeros(4)) is None
    assert relative_error(np.ones(3), np.zeros(3)) == math.inf
    assert relative_error(np.zeros(3), np.zeros(3)) == 0.0


def test_complex_outputs_are_compared_as_complex() -> None:
    assert relative_error(np.array([1 + 1j]), np.array([1 - 1j])) == pytest.approx(math.sqrt(2))


def test_worst_output_decides() -> None:
    exact = {"a": np.ones(4), "b": np.ones(4)}
    found = compare({"a": np.ones(4), "b": np.ones(4) * 1.01}, exact, 0.001, poisoned=True)
    assert not found.passed
    assert found.value == pytest.approx(0.01)
    undefined = compare({"a": np.ones(4) * 2, "b": np.full(4, np.nan)}, exact, 10.0, poisoned=True)
    assert not undefined.passed
    assert undefined.value is None


def test_limits_follow_the_dtype_unless_the_benchmark_says_otherwise() -> None:
    triad = find_benchmark("memory/triad")
    for dtype in ("float16", "float32", "float64"):
        assert limit_of(triad, Case(benchmark=triad.name, params=Params({"dtype": dtype}))) == LIMITS[dtype]
    copy = find_benchmark("memory/copy")
    assert limit_of(copy, Case(benchmark=copy.name, params=Params({"dtype": "float32"}))) == 0.0


def test_failed_check_says_how_far_off_and_what_to_do() -> None:
    wrong = compare({"a": np.array([2.0])}, {"a": np.array([1.0])}, 1e-5, poisoned=True)
    with pytest.raises(
        CaseFailure, match=r"the output is off by 1 \(relative Frobenius error, limit 1e-05\)"
    ) as caught:
        require(wrong, "before measuring")
    assert caught.value.outcome is Outcome.INCORRECT


def test_whole_numbers_are_compared_exactly() -> None:
    exact = np.array([2**60, 2**60 + 1, 5], dtype=np.int64)
    assert relative_error(exact.copy(), exact) == 0.0
    almost = exact.copy()
    almost[1] -= 1
    error = relative_error(almost, exact)
    assert error is not None
    assert error > 0, "a difference that float64 cannot see is still one"
    assert LIMITS["int8"] == LIMITS["int64"] == 0.0


def test_reference_of_an_output_that_is_not_there_is_told_by_name() -> None:
    with pytest.raises(CaseFailure, match=r"names 'sum', which outputs\(\) does not give; it gives: 'total'"):
        compare({"total": np.ones(1)}, {"sum": np.ones(1)}, 0.1, poisoned=True)


def test_limits_follow_the_bits_of_the_mantissa() -> None:
    order = ["float64", "float32", "tf32", "float16", "bfloat16", "float8_e4m3", "float8_e5m2"]
    assert [LIMITS[name] for name in order] == sorted(LIMITS[name] for name in order)


def test_spread_of_errors_tells_the_largest_and_the_share_beyond_the_limit() -> None:
    exact = {"a": np.array([100.0, 100.0, 100.0, 0.001]), "other": np.ones(1)}
    found = {"a": np.array([100.0, 100.5, 102.0, 0.01]), "extra": np.zeros(3)}
    largest, outside = spread_of_errors(found, exact, 0.01)
    assert largest == 2.0
    # 0.5 % is within; 2 % is not; nine times a small number is nothing beside the others.
    assert outside == 0.25
    assert spread_of_errors({"a": np.zeros(0)}, {"a": np.zeros(0)}, 0.1) == (0.0, 0.0)


def test_fingerprints_are_equal_when_all_bits_are() -> None:
    first = {"a": np.array([1.0, np.nan]), "b": np.array(3)}
    assert fingerprint(first) == fingerprint({"b": np.array(3), "a": np.array([1.0, np.nan])})
    assert fingerprint(first) != fingerprint({"a": np.array([np.nextafter(1.0, 2.0), np.nan]), "b": np.array(3)})
    assert fingerprint({"a": np.array([0.0])}) != fingerprint({"a": np.array([-0.0])})
