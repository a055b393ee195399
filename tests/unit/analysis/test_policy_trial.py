"""What a policy would have said: episodes, differences, totals; and steps of histories under two policies."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from tesserabench.analysis.compare import rejudged
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy_histories import PastHistory, search_both, smallest_change
from tesserabench.analysis.policy_trial import Judged, Pair, PastRun, Said, judge_both, with_launches
from tesserabench.analysis.policy_trial_summary import Outcome, summarise
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.rules import Quality, RuleSet
from tesserabench.analysis.rules.units import in_unit
from tesserabench.analysis.rules.verdicts import Terms, applied, compare_under
from tesserabench.analysis.words import Better, Reason, Severity, Verdict

START = datetime(2030, 1, 1, tzinfo=UTC)
HEAD = "apiVersion: tesserabench/v1\nkind: Policy\n"
LEVELS = (1.0, 1.001, 0.999, 1.0005, 0.9995)


def _series(level: float = 0.0, *, better: Better = Better.LOWER, benchmark: str = "gemm") -> SeriesResult:
    launches = tuple(
        Launch(value=level * step, samples=30, log_error=0.0005, place="lab-1/0", comparability="c") for step in LEVELS
    )
    return SeriesResult(
        key=SeriesKey(case_id=f"{benchmark}[n=1]", mode="hot", metric="time", device="X"),
        suite="core",
        benchmark=benchmark,
        parameters={"n": "1"},
        unit="ns",
        primary=True,
        side=Side(launches=launches if level else (), better=better, device_kind="simulated"),
        hosts=("lab-1",),
    )


def _results(level: float) -> ResultSet:
    return ResultSet(label="x", series=(_series(level),))


def _rules(text: str) -> RuleSet:
    return RuleSet.parse(HEAD + text)


def _said(severity: Severity | None, *, verdict: Verdict = Verdict.PASS, alerts: bool = True) -> Said:
    return Said(verdict=Verdict.REGRESSED if severity else verdict, severity=severity, rule="r", alerts=alerts)


def _judged(run_id: int, before: Said, after: Said, kind: str = "gate") -> Judged:
    return Judged(
        run_id=run_id,
        at=START + timedelta(days=run_id),
        line="",
        pairs=(Pair(series=_series(), worsening=0.06, before=before, after=after, kind=kind),),
        verdicts=(before.verdict, after.verdict),
    )


NOTHING, UNDECIDED = _said(None), _said(None, verdict=Verdict.INCONCLUSIVE)
MINOR, MAJOR = _said(Severity.MINOR), _said(Severity.MAJOR)


def test_a_run_is_judged_under_both_policies_and_what_is_ignored_is_no_finding() -> None:
    run = PastRun(run_id=1, at=START, suite="core", branch="main", line="", base=_results(100), head=_results(106))
    judged = judge_both(run, RuleSet(), _rules("rules: [{name: wide, minimum-effect: 9 %}]"))
    (pair,) = judged.pairs
    assert (pair.before.severity, pair.before.rule, pair.before.alerts) == (Severity.MAJOR, "built in", True)
    assert (pair.after.found, pair.after.rule) == (False, "wide")
    assert judged.verdicts == (Verdict.REGRESSED, Verdict.PASS)
    assert pair.worsening == pytest.approx(0.06)
    assert pair.series.side.launches == ()
    flaky = "rules: [{name: a, alert: none, ignore: {reason: flaky, until: %s}}]"
    still = judge_both(run, RuleSet(), _rules(flaky % "2030-01-02")).pairs[0].after
    over = judge_both(run, RuleSet(), _rules(flaky % "2030-01-01")).pairs[0].after
    assert (still.found, over.found, over.alerts) == (False, True, False)


def test_launches_of_a_confirming_run_are_judged_with_the_first_ones() -> None:
    (series,) = with_launches(_results(100), _results(101)).series
    assert len(series.side.launches) == 2 * len(LEVELS)


def test_what_lasts_is_counted_once_and_again_after_it_was_gone() -> None:
    runs = [
        _judged(place, said, NOTHING)
        for place, said in enumerate((MAJOR, MAJOR, UNDECIDED, MAJOR, NOTHING, MAJOR), start=1)
    ]
    trial = summarise(runs)
    assert (trial.before.failed_runs, trial.before.inconclusive_runs) == (4, 1)
    assert (trial.before.findings, trial.before.by_severity, trial.before.alerts) == (2, {Severity.MAJOR: 2}, 2)
    assert [(item.outcome, item.run_id) for item in trial.findings] == [(Outcome.GONE, 1), (Outcome.GONE, 6)]
    assert trial.alerts_per_week(trial.before, START, START + timedelta(weeks=4)) == 0.5
    assert trial.after.findings == 0


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (NOTHING, MINOR, Outcome.NEW),
        (MINOR, NOTHING, Outcome.GONE),
        (MINOR, MAJOR, Outcome.SEVERITY),
        (MINOR, _said(Severity.MINOR, alerts=False), Outcome.ALERT),
        (MINOR, MINOR, None),
    ],
)
def test_how_policies_differ(before: Said, after: Said, outcome: Outcome | None) -> None:
    trial = summarise([_judged(1, before, after)])
    assert [item.outcome for item in trial.findings] == ([outcome] if outcome else [])


def test_a_step_that_the_gate_finds_there_too_is_not_counted_twice() -> None:
    runs = [_judged(place, MAJOR if place == 4 else NOTHING, MAJOR if place == 4 else NOTHING) for place in range(12)]
    told = ((2, MAJOR, MAJOR), (9, MINOR, NOTHING), (11, MINOR, MINOR))
    steps = [_judged(*step, kind="history") for step in told]
    trial = summarise(runs, steps)
    assert (trial.before.findings, trial.after.findings) == (3, 2)
    assert [(item.pair.kind, item.run_id) for item in trial.findings] == [("history", 9)]


def _history(step: float, *, better: Better = Better.LOWER) -> PastHistory:
    # Two levels with a noise of a tenth of a per cent, the second half larger by `step`.
    wobble = (0.0, 0.4, -0.7, 0.9, -0.3, -1.1, 0.6, 0.2, -0.5, 1.0)
    values = tuple(100 * (1 + step * (place >= 20)) * (1 + 0.001 * wobble[place * 7 % 10]) for place in range(40))
    return PastHistory(
        series=_series(better=better),
        branch="main",
        line="",
        run_ids=tuple(range(100, 140)),
        times=tuple(START + timedelta(days=place) for place in range(40)),
        values=values,
        hosts=("lab-1",) * 40,
    )


def test_steps_of_a_history_are_judged_by_both_policies() -> None:
    wide = _rules("rules: [{name: wide, match: {host: lab-1}, minimum-effect: 4 %, alert: none}]")
    (judged,) = search_both([_history(0.03)], RuleSet(), wide, START)
    assert judged.run_id == 120
    (pair,) = judged.pairs
    assert (pair.before.severity, pair.after.severity, pair.after.rule) == (Severity.MINOR, None, "wide")
    assert pair.worsening == pytest.approx(0.03, abs=0.002)
    assert search_both([_history(0.03)], RuleSet(), wide, START + timedelta(days=30)) == []


def test_a_step_to_the_better_is_no_finding_whichever_way_that_is() -> None:
    (lower,) = search_both([_history(-0.06)], RuleSet(), RuleSet(), START)
    (higher,) = search_both([_history(-0.06, better=Better.HIGHER)], RuleSet(), RuleSet(), START)
    assert not lower.pairs[0].before.found
    assert (higher.pairs[0].before.severity, higher.pairs[0].after.severity) == (Severity.MAJOR, Severity.MAJOR)


def test_the_smallest_step_follows_the_smallest_effect_unless_it_is_said() -> None:
    assert smallest_change(RuleSet().for_run(suite="s")) == 0.01
    assert smallest_change(_rules("defaults: {minimum-effect: 6 %}").for_run(suite="s")) == 0.03
    assert smallest_change(_rules("defaults: {smallest-change: 0.5 %}").for_run(suite="s")) == 0.005


def test_a_comparison_names_its_policy_and_the_rule_of_each_series() -> None:
    rules = _rules("rules: [{name: wide, match: {benchmark: gemm}, minimum-effect: 9 %}]")
    terms = Terms(rules=rules, name="projects/default/policies/3", today=date(2030, 1, 1))
    comparison = compare_under(terms, _results(100), _results(106))
    assert (comparison.policy, comparison.entries[0].rule) == ("projects/default/policies/3", "wide")
    unnamed = compare_under(Terms(rules=RuleSet(), today=date(2030, 1, 1)), _results(100), _results(106))
    assert (unnamed.policy, unnamed.entries[0].rule) == ("", "")


@pytest.mark.parametrize(
    ("limit", "unit", "measured", "expected"),
    [
        (2.6, "TB/s", "B/s", 2.6e12),
        (20, "us", "ns", 20_000),
        (20, "", "ns", 20),
        (1, "GiB/s", "B/s", 2.0**30),
        (3, "GFLOP/s", "TFLOP/s", 0.003),
        (3, "B", "B/s", None),
        (3, "parsecs", "B/s", None),
        (3, "parsecs", "parsecs", 3),
    ],
)
def test_limits_are_converted_to_the_unit_that_is_measured(
    limit: float, unit: str, measured: str, expected: float | None
) -> None:
    converted = in_unit(Quality(minimum=limit, unit=unit), measured)
    assert (converted is None) == (expected is None)
    if converted is not None:
        assert converted.minimum == pytest.approx(expected)
        assert converted.maximum is None


LIMIT = "rules: [{name: promise, match: {benchmark: gemm, metric: time}, quality: %s}]"
AT = date(2030, 1, 1)


@pytest.mark.parametrize(
    ("limits", "answer", "verdict", "reason"),
    [
        ("{maximum: 200}", "pass", Verdict.PASS, None),
        ("{maximum: 90}", "fail", Verdict.REGRESSED, Reason.QUALITY_LIMIT),
        ("{maximum: 0.09, unit: us}", "fail", Verdict.REGRESSED, Reason.QUALITY_LIMIT),
        ("{minimum: 0.09, unit: us}", "pass", Verdict.PASS, None),
        ("{minimum: 1, unit: GB/s}", "unknown", Verdict.INCONCLUSIVE, Reason.QUALITY_LIMIT),
    ],
)
def test_an_absolute_limit_holds_fails_the_whole_or_is_unknown(
    limits: str, answer: str, verdict: Verdict, reason: Reason | None
) -> None:
    terms = Terms(rules=_rules(LIMIT % limits), today=AT)
    comparison = compare_under(terms, _results(100), _results(100))
    (entry,) = comparison.entries
    assert entry.quality is not None
    assert (entry.quality.answer.value, comparison.verdict, comparison.reason) == (answer, verdict, reason)
    assert entry.judgement.verdict is Verdict.PASS
    # Summing up anew, as what is known of a regression does, loses nothing.
    assert rejudged(comparison, {}).verdict is verdict
    assert applied(terms, comparison) == comparison


def test_a_limit_needs_nothing_to_compare_with() -> None:
    terms = Terms(rules=_rules(LIMIT % "{maximum: 90}"), today=AT)
    assert compare_under(terms, None, _results(100)).verdict is Verdict.REGRESSED


def test_a_metric_that_was_not_measured_never_passes() -> None:
    rules = _rules("rules: [{name: promise, match: {metric: bandwidth}, quality: {minimum: 2, unit: GB/s}}]")
    comparison = compare_under(Terms(rules=rules, name="p", today=AT), _results(100), _results(100))
    measured, absent = sorted(comparison.entries, key=lambda entry: entry.series.key.metric, reverse=True)
    assert (measured.quality, measured.judgement.verdict) == (None, Verdict.PASS)
    assert (absent.series.key.metric, absent.series.unit, absent.rule) == ("bandwidth", "GB/s", "built in")
    assert absent.quality is not None
    assert absent.quality.answer.value == "unknown"
    assert "Rule 'promise' of the policy limits it, and it was not measured." in absent.judgement.explanation
    assert (comparison.verdict, comparison.reason) == (Verdict.INCONCLUSIVE, Reason.QUALITY_LIMIT)
    assert "1 absolute limit could not be checked: gemm[n=1] bandwidth." in comparison.summary
    # A regression is worse than not knowing.
    assert compare_under(Terms(rules=rules, today=AT), _results(100), _results(120)).verdict is Verdict.REGRESSED


@pytest.mark.parametrize("metric", ["bandwidth", "bandwidth*", "[flops*, bandwidth*]"])
def test_a_limit_on_a_metric_that_no_case_gave_never_passes(metric: str) -> None:
    rules = _rules(f"rules: [{{name: promise, match: {{metric: {metric}}}, quality: {{minimum: 2, unit: GB/s}}}}]")
    terms = Terms(rules=rules, today=AT)
    comparison = compare_under(terms, _results(100), _results(100))
    assert (comparison.verdict, comparison.reason) == (Verdict.INCONCLUSIVE, Reason.QUALITY_LIMIT)
    assert "1 absolute limit could not be checked" in comparison.summary
    assert "bandwidth" in comparison.summary
    assert applied(terms, comparison) == comparison


@pytest.mark.parametrize(
    ("match", "note"),
    [
        ("{suite: core, benchmark: conv, metric: time}", "limits conv time, and nothing like it was measured."),
        # Another suite may have them, or another device.
        ("{suite: other, benchmark: conv}", ""),
        ("{benchmark: conv, metric: time}", ""),
        ("{device: elsewhere, metric: time}", ""),
    ],
)
def test_a_limit_on_a_benchmark_of_the_suite_that_was_not_measured_is_told(match: str, note: str) -> None:
    rules = _rules(f"rules: [{{name: promise, match: {match}, quality: {{maximum: 200}}}}]")
    terms = Terms(rules=rules, today=AT)
    comparison = compare_under(terms, _results(100), _results(100))
    assert comparison.verdict is Verdict.PASS
    assert comparison.notes == ((f"Rule 'promise' of the policy {note}",) if note else ())
    assert applied(terms, comparison) == comparison


def test_what_is_ignored_has_no_limits() -> None:
    rules = _rules("rules: [{name: promise, match: {metric: time}, quality: {maximum: 90}, ignore: known}]")
    comparison = compare_under(Terms(rules=rules, today=AT), _results(100), _results(100))
    assert (comparison.verdict, comparison.entries[0].quality) == (Verdict.PASS, None)


@pytest.mark.parametrize(("noise", "verdict"), [("0.1 %", Verdict.REGRESSED), ("8 %", Verdict.INCONCLUSIVE)])
def test_the_noise_that_a_policy_expects_is_assumed_where_it_cannot_be_measured(noise: str, verdict: Verdict) -> None:
    def once(level: float) -> ResultSet:
        series = _series(level)
        return ResultSet(
            label="x", series=(replace(series, side=replace(series.side, launches=series.side.launches[:1])),)
        )

    rules = _rules(f"rules: [{{name: a, match: {{benchmark: gemm}}, expected-noise: {noise}}}]")
    assert compare_under(Terms(rules=rules, today=AT), once(100), once(112)).verdict is verdict


def test_a_trial_tells_what_an_absolute_limit_would_fail() -> None:
    run = PastRun(run_id=1, at=START, suite="core", branch="main", line="", base=_results(100), head=_results(100))
    judged = judge_both(run, RuleSet(), _rules(LIMIT % "{maximum: 90}"))
    trial = summarise([judged])
    assert (trial.before.failed_runs, trial.after.failed_runs, trial.series) == (0, 1, 1)
    (finding,) = trial.findings
    assert (finding.outcome, finding.pair.kind) == (Outcome.NEW, "quality")
    assert (finding.pair.after.severity, finding.pair.after.rule) == (Severity.CRITICAL, "promise")
    assert (trial.after.findings, trial.after.alerts) == (1, 0)
