"""Two sets of results, series by series: the gate on each, corrected for how many there are, worst first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tesserabench.analysis import wording
from tesserabench.analysis.environment import Difference, differences
from tesserabench.analysis.false_discovery import benjamini_hochberg
from tesserabench.analysis.gate import judge, not_significant_among
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.launch import Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult, by_key, failures_by_case
from tesserabench.analysis.side_summary import SideSummary, summarise
from tesserabench.analysis.summary import overall
from tesserabench.analysis.words import Better, Reason, Severity, Verdict

Rules = Callable[[SeriesResult], Policy]
"""What counts as a change in each series."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One series on both sides, with the gate's answer."""

    series: SeriesResult
    """The head's, or the base's where the head has none."""
    base: SideSummary
    head: SideSummary
    judgement: Judgement
    rule: str = ""
    """The rule of the policy that its limits come from; empty without a policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A whole comparison."""

    base: str
    head: str
    entries: tuple[Entry, ...]
    """Worst first."""
    verdict: Verdict
    reason: Reason | None
    severity: Severity | None
    summary: str
    differences: tuple[Difference, ...]
    policy: str = ""
    """`projects/{project}/policies/{revision}` that it was judged by; empty for what is built in."""


def compare(
    base: ResultSet | None,
    head: ResultSet,
    policy: Policy,
    history: Mapping[SeriesKey, RunNoise] | None = None,
    rules: Rules | None = None,
) -> Comparison:
    """The comparison of `head` with `base`.

    Args:
        base: What to compare with; None when there is nothing, which makes every entry inconclusive.
        head: What is judged.
        policy: What counts as a change.
        history: Noise between runs, for the series whose history is long enough.
        rules: What counts as a change in each series; `policy` for all of them when left out.
    """
    against = base or ResultSet(label="")
    facts = differences(against.facts, head.facts) if base else ()
    context = _Context(
        base=against, head=head, rules=rules or (lambda _: policy), history=history or {}, differences=facts
    )
    judged = [_entry(pair, context) for pair in _pairs(against, head)]
    entries = sorted(_corrected(judged, 1 - policy.confidence), key=_badness)
    verdict, reason, severity, sentence = overall([(entry.series, entry.judgement) for entry in entries])
    return Comparison(
        base=against.label,
        head=head.label,
        entries=tuple(entries),
        verdict=verdict,
        reason=reason,
        severity=severity,
        summary=sentence,
        differences=facts,
    )


def rejudged(comparison: Comparison, judgements: Mapping[SeriesKey, Judgement]) -> Comparison:
    """The comparison with other answers for some of its series, sorted and summed up anew."""
    entries = sorted(
        (replace(entry, judgement=judgements.get(entry.series.key, entry.judgement)) for entry in comparison.entries),
        key=_badness,
    )
    verdict, reason, severity, sentence = overall([(entry.series, entry.judgement) for entry in entries])
    return replace(
        comparison, entries=tuple(entries), verdict=verdict, reason=reason, severity=severity, summary=sentence
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """One series as the two sides have it; at least one of them does."""

    base: SeriesResult | None
    head: SeriesResult | None
    moved: bool = False
    """The head measured it on another kind of device, so that it is another series."""


def _pairs(base: ResultSet, head: ResultSet) -> list[_Pair]:
    ours, theirs = by_key(base), by_key(head)
    failed = failures_by_case(head)
    pairs = [_Pair(base=ours[key], head=theirs[key]) for key in ours.keys() & theirs.keys()]
    measured = {key.identity for key in theirs}
    elsewhere = {key.identity: ours[key] for key in sorted(ours.keys() - theirs.keys())}
    for key in theirs.keys() - ours.keys():
        other = elsewhere.get(key.identity)
        pairs.append(_Pair(base=other, head=theirs[key], moved=other is not None))
    for identity, series in elsewhere.items():
        if identity in measured:
            continue
        if launches := failed.get(identity[:2]):
            pairs.append(_Pair(base=series, head=replace(series, side=replace(series.side, launches=launches))))
        elif not head.partial:
            pairs.append(_Pair(base=series, head=None))
    known = {identity[:2] for identity in (*measured, *elsewhere)}
    return pairs + [_Pair(base=None, head=series) for series in _only_failed(head, known)]


def _only_failed(results: ResultSet, known: set[tuple[str, str]]) -> list[SeriesResult]:
    """A series without a metric for each case that neither side has a value of."""
    launches = failures_by_case(results)
    cases = {(failure.case_id, failure.mode): failure for failure in results.failures}
    return [
        SeriesResult(
            key=SeriesKey(case_id=failure.case_id, mode=failure.mode, metric="", device=""),
            suite=failure.suite,
            benchmark=failure.benchmark,
            parameters=failure.parameters,
            unit="",
            primary=True,
            side=Side(launches=launches[case], better=Better.LOWER),
        )
        for case, failure in cases.items()
        if case not in known
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What judging any pair takes."""

    base: ResultSet
    head: ResultSet
    rules: Rules
    history: Mapping[SeriesKey, RunNoise]
    differences: tuple[Difference, ...]


def _entry(pair: _Pair, context: _Context) -> Entry:
    series = pair.head or pair.base
    assert series is not None
    judgement = judge(
        pair.base.side if pair.base else None,
        pair.head.side if pair.head else None,
        context.rules(series),
        primary=series.primary,
        history=context.history.get(series.key),
    )
    if pair.moved and judgement.reason is not Reason.CASE_FAILED:
        assert pair.base is not None
        judgement = _moved(judgement, pair.base.key.device, series.key.device)
    elif judgement.reason is Reason.ENVIRONMENT_MISMATCH:
        judgement = _named(judgement, context.differences)
    return Entry(
        series=series,
        base=summarise(pair.base, context.base),
        head=summarise(pair.head, context.head),
        judgement=judgement,
    )


def _moved(judgement: Judgement, before: str, after: str) -> Judgement:
    return _mismatch(judgement.minimum_effect, [f"device {before!r} against {after!r}"])


def _named(judgement: Judgement, facts: tuple[Difference, ...]) -> Judgement:
    decisive = [fact for fact in facts if fact.decisive] or list(facts)
    named = [f"{fact.fact} {fact.base or 'unknown'} against {fact.head or 'unknown'}" for fact in decisive]
    return _mismatch(judgement.minimum_effect, named) if named else judgement


def _mismatch(minimum_effect: float, facts: list[str]) -> Judgement:
    explanation, recommendation = wording.mismatch_of(facts)
    return Judgement(
        verdict=Verdict.INCONCLUSIVE,
        reason=Reason.ENVIRONMENT_MISMATCH,
        explanation=explanation,
        recommendation=recommendation,
        minimum_effect=minimum_effect,
    )


def _corrected(entries: list[Entry], rate: float) -> list[Entry]:
    """The entries without the findings that as many comparisons bring by chance; primary metrics by themselves."""
    corrected = list(entries)
    for primary in (True, False):
        places = [
            (index, entry.judgement.p_value)
            for index, entry in enumerate(entries)
            if entry.series.primary is primary and entry.judgement.p_value is not None
        ]
        q_values = benjamini_hochberg([p_value for _, p_value in places])
        for (index, _), q_value in zip(places, q_values, strict=True):
            entry = entries[index]
            if entry.judgement.verdict in {Verdict.REGRESSED, Verdict.IMPROVED} and q_value > rate:
                judgement = not_significant_among(entry.judgement, q_value, len(places))
                corrected[index] = replace(entry, judgement=judgement)
    return corrected


_ORDER = {Verdict.REGRESSED: 0, Verdict.INCONCLUSIVE: 1, Verdict.IMPROVED: 2, Verdict.PASS: 3}


def _badness(entry: Entry) -> tuple[int, bool, float, SeriesKey]:
    """Sorts the worst first: primary regressions by size, then what cannot be told, then the rest."""
    judgement = entry.judgement
    worsening = judgement.worsening if judgement.worsening is not None else 0.0
    return _ORDER[judgement.verdict], not entry.series.primary, -worsening, entry.series.key
