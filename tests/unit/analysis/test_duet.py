"""What an interleaved comparison concludes from one number a worker."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtr, stdtrit
from tesserabench.analysis.duet import (
    LOOKS,
    DuetPolicy,
    DuetSeries,
    failed_pair,
    judge_duet,
    log_ratio,
    null_control,
    undecided,
)
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.small_t import half_width, two_sided_p
from tesserabench.analysis.words import Better, Reason, Severity, Verdict

POLICY = DuetPolicy()
FIVE = (-0.002, -0.001, 0.0, 0.001, 0.002)


def shifted(by: float, spread: float = 1.0) -> tuple[float, ...]:
    return tuple(by + spread * value for value in FIVE)


def one(effects: tuple[float, ...], *, better: Better = Better.LOWER, noise_floor: float = 0.0) -> Judgement:
    return judge_duet([DuetSeries(effects=effects, better=better, noise_floor=noise_floor)], POLICY)[0]


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 19, 99])
def test_the_closed_form_of_students_t_agrees_with_scipy(degrees: int) -> None:
    for value in (0.0, 0.3, 1.0, 2.5, 12.0):
        assert two_sided_p(value, degrees) == pytest.approx(2 * stdtr(degrees, -value), abs=1e-12)
    for confidence in (0.6, 0.95, 0.98):
        assert half_width(confidence, degrees) == pytest.approx(stdtrit(degrees, (1 + confidence) / 2), rel=1e-9)


def test_students_t_refuses_what_has_no_meaning() -> None:
    assert two_sided_p(math.inf, 4) == 0
    with pytest.raises(ValueError, match="degrees must be 1 or more"):
        two_sided_p(1.0, 0)
    with pytest.raises(ValueError, match="confidence must be between"):
        half_width(1.0, 4)


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        (shifted(0.05), Verdict.REGRESSED),
        (shifted(-0.05), Verdict.IMPROVED),
        (shifted(0.0), Verdict.PASS),
        (shifted(0.03, spread=30), Verdict.INCONCLUSIVE),
        # Surely above zero, and not surely above or below what matters.
        (shifted(0.009), Verdict.INCONCLUSIVE),
        # Surely above zero and too small to matter.
        (shifted(0.004), Verdict.PASS),
    ],
)
def test_the_verdict_needs_both_certainty_and_size(effects: tuple[float, ...], verdict: Verdict) -> None:
    assert one(effects).verdict is verdict


def test_a_higher_value_is_better_where_the_metric_says_so() -> None:
    slower = one(shifted(-0.05), better=Better.HIGHER)
    assert slower.verdict is Verdict.REGRESSED
    assert slower.worsening == pytest.approx(math.expm1(0.05))
    assert slower.change == pytest.approx(math.expm1(-0.05))


def test_severity_follows_the_size() -> None:
    assert [one(shifted(math.log1p(by))).severity for by in (0.015, 0.03, 0.06, 0.2)] == [
        None,
        Severity.MINOR,
        Severity.MAJOR,
        Severity.CRITICAL,
    ]


def test_an_undecided_pair_says_how_many_more_workers_settle_it() -> None:
    found = one(shifted(0.02, spread=18))
    assert found.reason is Reason.TOO_NOISY
    assert found.launches_to_settle == 6
    assert "About 6 more workers" in found.recommendation
    # Six more whose spread is about the same.
    more = tuple(0.02 + by for by in (0.028, -0.028, 0.028, -0.028, 0.028, -0.028))
    assert one(shifted(0.02, spread=18) + more).verdict is Verdict.REGRESSED


def test_no_number_of_workers_is_promised_where_none_helps() -> None:
    found = one(shifted(math.log1p(0.01) * 0.999, spread=20))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.launches_to_settle is None


def test_a_cases_own_noise_floor_raises_the_limit() -> None:
    assert one(shifted(0.03)).verdict is Verdict.REGRESSED
    kept = one(shifted(0.03), noise_floor=0.05)
    assert kept.verdict is Verdict.PASS
    assert kept.minimum_effect == 0.05


def test_workers_that_agree_exactly_are_not_believed_to() -> None:
    found = one((0.01, 0.01, 0.01, 0.01, 0.01))
    assert found.change_low is not None
    assert found.change is not None
    assert found.change_low < found.change


@pytest.mark.parametrize("effects", [(), (0.5,)])
def test_one_worker_decides_nothing(effects: tuple[float, ...]) -> None:
    found = one(effects)
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_FEW_SAMPLES)
    assert found.change is None


def test_many_pairs_are_corrected_for_being_many() -> None:
    lucky = DuetSeries(effects=shifted(0.0135, spread=5))
    assert judge_duet([lucky], POLICY)[0].verdict is Verdict.REGRESSED
    crowd = [lucky, *(DuetSeries(effects=shifted(0.0, spread=5)) for _ in range(50))]
    found = judge_duet(crowd, POLICY)[0]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "among 51 comparisons" in found.explanation


def test_a_failed_null_control_turns_findings_into_advice_and_leaves_equality() -> None:
    series = [DuetSeries(effects=shifted(0.05)), DuetSeries(effects=shifted(0.0))]
    found = judge_duet(series, POLICY, advisory=True)
    assert [item.verdict for item in found] == [Verdict.INCONCLUSIVE, Verdict.PASS]
    assert found[0].reason is Reason.NULL_CONTROL_FAILED
    assert "+5.1 %" in found[0].explanation


@pytest.mark.parametrize(
    ("effects", "failed"),
    [
        (shifted(0.0), False),
        (shifted(0.02), True),
        # Surely apart, by less than half of what matters.
        (shifted(0.004), False),
        (shifted(-0.006), True),
        (shifted(0.01, spread=30), False),
        ((), False),
    ],
)
def test_the_null_control_fails_when_it_differs_by_half_of_what_matters(
    effects: tuple[float, ...], failed: bool
) -> None:
    control = null_control(effects, POLICY)
    assert control.failed is failed
    assert ("advice" in control.explanation) is failed
    assert control.workers == len(effects)


def test_an_early_look_asks_for_more_than_a_late_one() -> None:
    series = [DuetSeries(effects=shifted(0.0105, spread=5))]
    early = judge_duet(series, POLICY, error=LOOKS[0].error)[0]
    whole = judge_duet(series, POLICY)[0]
    assert whole.verdict is Verdict.REGRESSED
    assert early.verdict is Verdict.INCONCLUSIVE
    assert early.p_value is not None
    assert early.p_value > POLICY.error
    assert undecided([early, whole]) == [0]


def test_a_pair_without_a_result_is_no_pair_that_more_workers_settle() -> None:
    broken = failed_pair("b", "incorrect", "off by 0.5", POLICY)
    assert broken.reason is Reason.CASE_FAILED
    assert "Arm B gave no valid result (incorrect: off by 0.5)." in broken.explanation
    assert undecided([broken]) == []
    assert failed_pair("a", "throttled", "", POLICY).reason is Reason.THROTTLED


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, -2.0)])
def test_a_ratio_needs_two_positive_finite_medians(a: float, b: float) -> None:
    with pytest.raises(ValueError, match="must be positive and finite"):
        log_ratio(a, b)


def test_a_policy_and_effects_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="smallest_effect is 0"):
        DuetPolicy(smallest_effect=0)
    with pytest.raises(ValueError, match="error is 1"):
        DuetPolicy(error=1)
    with pytest.raises(ValueError, match="finite logarithm"):
        DuetSeries(effects=(math.nan,))


@given(
    st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=20),
    st.floats(0.001, 0.2),
)
def test_exchanging_the_arms_exchanges_the_answer(effects: list[float], smallest: float) -> None:
    policy = DuetPolicy(smallest_effect=smallest)
    forth = judge_duet([DuetSeries(effects=tuple(effects))], policy)[0]
    back = judge_duet([DuetSeries(effects=tuple(-effect for effect in effects))], policy)[0]
    opposite = {Verdict.REGRESSED: Verdict.IMPROVED, Verdict.IMPROVED: Verdict.REGRESSED}
    assert back.verdict is opposite.get(forth.verdict, forth.verdict)
    assert back.launches_to_settle == forth.launches_to_settle


def test_identical_arms_are_called_different_as_rarely_as_promised() -> None:
    generator = np.random.default_rng(7)
    wrong = 0
    for _ in range(2000):
        effects = generator.normal(0, 0.02, LOOKS[1].workers)
        for look in LOOKS:
            found = judge_duet([DuetSeries(effects=tuple(effects[: look.workers]))], POLICY, error=look.error)[0]
            if found.verdict in {Verdict.REGRESSED, Verdict.IMPROVED}:
                wrong += 1
                break
    # 5 % of 2000 is 100 with a standard deviation of 9.7.
    assert wrong <= 130
