"""The gate on runs of samples: its error rates in kinds of noise, and what must hold for any numbers."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tesserabench.analysis.samples import judge_samples
from tesserabench.analysis.words import Better, Reason, Verdict

Runs = list[list[float]]
FOUND = {Verdict.REGRESSED, Verdict.IMPROVED}


def quiet(rng: np.random.Generator, runs: int, samples: int = 10) -> Runs:
    return _exp(rng.normal(0, 0.003, (runs, 1)) + rng.normal(0, 0.005, (runs, samples)))


def nights(rng: np.random.Generator, runs: int, samples: int = 10) -> Runs:
    """Runs of one sitting share its night."""
    return _exp(rng.normal(0, 0.012) + rng.normal(0, 0.005, (runs, 1)) + rng.normal(0, 0.01, (runs, samples)))


def bimodal(rng: np.random.Generator, runs: int, samples: int = 10) -> Runs:
    return _exp(0.12 * (rng.random((runs, 1)) < 0.4) + rng.normal(0, 0.003, (runs, samples)))


def busy(rng: np.random.Generator, runs: int, samples: int = 10) -> Runs:
    return _exp(rng.exponential(0.15, (runs, 1)) + rng.exponential(0.05, (runs, samples)))


def _exp(logs: np.ndarray) -> Runs:
    return [[float(value) for value in run] for run in 1000 * np.exp(logs)]


def slower(runs: Runs, factor: float) -> Runs:
    return [[factor * value for value in run] for run in runs]


def verdicts(noise: Callable[..., Runs], factor: float, pairs: int, runs: int = 8) -> list[Verdict]:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(pairs):
        history = [run for _ in range(20) for run in noise(rng, 1)]
        found.append(judge_samples(noise(rng, runs), slower(noise(rng, runs), factor), history=history).verdict)
    return found


@pytest.mark.parametrize("noise", [quiet, nights, bimodal, busy])
def test_identical_runs_are_rarely_called_different_in_any_noise(noise: Callable[..., Runs]) -> None:
    # Below 1 % over many; three of 150 is what chance allows.
    assert sum(verdict in FOUND for verdict in verdicts(noise, 1.0, 150)) <= 3


def test_five_per_cent_are_found_where_the_machine_is_quiet_and_left_open_where_it_is_not() -> None:
    assert sum(verdict is Verdict.REGRESSED for verdict in verdicts(quiet, 1.05, 60)) >= 58
    open_questions = sum(verdict is Verdict.INCONCLUSIVE for verdict in verdicts(busy, 1.05, 60))
    assert open_questions >= 58


def test_two_empty_sides_are_told_from_one() -> None:
    no_runs: list[list[float]] = []
    one_run_of_nothing: list[list[float]] = [[]]
    for nothing in (no_runs, one_run_of_nothing):
        both = judge_samples(nothing, nothing)
        assert (both.verdict, both.reason) == (Verdict.INCONCLUSIVE, Reason.MISSING)
        assert "Neither the base nor the new side" in both.explanation
    assert "the head was not measured" in judge_samples([[1.0, 1.1]], []).explanation
    assert judge_samples([], [[1.0, 1.1]]).reason is Reason.NO_BASELINE


def test_samples_of_one_run_replace_no_other_run() -> None:
    alone = judge_samples([[1.0] * 1000], [[1.2] * 1000])
    assert (alone.verdict, alone.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_FEW_SAMPLES)


def test_a_base_that_is_an_outlier_of_its_history_does_not_make_the_head_better() -> None:
    history = [[1.0 + 0.001 * (index % 3)] for index in range(12)]
    assert judge_samples([[1.10]], [[1.0]], history=history).verdict is not Verdict.IMPROVED
    assert judge_samples([[1.0]], [[1.10]], history=history).verdict is Verdict.REGRESSED


def test_modes_are_compared_each_with_itself() -> None:
    base = [[1.0], [1.12], [1.001], [1.121], [0.999], [1.119], [1.0], [1.12]]
    head = [[1.12], [1.001], [1.0], [1.121], [1.119], [1.12], [0.999], [1.0]]
    same = judge_samples(base, head)
    assert same.verdict is Verdict.PASS
    assert any("Two modes" in note for note in same.notes)
    assert judge_samples(base, slower(head, 1.05)).verdict is Verdict.REGRESSED


def test_a_mode_that_became_more_frequent_is_no_shift() -> None:
    base = [[1.0], [1.001], [0.999], [1.0], [1.002], [1.001], [1.12], [1.121]]
    head = [[1.12], [1.121], [1.119], [1.12], [1.122], [1.121], [1.0], [1.121]]
    judgement = judge_samples(base, head)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.MODE_MIX_CHANGED)
    assert "25 % of the base and 88 % of the head" in judgement.explanation


positive = st.floats(min_value=1e-100, max_value=1e100)
anything = st.floats(allow_nan=True, allow_infinity=True)
sides = st.lists(st.lists(positive, min_size=1, max_size=4), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(
    base=st.lists(st.lists(anything, max_size=3), max_size=4),
    head=st.lists(st.lists(anything, max_size=3), max_size=4),
    history=st.lists(st.lists(anything, max_size=2), max_size=6),
)
def test_any_numbers_get_an_answer(base: Runs, head: Runs, history: Runs) -> None:
    judgement = judge_samples(base, head, history=history)
    assert judgement.explanation
    assert (judgement.reason is not None) == (judgement.verdict is Verdict.INCONCLUSIVE)
    for value in (judgement.change, judgement.p_value, judgement.smallest_visible_change):
        assert value is None or not math.isnan(value)


@settings(deadline=None, max_examples=60)
# A history that is constant but for how its sums are rounded.
@example(base=[[1.0], [1e-100]], head=[[1.0, 1e-100, 1e-100, 1e-100]], history=[[1e-100]] * 5, scale=0.5)
@given(base=sides, head=sides, history=sides, scale=st.floats(min_value=1e-6, max_value=1e6))
def test_direction_scale_and_order_change_nothing_but_the_words(
    base: Runs, head: Runs, history: Runs, scale: float
) -> None:
    judgement = judge_samples(base, head, history=history)
    rate = judge_samples(_inverse(base), _inverse(head), history=_inverse(history), better=Better.HIGHER)
    scaled = judge_samples(slower(base, scale), slower(head, scale), history=slower(history, scale))
    turned = judge_samples(
        [run[::-1] for run in base[::-1]], [run[::-1] for run in head[::-1]], history=[run[::-1] for run in history]
    )
    clear = judgement.p_value is None or not 0.0001 < judgement.p_value < 0.1
    for other in (rate, scaled, turned):
        if clear:
            assert other.verdict is judgement.verdict
        if judgement.worsening is not None and abs(judgement.worsening) < 1e6:
            assert other.worsening == pytest.approx(judgement.worsening, rel=1e-6, abs=1e-6)


def _inverse(runs: Runs) -> Runs:
    return [[1 / value for value in run] for run in runs]


def test_constant_values_pass_and_a_constant_step_is_seen() -> None:
    base = [[5.0, 5.0]] * 4
    assert judge_samples(base, base).verdict is Verdict.PASS
    assert judge_samples(base, slower(base, 1.05)).verdict is Verdict.REGRESSED


def test_more_runs_of_the_same_do_not_turn_a_pass_into_a_finding() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(20):
        base, head = quiet(rng, 40), quiet(rng, 40)
        found += any(judge_samples(base[:runs], head[:runs]).verdict in FOUND for runs in (3, 5, 10, 20, 40))
    assert found <= 1
