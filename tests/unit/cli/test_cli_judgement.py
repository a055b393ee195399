"""Which ending wins, as a function on facts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.cli.commands.compare import require_series
from tesserabench.cli.errors import EmptyResult
from tesserabench.cli.exit_codes import MEANINGS, Ending, ExitCode, ExitMode, code_of_status, status_in_mode
from tesserabench.cli.explanations import OUTCOMES, REASONS
from tesserabench.cli.judgement import ENVIRONMENT_OUTCOMES, Facts, Policy, ending, regression_counts
from tesserabench.cli.output.words import words_of
from tesserabench.v1.comparison_pb2 import Comparison, ComparisonEntry, VerdictReason
from tesserabench.v1.measurement_pb2 import Outcome
from tesserabench.wire.reasons import Reason

STRICT = Policy(fail_on="any", fail_on_inconclusive=True)


def regressed(outcome: str, **failures: int) -> Facts:
    return Facts(outcome=outcome, failures=failures, verdict="regressed", severity="major", regressions=1)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (regressed("cancelled", incorrect=1), ExitCode.CANCELLED),
        (regressed("no_eligible_host"), ExitCode.REGRESSION),
        (regressed("ok", incorrect=1, throttled=1), ExitCode.REGRESSION),
        (Facts(outcome="no_eligible_host", failures={"incorrect": 1}), ExitCode.NO_HOST),
        (Facts(outcome="ok", failures={"incorrect": 1, "throttled": 1}), ExitCode.BENCHMARK_FAILED),
        (Facts(outcome="interrupted"), ExitCode.BENCHMARK_FAILED),
        (Facts(outcome="unsupported"), ExitCode.BENCHMARK_FAILED),
        (Facts(outcome="ok", failures={"unsupported": 3}, verdict="pass"), ExitCode.DONE),
        (Facts(outcome="ok", failures={"throttled": 1}, verdict="inconclusive"), ExitCode.ENVIRONMENT),
        (Facts(outcome="device_lost"), ExitCode.ENVIRONMENT),
        (Facts(outcome="ok", verdict="inconclusive", inconclusive={"throttled": 2}), ExitCode.ENVIRONMENT),
        (
            Facts(outcome="ok", verdict="inconclusive", inconclusive={"throttled": 2, "too_noisy": 1}),
            ExitCode.INCONCLUSIVE,
        ),
        (Facts(outcome="ok", verdict="pass", inconclusive={"too_noisy": 1}), ExitCode.INCONCLUSIVE),
        (Facts(outcome="ok", gated=False), ExitCode.INCONCLUSIVE),
        (Facts(outcome="ok", verdict="improved"), ExitCode.DONE),
    ],
)
def test_first_rule_that_applies_decides(facts: Facts, code: ExitCode) -> None:
    assert ending(facts, STRICT).code is code


@pytest.mark.parametrize(
    ("severity", "fail_on", "counts"),
    [
        ("critical", "none", False),
        ("", "any", True),
        ("", "minor", False),
        ("minor", "minor", True),
        ("minor", "major", False),
        ("major", "major", True),
        ("major", "critical", False),
        ("critical", "critical", True),
    ],
)
def test_severity_counts_from_the_one_that_was_named(severity: str, fail_on: str, counts: bool) -> None:
    assert regression_counts(severity, fail_on) is counts


@given(
    outcome=st.sampled_from(["", *words_of(Outcome)]),
    failures=st.dictionaries(st.sampled_from(words_of(Outcome)), st.integers(1, 9), max_size=3),
    verdict=st.sampled_from(["", "pass", "improved", "regressed", "inconclusive"]),
    severity=st.sampled_from(["", "minor", "major", "critical"]),
    fail_on=st.sampled_from(["none", "any", "minor", "major", "critical"]),
    strict=st.booleans(),
)
def test_regression_at_the_gate_is_hidden_by_a_cancellation_alone(
    outcome: str, failures: dict[str, int], verdict: str, severity: str, fail_on: str, strict: bool
) -> None:
    facts = Facts(outcome=outcome, failures=failures, verdict=verdict, severity=severity)
    found = ending(facts, Policy(fail_on=fail_on, fail_on_inconclusive=strict))
    gated = verdict == "regressed" and regression_counts(severity, fail_on)
    assert (found.code is ExitCode.REGRESSION) == (gated and outcome != "cancelled")
    assert found.sentence


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("UNAUTHENTICATED", "TOKEN_MISSING", 4),
        ("PERMISSION_DENIED", "", 4),
        ("NOT_FOUND", "RUN_NOT_FOUND", 5),
        ("INVALID_ARGUMENT", "UNKNOWN_SUITE", 2),
        ("ALREADY_EXISTS", "SCHEDULE_EXISTS", 2),
        ("FAILED_PRECONDITION", "BASELINE_PINNED", 2),
        ("FAILED_PRECONDITION", "RUN_PENDING", 8),
        ("UNAVAILABLE", "", 7),
        ("DEADLINE_EXCEEDED", "", 7),
        ("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE", 2),
        ("RESOURCE_EXHAUSTED", "", 1),
        ("UNIMPLEMENTED", "", 1),
        ("INTERNAL", "INTERNAL", 1),
        ("SOMETHING_NEW", "", 1),
    ],
)
def test_status_of_a_call_becomes_an_exit_code(status: str, reason: str, code: int) -> None:
    assert code_of_status(status, reason) == code


@pytest.mark.parametrize("code", ExitCode)
@pytest.mark.parametrize("mode", ExitMode)
def test_other_scales_keep_success_and_interrupts(code: ExitCode, mode: ExitMode) -> None:
    status = status_in_mode(Ending(code=code, severity="major"), mode)
    assert (status == 0) == (code is ExitCode.DONE)
    assert status == code or mode is not ExitMode.STANDARD
    if mode is not ExitMode.STANDARD and code is not ExitCode.INTERRUPTED:
        assert status <= (1 if mode is ExitMode.SIMPLE else 4)


def test_everything_stable_is_explained() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert set(REASONS) == set(Reason)
    assert set(OUTCOMES) == set(words_of(Outcome))
    assert set(OUTCOMES) >= ENVIRONMENT_OUTCOMES


def test_two_sides_without_a_series_in_common_pass_no_gate() -> None:
    one_sided = [
        ComparisonEntry(reason=reason)
        for reason in (VerdictReason.VERDICT_REASON_MISSING, VerdictReason.VERDICT_REASON_NO_BASELINE)
    ]
    for entries, said in (([], "neither .* has a result"), (one_sided, "no series in common")):
        with pytest.raises(EmptyResult, match=said):
            require_series(Comparison(entries=entries), allow_empty=False)
        require_series(Comparison(entries=entries), allow_empty=True)
    require_series(Comparison(entries=[*one_sided, ComparisonEntry()]), allow_empty=False)
