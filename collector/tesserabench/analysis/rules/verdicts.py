"""A comparison under a policy: the limits of each series from its rule, and what is ignored decides nothing.

This is the one place where rules meet the gate, for runs, for comparisons that people ask for, and for trials.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from tesserabench.analysis.compare import Comparison, compare, rejudged
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.results import ResultSet, SeriesKey
from tesserabench.analysis.rules.rule import Rule
from tesserabench.analysis.rules.rule_set import RuleSet, SeriesPolicies
from tesserabench.analysis.words import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a comparison is judged by."""

    rules: RuleSet
    branch: str = ""
    """Branch that the head belongs to."""
    today: date
    """Decides whether what is ignored until a day still is (UTC)."""

    def rules_of(self, comparison: Comparison) -> dict[SeriesKey, Rule]:
        """The rule of each series of a comparison."""
        return {
            entry.series.key: self.rules.for_result(entry.series, branch=self.branch) for entry in comparison.entries
        }


def compare_under(
    terms: Terms,
    base: ResultSet | None,
    head: ResultSet,
    history: Mapping[SeriesKey, RunNoise] | None = None,
) -> Comparison:
    """The comparison of `head` with `base` under a policy; see `analysis.compare.compare`."""
    limits = SeriesPolicies(rules=terms.rules, branch=terms.branch)
    overall = terms.rules.for_run(suite="", branch=terms.branch).policy()
    comparison = compare(base, head, overall, history, rules=limits)
    return without_ignored(terms, comparison)


def without_ignored(terms: Terms, comparison: Comparison) -> Comparison:
    """The comparison in which what the policy ignores decides nothing, and says why."""
    passed: dict[SeriesKey, Judgement] = {}
    for entry in comparison.entries:
        rule = terms.rules.for_result(entry.series, branch=terms.branch)
        if rule.ignore is not None and rule.ignore.holds(terms.today):
            passed[entry.series.key] = _ignored(entry.judgement, rule)
    return rejudged(comparison, passed) if passed else comparison


def _ignored(judgement: Judgement, rule: Rule) -> Judgement:
    assert rule.ignore is not None
    until = f" until {rule.ignore.until.isoformat()}" if rule.ignore.until else ""
    origin = rule.origin("ignore").rule
    return replace(
        judgement,
        verdict=Verdict.PASS,
        reason=None,
        severity=None,
        explanation=f"{judgement.explanation} Ignored{until} by rule {origin!r} of the policy: {rule.ignore.reason}",
        recommendation="",
    )
