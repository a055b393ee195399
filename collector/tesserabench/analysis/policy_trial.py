"""What a policy would have said of the past, beside what another one says of it.

Runs are judged again from what they measured and from what was known then, and histories are searched again for steps.
A policy changes what was said of a result only where judging it again says something else than judging it again under
the policy of then: what the looks showed, what people had answered and what a slow machine excused stands. What lasts
for several runs counts once, as it would have alerted once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from tesserabench.analysis.compare import Comparison, Entry, Rules, compare, rejudged
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.quality import QualityAnswer
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.rules import Alert, RuleSet
from tesserabench.analysis.rules.rule import BUILT_IN
from tesserabench.analysis.rules.verdicts import Terms, applied
from tesserabench.analysis.words import Severity, Verdict

GATE, QUALITY, HISTORY = "gate", "quality", "history"


class Circumstances(Protocol):
    """What else was known when a run was judged, whatever the policy. Travels to another process."""

    def limits(self, rules: Rules) -> Rules:
        """The limits of a policy as they held then."""

    def settled(self, comparison: Comparison) -> Comparison:
        """A comparison without what was excused or answered then."""


class Unknown:
    """Nothing else was known."""

    def limits(self, rules: Rules) -> Rules:
        """The limits as they are."""
        return rules

    def settled(self, comparison: Comparison) -> Comparison:
        """The comparison as it is."""
        return comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The verdict that a run was given."""

    rules: RuleSet
    """The policy that judged it."""
    verdict: Verdict
    entries: Mapping[SeriesKey, tuple[Verdict, Severity | None]] = field(default_factory=dict)
    quality: Mapping[SeriesKey, QualityAnswer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """What a run measured, with everything that its verdict rested on."""

    run_id: int
    at: datetime
    """When it was asked for."""
    suite: str
    branch: str
    line: str
    """What its findings are kept under: empty for the project's default branch."""
    base: ResultSet | None
    head: ResultSet
    """With the launches of the runs that measured parts of it again."""
    history: Mapping[SeriesKey, RunNoise] = field(default_factory=dict)
    known: Circumstances = field(default_factory=Unknown)
    given: Given | None = None
    """None where only judging it again tells."""


def with_launches(head: ResultSet, again: ResultSet) -> ResultSet:
    """What a run measured, with the launches of a run that measured parts of it again."""
    more = {series.key: series.side.launches for series in again.series}
    series = tuple(
        replace(one, side=replace(one.side, launches=one.side.launches + more.get(one.key, ()))) for one in head.series
    )
    return replace(head, series=series)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a policy says of one series in one run."""

    verdict: Verdict
    severity: Severity | None = None
    rule: str
    """The rule that decides the smallest change that matters."""
    alerts: bool = False
    """Whether it would fire an alert, were it a finding."""

    @property
    def found(self) -> bool:
        """Whether it is a finding."""
        return self.verdict is Verdict.REGRESSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What both policies say of one series in one run."""

    series: SeriesResult
    worsening: float | None
    before: Said
    after: Said
    kind: str = GATE
    """`gate` for a change, `quality` for an absolute limit, `history` for a step of a history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What both policies say of one run."""

    run_id: int
    at: datetime
    line: str
    pairs: tuple[Pair, ...]
    """Of primary metrics, which alone become findings."""
    verdicts: tuple[Verdict, Verdict]


def judge_both(run: PastRun, current: RuleSet, candidate: RuleSet) -> Judged:
    """A run of the past under the policy in force and under another one."""
    then = _judged_again(run, run.given.rules) if run.given else None
    sides = []
    for rules in (current, candidate):
        again = then if then and run.given and rules == run.given.rules else _judged_again(run, rules)
        sides.append(_as_given(run.given, then, again) if run.given and then else again)
    before, after = sides
    terms_before, terms_after = (_terms(run, rules) for rules in (current, candidate))
    later = {entry.series.key: entry for entry in after.entries}
    pairs = [
        Pair(
            series=_slim(entry.series),
            worsening=entry.judgement.worsening,
            before=_said(entry, terms_before, run.line),
            after=_said(later[entry.series.key], terms_after, run.line),
        )
        for entry in before.entries
        if entry.series.primary and entry.series.key in later
    ]
    pairs += _limits(before, after)
    return Judged(
        run_id=run.run_id, at=run.at, line=run.line, pairs=tuple(pairs), verdicts=(before.verdict, after.verdict)
    )


def _terms(run: PastRun, rules: RuleSet) -> Terms:
    return Terms(rules=rules, suite=run.suite, branch=run.branch, today=run.at.date())


def _judged_again(run: PastRun, rules: RuleSet) -> Comparison:
    terms = _terms(run, rules)
    limits = run.known.limits(terms.limits)
    return run.known.settled(applied(terms, compare(run.base, run.head, terms.overall, run.history, rules=limits)))


def _as_given(given: Given, then: Comparison, again: Comparison) -> Comparison:
    """A comparison that says what was said then, but for what a policy changes.

    Args:
        given: What was said.
        then: The run judged again under the policy of then.
        again: The run judged again under the policy that is asked about.
    """
    same = {entry.series.key: entry for entry in then.entries}
    entries = tuple(_entry_as_given(given, same.get(entry.series.key), entry) for entry in again.entries)
    # Summed up from its entries where one of them differs, and else as it was.
    changed = any(
        entry.series.key not in same or _answer(entry) != _answer(same[entry.series.key]) for entry in again.entries
    )
    told = rejudged(replace(again, entries=entries), {})
    return told if changed else replace(told, verdict=given.verdict)


def _answer(entry: Entry) -> tuple[Verdict, Severity | None, QualityAnswer | None]:
    return entry.judgement.verdict, entry.judgement.severity, entry.quality.answer if entry.quality else None


def _entry_as_given(given: Given, then: Entry | None, again: Entry) -> Entry:
    key, answer = again.series.key, _answer(again)
    if then is None:
        return again
    if answer[:2] == _answer(then)[:2] and key in given.entries:
        verdict, severity = given.entries[key]
        again = replace(again, judgement=replace(again.judgement, verdict=verdict, severity=severity))
    line = again.quality
    if answer[2] == _answer(then)[2] and line is not None and line.value is not None and key in given.quality:
        again = replace(again, quality=replace(line, answer=given.quality[key]))
    return again


def _limits(before: Comparison, after: Comparison) -> list[Pair]:
    """Absolute limits that either policy has, and what becomes of them."""
    sides = [{entry.series.key: entry for entry in side.entries if entry.quality} for side in (before, after)]
    keys = dict.fromkeys((*sides[0], *sides[1]))
    return [
        Pair(
            series=_slim((sides[1].get(key) or sides[0][key]).series),
            worsening=None,
            before=_said_of_limit(sides[0].get(key)),
            after=_said_of_limit(sides[1].get(key)),
            kind=QUALITY,
        )
        for key in keys
    ]


def _said_of_limit(entry: Entry | None) -> Said:
    """A value beyond a limit fails its run; it is no regression, so that it fires no alert."""
    if entry is None or entry.quality is None:
        return Said(verdict=Verdict.PASS, rule=BUILT_IN)
    verdict = _LIMIT_VERDICTS[entry.quality.answer]
    severity = Severity.CRITICAL if verdict is Verdict.REGRESSED else None
    return Said(verdict=verdict, severity=severity, rule=entry.quality.rule)


_LIMIT_VERDICTS = {
    QualityAnswer.PASS: Verdict.PASS,
    QualityAnswer.FAIL: Verdict.REGRESSED,
    QualityAnswer.UNKNOWN: Verdict.INCONCLUSIVE,
}


def _said(entry: Entry, terms: Terms, line: str) -> Said:
    rule = terms.rules.for_result(entry.series, branch=terms.branch)
    return Said(
        verdict=entry.judgement.verdict,
        severity=entry.judgement.severity,
        rule=rule.name,
        alerts=not line and rule.alert is not Alert.NONE,
    )


def _slim(series: SeriesResult) -> SeriesResult:
    """The series without its launches, which need not travel back."""
    return replace(series, side=replace(series.side, launches=()))
