import pytest
from tesserabench.analysis.compare import compare, rejudged
from tesserabench.analysis.confirmation import Answer, confirm
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import Failure, ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.words import Better, Reason, Severity, Verdict

POLICY = Policy()
STEPS = (0.999, 1.0, 1.001, 0.9995, 1.0005)
KEY = SeriesKey(case_id="gemm", mode="cold", metric="time", device="H100")


def results(level: float, *, spread: float = 1, outcome: str = "ok") -> ResultSet:
    launches = tuple(
        Launch(value=level * (1 + spread * (step - 1)), samples=30, place="gpu0", comparability="a", outcome=outcome)
        for step in STEPS
    )
    side = Side(launches=launches, better=Better.LOWER, device_kind="cuda")
    item = SeriesResult(
        key=KEY, suite="core", benchmark="gemm", parameters={}, unit="ns", primary=True, side=side, hosts=("n",)
    )
    return ResultSet(label="", series=(item,))


def failed() -> ResultSet:
    launch = Launch(value=None, outcome="device_error", reason="signal 11")
    failure = Failure(case_id="gemm", mode="cold", suite="core", benchmark="gemm", parameters={}, launch=launch)
    return ResultSet(label="", failures=(failure,))


@pytest.mark.parametrize(
    ("again", "answer", "verdict", "reason"),
    [
        (results(1.10), Answer.REPRODUCED, Verdict.REGRESSED, None),
        (results(1.25), Answer.REPRODUCED, Verdict.REGRESSED, None),
        (results(1.03, spread=12), Answer.REPRODUCED, Verdict.REGRESSED, None),
        (results(1.0), Answer.NOT_REPRODUCED, Verdict.INCONCLUSIVE, Reason.NOT_REPRODUCED),
        (results(0.8), Answer.NOT_REPRODUCED, Verdict.INCONCLUSIVE, Reason.NOT_REPRODUCED),
        (results(1.05, spread=100), Answer.NOT_CONFIRMED, Verdict.INCONCLUSIVE, Reason.NOT_CONFIRMED),
        (results(1.10, outcome="throttled"), Answer.NOT_CONFIRMED, Verdict.INCONCLUSIVE, Reason.NOT_CONFIRMED),
        (failed(), Answer.NOT_CONFIRMED, Verdict.INCONCLUSIVE, Reason.NOT_CONFIRMED),
        (ResultSet(label=""), Answer.NOT_CONFIRMED, Verdict.INCONCLUSIVE, Reason.NOT_CONFIRMED),
    ],
)
def test_second_look_decides(again: ResultSet, answer: Answer, verdict: Verdict, reason: Reason | None) -> None:
    confirmation = confirm(results(1.0), results(1.10), again, [KEY], policy=POLICY)[KEY]
    assert (confirmation.answer, confirmation.judgement.verdict) == (answer, verdict)
    assert confirmation.judgement.reason is reason
    assert confirmation.judgement.explanation


def test_evidence_rests_on_both_looks() -> None:
    judgement = confirm(results(1.0), results(1.06), results(1.10), [KEY], policy=POLICY)[KEY].judgement
    assert judgement.change == pytest.approx(0.08, abs=0.001)
    assert judgement.severity is Severity.MAJOR


def test_why_it_was_not_confirmed_is_told() -> None:
    judgement = confirm(results(1.0), results(1.10), failed(), [KEY], policy=POLICY)[KEY].judgement
    assert "signal 11" in judgement.explanation


def test_a_series_that_one_side_lacks_gets_no_answer() -> None:
    assert confirm(ResultSet(label=""), results(1.10), results(1.10), [KEY], policy=POLICY) == {}


def test_a_comparison_follows_its_second_looks() -> None:
    comparison = compare(results(1.0), results(1.10), POLICY)
    assert comparison.verdict is Verdict.REGRESSED
    confirmation = confirm(results(1.0), results(1.10), results(1.0), [KEY], policy=POLICY)[KEY]
    again = rejudged(comparison, {KEY: confirmation.judgement})
    assert (again.verdict, again.reason, again.severity) == (Verdict.INCONCLUSIVE, Reason.NOT_REPRODUCED, None)
    assert "1 inconclusive" in again.summary
