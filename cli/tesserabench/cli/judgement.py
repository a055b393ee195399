"""From a finished run, or a comparison, to how a command ends. Pure; docs/decisions/ tells why in this order.

Order: cancelled, regression, no eligible host, failed benchmark, invalid environment, inconclusive, done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tesserabench.cli.exit_codes import Ending, ExitCode
from tesserabench.cli.output.words import word
from tesserabench.report.quantity import change
from tesserabench.v1.comparison_pb2 import Comparison, ComparisonEntry, QualityAnswer, VerdictReason
from tesserabench.v1.measurement_pb2 import Outcome
from tesserabench.v1.run_pb2 import Run, Severity, Verdict

_SEVERITY_RANKS = {"": 0, "minor": 1, "major": 2, "critical": 3}
_FAIL_ON_RANKS = {"any": 0, "minor": 1, "major": 2, "critical": 3}

ENVIRONMENT_OUTCOMES = frozenset({"busy", "throttled", "device_lost"})
"""Outcomes that say something about the machine, not about the measured code: another host may do better."""

_HARMLESS_OUTCOMES = frozenset({"", "ok", "unsupported"})
_ENVIRONMENT_REASONS = frozenset({"environment_mismatch", "throttled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a pipeline wants to be stopped by. `fail_on`: none, any, minor, major or critical."""

    fail_on: str = "none"
    fail_on_inconclusive: bool = False
    fail_on_error: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known at the end, as words. `failures` counts cases by outcome, `inconclusive` series by reason."""

    outcome: str = ""
    reason: str = ""
    failures: Mapping[str, int] = field(default_factory=dict)
    verdict: str = ""
    severity: str = ""
    regressions: int = 0
    worst: str = ""
    inconclusive: Mapping[str, int] = field(default_factory=dict)
    beyond_limits: int = 0
    """Values beyond an absolute limit."""
    gated: bool = True


def facts_of_run(run: Run, comparison: Comparison | None) -> Facts:
    """The facts of a finished run."""
    judged = facts_of_comparison(comparison) if comparison is not None else Facts(gated=False)
    return Facts(
        outcome=word(Outcome, run.outcome),
        reason=run.reason,
        failures=dict(run.failures),
        verdict=word(Verdict, run.verdict) or judged.verdict,
        severity=word(Severity, run.severity) or judged.severity,
        regressions=judged.regressions,
        worst=judged.worst,
        inconclusive=judged.inconclusive,
        beyond_limits=judged.beyond_limits,
        gated=judged.gated,
    )


def facts_of_comparison(comparison: Comparison) -> Facts:
    """The facts of a comparison; only primary metrics decide."""
    primary = [entry for entry in comparison.entries if entry.primary]
    regressed = [entry for entry in primary if entry.verdict == Verdict.VERDICT_REGRESSED]
    inconclusive: dict[str, int] = {}
    failed = 0
    for entry in primary:
        if entry.verdict != Verdict.VERDICT_INCONCLUSIVE:
            continue
        if entry.reason == VerdictReason.VERDICT_REASON_CASE_FAILED:
            failed += 1
        else:
            why = word(VerdictReason, entry.reason) or "no reason given"
            inconclusive[why] = inconclusive.get(why, 0) + 1
    answers = [limit.answer for entry in comparison.entries for limit in entry.quality]
    if unknown := answers.count(QualityAnswer.QUALITY_ANSWER_UNKNOWN):
        inconclusive["absolute limit not checked"] = unknown
    return Facts(
        failures={"without a valid result": failed} if failed else {},
        verdict=word(Verdict, comparison.verdict),
        severity=word(Severity, comparison.severity),
        regressions=len(regressed),
        worst=_described(worst_of(regressed)) if regressed else "",
        inconclusive=inconclusive,
        beyond_limits=answers.count(QualityAnswer.QUALITY_ANSWER_FAIL),
    )


def worst_of(entries: list[ComparisonEntry]) -> ComparisonEntry:
    """The entry with the highest severity, and of those the largest change."""
    return max(entries, key=lambda entry: (entry.severity, abs(entry.change)))


def ending(facts: Facts, policy: Policy) -> Ending:
    """How a command ends that was asked to judge."""
    for rule in (_cancelled, _regressed, _without_host, _failed, _in_bad_environment, _inconclusive):
        if found := rule(facts, policy):
            return found
    return Ending(code=ExitCode.DONE, sentence=_passed(facts, policy))


def regression_counts(severity: str, fail_on: str) -> bool:
    """Whether a regression of this severity fails a gate with this `--fail-on`."""
    return fail_on != "none" and _SEVERITY_RANKS.get(severity, 0) >= _FAIL_ON_RANKS[fail_on]


def _cancelled(facts: Facts, policy: Policy) -> Ending | None:
    del policy
    if facts.outcome != "cancelled":
        return None
    return Ending(code=ExitCode.CANCELLED, sentence=f"the run was cancelled{_because(facts.reason)}")


def _regressed(facts: Facts, policy: Policy) -> Ending | None:
    if facts.verdict != "regressed" or not regression_counts(facts.severity, policy.fail_on):
        return None
    if facts.beyond_limits and not facts.regressions:
        values = "1 value" if facts.beyond_limits == 1 else f"{facts.beyond_limits} values"
        sentence = f"gate failed: {values} beyond an absolute limit (--fail-on {policy.fail_on})"
        return Ending(code=ExitCode.REGRESSION, sentence=sentence, severity=facts.severity)
    series = "1 regression" if facts.regressions == 1 else f"{facts.regressions or 'some'} regressions"
    worst = f": {facts.worst}" if facts.worst else ""
    sentence = f"gate failed: {series}, the worst {facts.severity or 'below 2 %'}{worst} (--fail-on {policy.fail_on})"
    return Ending(code=ExitCode.REGRESSION, sentence=sentence, severity=facts.severity)


def _without_host(facts: Facts, policy: Policy) -> Ending | None:
    del policy
    if facts.outcome != "no_eligible_host":
        return None
    remedy = "; tbctl node list shows the hosts, tbctl run trigger --dry-run which of them match"
    return Ending(code=ExitCode.NO_HOST, sentence=f"no eligible host took the run{_because(facts.reason)}{remedy}")


def _failed(facts: Facts, policy: Policy) -> Ending | None:
    bad = {
        outcome: count
        for outcome, count in facts.failures.items()
        if outcome not in ENVIRONMENT_OUTCOMES | _HARMLESS_OUTCOMES
    }
    whole = facts.outcome if facts.outcome not in ENVIRONMENT_OUTCOMES | _HARMLESS_OUTCOMES else ""
    # A run in which nothing could run is no success, even if each case alone is merely unsupported.
    whole = whole or ("unsupported" if facts.outcome == "unsupported" else "")
    if not policy.fail_on_error or not (bad or whole):
        return None
    counted = _counted(bad) or whole
    return Ending(code=ExitCode.BENCHMARK_FAILED, sentence=f"benchmarks failed: {counted}{_because(facts.reason)}")


def _in_bad_environment(facts: Facts, policy: Policy) -> Ending | None:
    bad = {outcome: count for outcome, count in facts.failures.items() if outcome in ENVIRONMENT_OUTCOMES}
    whole = facts.outcome if facts.outcome in ENVIRONMENT_OUTCOMES else ""
    if not policy.fail_on_error or not (bad or whole):
        return None
    counted = _counted(bad) or whole
    return Ending(code=ExitCode.ENVIRONMENT, sentence=f"the environment was invalid: {counted}{_because(facts.reason)}")


def _inconclusive(facts: Facts, policy: Policy) -> Ending | None:
    open_question = facts.verdict in {"", "inconclusive"} or facts.inconclusive
    if not policy.fail_on_inconclusive or not open_question:
        return None
    counted = _counted(facts.inconclusive) or ("nothing was judged" if not facts.gated else "no reason given")
    if facts.inconclusive and set(facts.inconclusive) <= _ENVIRONMENT_REASONS:
        return Ending(code=ExitCode.ENVIRONMENT, sentence=f"the environments do not compare: {counted}")
    return Ending(code=ExitCode.INCONCLUSIVE, sentence=f"gate inconclusive: {counted}")


def _passed(facts: Facts, policy: Policy) -> str:
    if not facts.gated:
        return "not judged"
    if facts.verdict == "regressed":
        if policy.fail_on == "none":
            return "regressions found; no gate was asked for (--fail-on)"
        return f"gate passed: {facts.severity or 'the'} regressions are below --fail-on {policy.fail_on}"
    if facts.verdict == "inconclusive":
        why = _counted(facts.inconclusive) or "no reason given"
        return f"gate inconclusive: {why}; not a failure without --fail-on-inconclusive"
    return "gate passed"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


def _because(reason: str) -> str:
    return f" ({' '.join(reason.split())})" if reason else ""


def _described(entry: ComparisonEntry) -> str:
    return f"{entry.case.id} {entry.metric} {change(entry.change if entry.HasField('change') else None)}"
