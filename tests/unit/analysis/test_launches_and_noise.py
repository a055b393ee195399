import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.analysis.false_discovery import benjamini_hochberg
from tesserabench.analysis.history import MINIMUM_RUNS, run_noise
from tesserabench.analysis.launch import Launch, log_error_of_interval
from tesserabench.analysis.policy import noise_floor
from tesserabench.analysis.student import exceedance, quantile


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_an_interval_without_logarithm_has_no_error(low: float, high: float) -> None:
    assert log_error_of_interval(low, high) is None


def test_error_of_an_interval_is_its_width_in_deviations() -> None:
    assert log_error_of_interval(math.exp(-0.0196), math.exp(0.0196)) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("value", [None, 0.0, -1.0, math.nan, math.inf])
def test_a_value_without_logarithm_says_so(value: float | None) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        _ = Launch(value=value).level


def test_noise_of_a_history_is_that_of_its_runs() -> None:
    generator = np.random.default_rng(11)
    noise = run_noise(list(np.exp(0.02 * generator.standard_normal(400))))
    assert noise is not None
    assert noise.deviation == pytest.approx(0.02, rel=0.15)


def test_a_step_or_a_spike_in_a_history_is_not_taken_for_noise() -> None:
    generator = np.random.default_rng(12)
    quiet = np.exp(0.005 * generator.standard_normal(60))
    stepped = quiet * np.where(np.arange(60) < 30, 1.0, 1.5)
    stepped[10] *= 3
    noise = run_noise(list(stepped))
    assert noise is not None
    assert noise.deviation < 0.008


def test_a_short_history_says_nothing() -> None:
    assert run_noise([1.0] * (MINIMUM_RUNS - 1)) is None
    assert run_noise([1.0] * MINIMUM_RUNS + [math.nan, 0.0]) is not None


def test_an_unknown_device_is_taken_for_a_noisy_one() -> None:
    assert noise_floor("abacus") == noise_floor("cpu")
    assert noise_floor("cuda").launch < noise_floor("cpu").launch


def test_adjusted_p_values_are_those_of_the_textbook() -> None:
    # Benjamini and Hochberg 1995, section 3.2: fifteen p values, of which four are rejected at 5 %.
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719]
    p_values += [0.6528, 0.7590, 1.0]
    adjusted = benjamini_hochberg(p_values)
    assert sum(value <= 0.05 for value in adjusted) == 4
    assert adjusted[0] == pytest.approx(0.0015)
    assert adjusted[3] == pytest.approx(0.035625)


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=30))
def test_adjusted_p_values_keep_the_order_and_never_shrink(p_values: list[float]) -> None:
    adjusted = benjamini_hochberg(p_values)
    assert all(raw <= after + 1e-12 and after <= 1 for raw, after in zip(p_values, adjusted, strict=True))
    ordered = [after for _, after in sorted(zip(p_values, adjusted, strict=True))]
    assert ordered == sorted(ordered)


def test_student_is_normal_with_endless_degrees() -> None:
    assert quantile(0.975, math.inf) == pytest.approx(1.959964, abs=1e-6)
    assert quantile(0.975, 4) == pytest.approx(2.776445, abs=1e-6)
    assert exceedance(2.776445, 4) == pytest.approx(0.025, abs=1e-6)
    assert exceedance(math.inf, 4) == 0.0
    assert exceedance(-math.inf, math.inf) == 1.0
