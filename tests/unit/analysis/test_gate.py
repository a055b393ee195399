import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.analysis.gate import judge
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.words import Better, Reason, Severity, Verdict

POLICY = Policy()
QUIET = (0.999, 1.0, 1.001, 0.9995, 1.0005)


def side(*values: float, better: Better = Better.LOWER, kind: str = "cuda", **fields: object) -> Side:
    defaults: dict[str, object] = {"samples": 30, "log_error": 0.001, "place": "gpu0", "comparability": "a"}
    launches = tuple(Launch(value=value, **(defaults | fields)) for value in values)  # type: ignore[arg-type]
    return Side(launches=launches, better=better, device_kind=kind)


def scaled(factor: float, **fields: object) -> Side:
    return side(*(factor * value for value in QUIET), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("factor", "verdict", "severity"),
    [
        (1.0, Verdict.PASS, None),
        (1.01, Verdict.PASS, None),
        (1.04, Verdict.REGRESSED, Severity.MINOR),
        (1.05, Verdict.REGRESSED, Severity.MAJOR),
        (1.07, Verdict.REGRESSED, Severity.MAJOR),
        (1.10, Verdict.REGRESSED, Severity.CRITICAL),
        (2.0, Verdict.REGRESSED, Severity.CRITICAL),
        (0.99, Verdict.PASS, None),
        (0.95, Verdict.IMPROVED, None),
    ],
)
def test_a_time_is_judged_by_how_much_it_grew(factor: float, verdict: Verdict, severity: Severity | None) -> None:
    judgement = judge(side(*QUIET), scaled(factor), POLICY)
    assert (judgement.verdict, judgement.severity) == (verdict, severity)
    assert judgement.change == pytest.approx(factor - 1, abs=1e-9)
    assert judgement.change_low is not None
    assert judgement.change_high is not None
    assert judgement.change_low < factor - 1 < judgement.change_high


def test_a_rate_is_judged_by_how_much_it_fell() -> None:
    judgement = judge(side(*QUIET, better=Better.HIGHER), scaled(1 / 1.10, better=Better.HIGHER), POLICY)
    assert (judgement.verdict, judgement.severity) == (Verdict.REGRESSED, Severity.CRITICAL)
    assert judgement.change == pytest.approx(1 / 1.10 - 1)
    assert judgement.worsening == pytest.approx(0.10)
    assert (
        judge(side(*QUIET, better=Better.HIGHER), scaled(1.2, better=Better.HIGHER), POLICY).verdict is Verdict.IMPROVED
    )


def test_time_and_its_rate_get_the_same_answer() -> None:
    for factor in (0.9, 1.0, 1.03, 1.06, 1.3):
        time = judge(side(*QUIET), scaled(factor), POLICY)
        base = side(*(1 / value for value in QUIET), better=Better.HIGHER)
        rate = judge(base, side(*(1 / (factor * value) for value in QUIET), better=Better.HIGHER), POLICY)
        assert (time.verdict, time.severity) == (rate.verdict, rate.severity)
        assert time.p_value == pytest.approx(rate.p_value)


def test_a_secondary_metric_must_change_half_as_much_again() -> None:
    assert judge(side(*QUIET), scaled(1.029), POLICY, primary=True).verdict is Verdict.REGRESSED
    secondary = judge(side(*QUIET), scaled(1.029), POLICY, primary=False)
    assert secondary.verdict is Verdict.PASS
    assert secondary.minimum_effect == pytest.approx(0.03)
    assert judge(side(*QUIET), scaled(1.06), POLICY, primary=False).severity is Severity.MINOR


def test_a_change_that_is_sure_but_smaller_than_matters_is_no_regression() -> None:
    base = side(*(1 + 1e-5 * step for step in range(10)))
    judgement = judge(base, side(*(1.015 + 1e-5 * step for step in range(10))), POLICY)
    assert judgement.verdict is Verdict.PASS


def test_noise_makes_it_inconclusive_and_says_what_would_settle_it() -> None:
    base = side(0.9, 1.0, 1.1, 0.95, 1.05)
    judgement = judge(base, side(0.93, 1.04, 1.14, 0.99, 1.09), POLICY)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_NOISY)
    assert judgement.smallest_visible_change is not None
    assert judgement.smallest_visible_change > 0.1
    assert judgement.recommendation


KNOWN = RunNoise(deviation=0.003, degrees=20)


@pytest.mark.parametrize(("factor", "verdict"), [(1.06, Verdict.REGRESSED), (1 / 1.06, Verdict.IMPROVED)])
def test_more_launches_that_would_settle_it_do_settle_it(factor: float, verdict: Verdict) -> None:
    spread = (0.97, 1.0, 1.03)
    judgement = judge(side(*spread), side(*(factor * value for value in spread)), POLICY, history=KNOWN)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.launches_to_settle is not None
    more = (spread * judgement.launches_to_settle)[: judgement.launches_to_settle]
    assert f"{judgement.launches_to_settle} launches" in judgement.recommendation
    settled = judge(side(*more), side(*(factor * value for value in more)), POLICY, history=KNOWN)
    assert settled.verdict is verdict


RESTLESS = (0.992, 1.0, 1.008, 0.995, 1.005)


@pytest.mark.parametrize(("factor", "word"), [(1.035, "Worse: +3.5 %"), (1 / 1.035, "Better: -3.4 %")])
def test_what_two_runs_may_be_apart_is_no_finding_while_nothing_tells_how_much_runs_differ(
    factor: float, word: str
) -> None:
    head = side(*(factor * value for value in RESTLESS))
    judgement = judge(side(*RESTLESS), head, POLICY)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.BASE_MEASURED_ONCE)
    assert judgement.explanation.startswith(word)
    assert "the base was measured once" in judgement.explanation
    assert "--confirm" in judgement.recommendation
    assert (judgement.severity, judgement.confirmed) == (None, False)
    # A history that tells it decides; a change beyond what runs may differ by needs none.
    known = judge(side(*RESTLESS), head, POLICY, history=RunNoise(deviation=0.002, degrees=20))
    assert known.verdict is (Verdict.REGRESSED if factor > 1 else Verdict.IMPROVED)
    large = judge(side(*RESTLESS), side(*(factor**2 * value for value in RESTLESS)), POLICY)
    assert large.verdict is known.verdict


def test_a_change_that_counts_is_no_more_likely_by_chance_than_the_gate_may_err() -> None:
    # What is told of chance is meant for runs that differ by as much as they may.
    judgement = judge(side(*RESTLESS), side(*(1.035 * value for value in RESTLESS)), POLICY)
    assert judgement.p_value is not None
    assert judgement.p_value > POLICY.false_alarm


@pytest.mark.parametrize("factor", [2.75, 1 / 2.75])
def test_a_restless_machine_hides_a_tenth_and_not_a_multiple(factor: float) -> None:
    restless = (0.8, 1.0, 1.25, 0.9, 1.1)
    base = side(*restless, kind="cpu")
    tenth = judge(base, side(*(1.10 * value for value in restless), kind="cpu"), POLICY)
    assert (tenth.verdict, tenth.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_NOISY)
    multiple = judge(base, side(*(factor * value for value in restless), kind="cpu"), POLICY)
    assert multiple.verdict is (Verdict.REGRESSED if factor > 1 else Verdict.IMPROVED)


def test_iterations_of_one_launch_are_no_replicates() -> None:
    base = side(1.0, samples=10_000, log_error=1e-5, kind="cpu")
    judgement = judge(base, side(1.06, samples=10_000, log_error=1e-5, kind="cpu"), POLICY)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_NOISY)


def test_one_launch_shows_a_large_change_on_a_gpu() -> None:
    judgement = judge(side(1.0, samples=100), side(1.10, samples=100), POLICY)
    assert judgement.verdict is Verdict.REGRESSED


def test_history_that_is_quieter_than_assumed_lets_one_launch_speak() -> None:
    base, head = side(1.0, kind="cpu"), side(1.06, kind="cpu")
    assert judge(base, head, POLICY).verdict is Verdict.INCONCLUSIVE
    assert judge(base, head, POLICY, history=RunNoise(deviation=0.005, degrees=20)).verdict is Verdict.REGRESSED


def test_history_that_is_noisier_than_the_launches_is_believed() -> None:
    assert judge(side(*QUIET), scaled(1.06), POLICY).verdict is Verdict.REGRESSED
    judgement = judge(side(*QUIET), scaled(1.06), POLICY, history=RunNoise(deviation=0.03, degrees=10))
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_NOISY)


def test_launches_that_happen_to_agree_are_not_taken_for_certainty() -> None:
    judgement = judge(side(1.0, 1.0, 1.0), side(1.0202, 1.0202, 1.0202), POLICY)
    assert (judgement.verdict, judgement.confirmed) == (Verdict.REGRESSED, False)
    assert judgement.change_low is not None
    assert judgement.change_low < 0.015
    assert judgement.p_value is not None
    assert 0 < judgement.p_value < 1


def test_devices_are_compared_with_themselves() -> None:
    def fleet(factor: float) -> Side:
        fast, slow = side(*QUIET, place="gpu0"), side(*(1.3 * value for value in QUIET), place="gpu1")
        launches = fast.launches + slow.launches
        return replace(fast, launches=tuple(replace(launch, value=factor * (launch.value or 0)) for launch in launches))

    assert judge(fleet(1.0), fleet(1.05), POLICY).verdict is Verdict.REGRESSED
    assert judge(fleet(1.0), fleet(1.0), POLICY).verdict is Verdict.PASS


def test_a_sibling_device_is_no_proof_of_a_small_change() -> None:
    judgement = judge(side(*QUIET), scaled(1.05, place="gpu7"), POLICY)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, Reason.TOO_NOISY)
    assert "same device" in judgement.recommendation
    assert judge(side(*QUIET), scaled(1.30, place="gpu7"), POLICY).verdict is Verdict.REGRESSED


@pytest.mark.parametrize(
    ("base", "head", "reason"),
    [
        (None, scaled(1.5), Reason.NO_BASELINE),
        (side(), scaled(1.5), Reason.NO_BASELINE),
        (side(*QUIET), None, Reason.MISSING),
        (side(*QUIET), scaled(1.5, comparability="b"), Reason.ENVIRONMENT_MISMATCH),
        (side(*QUIET), scaled(1.5, outcome="throttled"), Reason.THROTTLED),
        (scaled(1.0, outcome="throttled"), scaled(1.5), Reason.THROTTLED),
        (side(*QUIET), scaled(1.5, outcome="incorrect", reason="off by 3"), Reason.CASE_FAILED),
        (scaled(1.0, outcome="timeout"), scaled(1.5), Reason.CASE_FAILED),
        (side(*QUIET), side(1.5, samples=4), Reason.TOO_FEW_SAMPLES),
        (side(1.0, samples=4), scaled(1.5), Reason.TOO_FEW_SAMPLES),
        (side(*QUIET), side(1.5, math.nan, 1.5), Reason.CASE_FAILED),
        (side(*QUIET), side(1.5, math.inf, 1.5), Reason.CASE_FAILED),
        (side(*QUIET), side(0.0, 1.5, 1.5), Reason.CASE_FAILED),
        (side(-1.0, -2.0, -1.5), scaled(1.5), Reason.CASE_FAILED),
    ],
)
def test_what_cannot_be_compared_is_neither_passed_nor_failed(
    base: Side | None, head: Side | None, reason: Reason
) -> None:
    judgement = judge(base, head, POLICY)
    assert (judgement.verdict, judgement.reason, judgement.severity) == (Verdict.INCONCLUSIVE, reason, None)
    assert judgement.explanation
    assert judgement.recommendation
    assert judgement.change is None
    assert judgement.p_value is None


def test_one_failed_launch_of_the_head_is_not_hidden_by_the_others() -> None:
    head = scaled(1.0)
    crashed = Launch(value=None, outcome="device_error", reason="signal 11", comparability="a", place="gpu0")
    judgement = judge(side(*QUIET), replace(head, launches=(*head.launches, crashed)), POLICY)
    assert judgement.reason is Reason.CASE_FAILED
    assert "1 of 6 launches" in judgement.explanation
    assert "signal 11" in judgement.explanation


def test_throttled_launches_are_left_out_while_enough_remain() -> None:
    head = scaled(1.0)
    hot = Launch(value=1.5, samples=30, outcome="throttled", comparability="a", place="gpu0")
    assert judge(side(*QUIET), replace(head, launches=(*head.launches, hot)), POLICY).verdict is Verdict.PASS


def test_launches_in_environments_that_both_sides_have_are_compared() -> None:
    mixed = scaled(1.0).launches + scaled(3.0, comparability="b").launches
    assert judge(side(*QUIET), replace(scaled(1.0), launches=mixed), POLICY).verdict is Verdict.PASS


def test_a_count_that_stays_zero_has_not_changed() -> None:
    judgement = judge(side(0.0, 0.0, 0.0), side(0.0, 0.0, 0.0), POLICY)
    assert judgement.verdict is Verdict.PASS
    assert judgement.change is None


values = st.lists(st.floats(min_value=1e-12, max_value=1e12), min_size=1, max_size=6)


@given(base=values, head=values, kind=st.sampled_from(["cuda", "cpu", "simulated", ""]), primary=st.booleans())
def test_every_positive_number_gets_a_coherent_answer(
    base: list[float], head: list[float], kind: str, primary: bool
) -> None:
    judgement = judge(side(*base, kind=kind), side(*head, kind=kind), POLICY, primary=primary)
    assert judgement.explanation
    assert judgement.change is not None
    assert judgement.change_low is not None
    assert judgement.change_high is not None
    assert judgement.change_low <= judgement.change <= judgement.change_high
    assert judgement.p_value is not None
    assert 0 <= judgement.p_value <= 1
    assert (judgement.severity is not None) == (judgement.verdict is Verdict.REGRESSED)
    assert (judgement.reason is not None) == (judgement.verdict is Verdict.INCONCLUSIVE)
    if judgement.verdict is Verdict.REGRESSED:
        assert judgement.p_value <= POLICY.false_alarm
        assert judgement.change >= judgement.minimum_effect * (1 - 1e-9)
        assert judgement.change_low > 0
        assert judgement.confirmed == (judgement.change_low > judgement.minimum_effect)


@given(base=values, head=values)
def test_swapping_the_sides_never_leaves_a_regression_a_regression(base: list[float], head: list[float]) -> None:
    forward = judge(side(*base), side(*head), POLICY).verdict
    backward = judge(side(*head), side(*base), POLICY).verdict
    assert (forward is Verdict.REGRESSED) == (backward is Verdict.IMPROVED)
    assert not (forward is Verdict.REGRESSED and backward is Verdict.REGRESSED)


def test_a_base_off_its_own_history_is_told_from_noise() -> None:
    history = RunNoise(deviation=0.002, degrees=20, level=math.log(1.08), runs=20)
    judgement = judge(side(*QUIET), scaled(1.08), POLICY, history=history)
    assert (judgement.verdict, judgement.launches_to_settle) == (Verdict.INCONCLUSIVE, None)
    assert "+8.0 %" in judgement.explanation
    assert "+0.00 % against the level of its history" in judgement.explanation
    better = Better.HIGHER
    judgement = judge(side(*QUIET, better=better), scaled(1 / 1.08, better=better), POLICY, history=history)
    assert judgement.verdict is Verdict.REGRESSED, "worse than the base and than its history"
    history = replace(history, level=-math.log(1.08))
    judgement = judge(side(*QUIET, better=better), scaled(1 / 1.08, better=better), POLICY, history=history)
    assert "-7.4 % (95 %" in judgement.explanation
    assert "+0.00 % against the level" in judgement.explanation
