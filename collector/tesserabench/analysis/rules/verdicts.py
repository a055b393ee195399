"""A comparison under a policy: the limits of each series from its rule, and what is ignored decides nothing.

This is the one place where rules meet the gate, for runs, for comparisons that people ask for, and for trials.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from tesserabench.analysis.compare import Comparison, Entry, compare, rejudged
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey
from tesserabench.analysis.rules.quality import limited
from tesserabench.analysis.rules.rule import Rule
from tesserabench.analysis.rules.rule_set import RuleSet, SeriesPolicies
from tesserabench.analysis.words import Reason, Verdict

_ONE_SIDED = frozenset({Reason.NO_BASELINE, Reason.MISSING})
"""What only one side has decides nothing anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a comparison is judged by."""

    rules: RuleSet
    name: str = ""
    """`projects/{project}/policies/{revision}`; empty for what is built in."""
    suite: str = ""
    """Suite that the head measured."""
    branch: str = ""
    """Branch that the head belongs to."""
    today: date
    """Decides whether what is ignored until a day still is (UTC)."""

    @property
    def limits(self) -> SeriesPolicies:
        """The gate's limits for each series."""
        return SeriesPolicies(rules=self.rules, branch=self.branch)

    @property
    def overall(self) -> Policy:
        """The gate's limits for the whole: the error that all of its series share."""
        return self.rules.for_run(suite=self.suite, branch=self.branch).policy()

    def ignores(self, rule: Rule) -> bool:
        """Whether what the rule is about decides nothing on this day."""
        return rule.ignore is not None and rule.ignore.holds(self.today)

    def rule_of(self, entry: Entry) -> Rule:
        """The rule of a series that was compared."""
        return self.rules.for_result(entry.series, branch=self.branch)


def compare_under(
    terms: Terms,
    base: ResultSet | None,
    head: ResultSet,
    history: Mapping[SeriesKey, RunNoise] | None = None,
) -> Comparison:
    """The comparison of `head` with `base` under a policy; see `analysis.compare.compare`."""
    return applied(terms, compare(base, head, terms.overall, history, rules=terms.limits))


def applied(terms: Terms, comparison: Comparison) -> Comparison:
    """A comparison that was made with the limits of a policy, with what else the policy says of it.

    Its absolute limits hold or fail the whole; what it ignores decides nothing and says why; each entry names its rule,
    and the whole the policy.
    """
    checked = limited(terms.rules, terms.branch, comparison)
    rules = {entry.series.key: terms.rule_of(entry) for entry in checked.entries}
    ignored = {key: rule for key, rule in rules.items() if terms.ignores(rule)}
    if ignored:
        passed = {
            entry.series.key: _ignored(entry.judgement, ignored[entry.series.key])
            for entry in checked.entries
            if entry.series.key in ignored and entry.judgement.reason not in _ONE_SIDED
        }
        without = (replace(entry, quality=None) if entry.series.key in ignored else entry for entry in checked.entries)
        checked = rejudged(replace(checked, entries=tuple(without)), passed)
    if not terms.name:
        return checked
    entries = tuple(replace(entry, rule=rules[entry.series.key].name) for entry in checked.entries)
    return replace(checked, entries=entries, policy=terms.name)


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
