"""Absolute limits of a policy on what was compared: also on what should have been measured, and was not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tesserabench.analysis.compare import Comparison, Entry, rejudged
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.launch import Side
from tesserabench.analysis.quality import QualityAnswer, QualityLimit, QualityLine, quality_line
from tesserabench.analysis.results import SeriesResult
from tesserabench.analysis.rules.clause import Clause
from tesserabench.analysis.rules.match import WHOLE_RUN, Match
from tesserabench.analysis.rules.rule import Quality
from tesserabench.analysis.rules.rule_set import RuleSet, subject_of
from tesserabench.analysis.rules.units import in_unit
from tesserabench.analysis.side_summary import SideSummary
from tesserabench.analysis.words import Reason, Verdict


def limited(rules: RuleSet, branch: str, comparison: Comparison) -> Comparison:
    """The comparison with the limits of a policy; one that does not hold fails the whole.

    A limit whose unit does not fit, and one on a metric that a case did not give, are unknown, so that the whole cannot
    pass.
    """
    clauses = rules.quality_clauses()
    if not clauses:
        return comparison
    entries = [_checked(rules, branch, entry) for entry in comparison.entries]
    absent = [entry for clause in clauses for entry in _absent(clause, rules, branch, comparison)]
    everything = (*entries, *absent)
    idle = [clause for clause in clauses if _is_idle(clause, branch, everything)]
    nowhere = [_nowhere(clause, everything[0]) for clause in idle if not clause.match.keys - _ANY_CASE]
    notes = [_note(clause) for clause in idle if clause.match.keys - _ANY_CASE and "suite" in clause.match.keys]
    told = (*comparison.notes, *(note for note in notes if note not in comparison.notes))
    return rejudged(replace(comparison, entries=(*everything, *nowhere), notes=told), {})


_ANY_CASE = WHOLE_RUN | {"metric", "primary"}
"""Keys of a match that leave open which cases it is about: one of them should have had the metric."""


def _is_idle(clause: Clause, branch: str, entries: Sequence[Entry]) -> bool:
    """Whether a rule is about the suite and branch of these entries, and about none of them."""
    subjects = [subject_of(entry.series, branch=branch) for entry in entries]
    whole = Match(texts={key: wanted for key, wanted in clause.match.texts.items() if key in WHOLE_RUN})
    concerned = any(whole.obstacle(subject) is None for subject in subjects)
    rule_of = {entry.quality.rule for entry in entries if entry.quality}
    limits = clause.name in rule_of or any(clause.match.obstacle(subject) is None for subject in subjects)
    return concerned and not limits


def _wanted(clause: Clause, key: str) -> str:
    wanted = clause.match.texts.get(key)
    return " or ".join(wanted.texts()) if wanted else ""


def _nowhere(clause: Clause, entry: Entry) -> Entry:
    """An entry for a limit on a metric that no case gave."""
    metric = _wanted(clause, "metric") or "any metric"
    key = replace(entry.series.key, case_id="any case", mode="", metric=metric, device="")
    side = Side(launches=(), better=entry.series.side.better)
    series = replace(entry.series, key=key, benchmark="", parameters={}, side=side, primary=False, hosts=())
    return _unmeasured(clause, entry, series)


def _note(clause: Clause) -> str:
    about = [_wanted(clause, key) for key in ("benchmark", "case", "metric")]
    what = " ".join(filter(None, about)) or "what it names"
    return f"Rule {clause.name!r} of the policy limits {what}, and nothing like it was measured."


def _checked(rules: RuleSet, branch: str, entry: Entry) -> Entry:
    rule = rules.for_result(entry.series, branch=branch)
    if rule.quality is None:
        return entry
    line = _line(rule.quality, entry.series.unit, entry.head.value)
    return replace(entry, quality=replace(line, rule=rule.origin("quality").rule))


def _line(limits: Quality, unit: str, value: float | None) -> QualityLine:
    fitting = in_unit(limits, unit)
    if fitting is None:
        return QualityLine(limit=_limit(limits), value=None, answer=QualityAnswer.UNKNOWN)
    return quality_line(value, _limit(fitting))


def _limit(limits: Quality) -> QualityLimit:
    return QualityLimit(minimum=limits.minimum, maximum=limits.maximum, weight=limits.weight)


def _absent(clause: Clause, rules: RuleSet, branch: str, comparison: Comparison) -> Iterator[Entry]:
    """An entry for each metric that the rule names and a case that the head was to measure did not give."""
    wanted = clause.match.texts.get("metric")
    named = [text for text in wanted.wanted if not {"*", "?"} & set(text)] if wanted else []
    given = {(entry.series.key.identity, entry.series.key.device) for entry in comparison.entries}
    for metric in named:
        seen: set[tuple[str, str, str]] = set()
        for entry in comparison.entries:
            key = entry.series.key
            place = (key.case_id, key.mode, key.device)
            if place in seen or not entry.head.launches:
                continue
            seen.add(place)
            missing = replace(key, metric=metric)
            if (missing.identity, missing.device) in given:
                continue
            series = replace(entry.series, key=missing, side=Side(launches=(), better=entry.series.side.better))
            if _limits(clause, rules, series, branch):
                yield _unmeasured(clause, entry, replace(series, primary=False))


def _limits(clause: Clause, rules: RuleSet, series: SeriesResult, branch: str) -> bool:
    """Whether it is this rule that limits the series. Whether the metric is a primary one is not known."""
    subject = replace(subject_of(series, branch=branch), primary=clause.match.primary)
    return rules.for_subject(subject).origin("quality").rule == clause.name


def _unmeasured(clause: Clause, entry: Entry, series: SeriesResult) -> Entry:
    limits = clause.settings["quality"]
    assert isinstance(limits, Quality)
    return Entry(
        series=replace(series, unit=limits.unit),
        base=_without_value(entry.base),
        head=_without_value(entry.head),
        judgement=Judgement(
            verdict=Verdict.INCONCLUSIVE,
            reason=Reason.MISSING,
            explanation=f"Rule {clause.name!r} of the policy limits it, and it was not measured.",
            recommendation="Look why the case gives no such metric any more, or mend the rule.",
            minimum_effect=0.0,
        ),
        quality=QualityLine(limit=_limit(limits), value=None, answer=QualityAnswer.UNKNOWN, rule=clause.name),
    )


def _without_value(side: SideSummary) -> SideSummary:
    return SideSummary(run=side.run, commit=side.commit, host=side.host, comparability=side.comparability)
