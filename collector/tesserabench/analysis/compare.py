"""Two sets of results, series by series: the gate on each, corrected for how many there are, worst first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tesserabench.analysis import wording
from tesserabench.analysis.advice import Beside, advised
from tesserabench.analysis.environment import Difference, differences
from tesserabench.analysis.false_discovery import by_family
from tesserabench.analysis.families import Family, family_of
from tesserabench.analysis.gate import finding_p_value, judge, not_significant_among
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.launch import OK
from tesserabench.analysis.pairing import Pair, pairs_of
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.quality import QualityAnswer, QualityLimits, QualityLine, quality_line
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.side_summary import SideSummary, summarise
from tesserabench.analysis.sides import spread_of
from tesserabench.analysis.summary import overall
from tesserabench.analysis.suspicion import one_sided
from tesserabench.analysis.words import Reason, Severity, Verdict

FamilyKey = tuple[str, str, str, str]
"""Suite, timing mode, metric and device."""

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
    quality: QualityLine | None = None
    """The absolute limits of its value; None where it has none."""
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
    notes: tuple[str, ...] = ()
    """What a reader should know of the whole. Sentences."""
    policy: str = ""
    """`projects/{project}/policies/{revision}` that it was judged by; empty for what is built in."""


def compare(
    base: ResultSet | None,
    head: ResultSet,
    policy: Policy,
    history: Mapping[SeriesKey, RunNoise] | None = None,
    *,
    rules: Rules | None = None,
    quality: QualityLimits | None = None,
) -> Comparison:
    """The comparison of `head` with `base`.

    Args:
        base: What to compare with; None when there is nothing, which makes every entry inconclusive.
        head: What is judged.
        policy: What counts as a change.
        history: Noise between runs, for the series whose history is long enough.
        rules: What counts as a change in each series; `policy` for all of them when left out.
        quality: Absolute limits of each series' value.
    """
    against = base or ResultSet(label="")
    facts = differences(against.facts, head.facts) if base else ()
    context = _Context(
        base=against,
        head=head,
        rules=rules or (lambda _: policy),
        history=history or {},
        differences=facts,
        families=_families(against, head),
    )
    judged = _corrected([_entry(pair, context) for pair in pairs_of(against, head)], 1 - policy.confidence)
    judged = _advised(judged)
    note = one_sided([entry.judgement for entry in judged if entry.series.primary])
    comparison = Comparison(
        base=against.label,
        head=head.label,
        entries=tuple(judged),
        verdict=Verdict.PASS,
        reason=None,
        severity=None,
        summary="",
        differences=facts,
        notes=(note,) if note else (),
    )
    return with_quality(comparison, quality) if quality else _summed_up(comparison)


def with_quality(comparison: Comparison, limits: QualityLimits) -> Comparison:
    """The comparison with the absolute limits of its series; one that does not hold fails the whole."""

    def limited(entry: Entry) -> Entry:
        limit = limits(entry.series)
        return entry if limit is None else replace(entry, quality=quality_line(entry.head.value, limit))

    return _summed_up(replace(comparison, entries=tuple(limited(entry) for entry in comparison.entries)))


def rejudged(comparison: Comparison, judgements: Mapping[SeriesKey, Judgement]) -> Comparison:
    """The comparison with other answers for some of its series, sorted and summed up anew."""
    entries = tuple(
        replace(entry, judgement=judgements.get(entry.series.key, entry.judgement)) for entry in comparison.entries
    )
    return _summed_up(replace(comparison, entries=entries))


def _summed_up(comparison: Comparison) -> Comparison:
    """The comparison worst first, with what its entries come to."""
    entries = sorted(comparison.entries, key=_badness)
    verdict, reason, severity, sentence = overall([(entry.series, entry.judgement) for entry in entries])
    beyond = [entry for entry in entries if entry.quality and entry.quality.answer is QualityAnswer.FAIL]
    unknown = [entry for entry in entries if entry.quality and entry.quality.answer is QualityAnswer.UNKNOWN]
    if beyond:
        # An absolute limit is no question of noise: nothing lessens it, and nothing measured again settles it.
        verdict, reason, severity = Verdict.REGRESSED, Reason.QUALITY_LIMIT, Severity.CRITICAL
        sentence = f"{_beyond(beyond)} {sentence}"
    elif unknown and verdict in {Verdict.PASS, Verdict.IMPROVED}:
        # What cannot be checked must not pass.
        verdict, reason = Verdict.INCONCLUSIVE, Reason.QUALITY_LIMIT
    if unknown:
        sentence = f"{sentence} {_unchecked(unknown)}"
    return replace(
        comparison, entries=tuple(entries), verdict=verdict, reason=reason, severity=severity, summary=sentence
    )


def _beyond(entries: Sequence[Entry]) -> str:
    entry = entries[0]
    assert entry.quality is not None
    limit, value = entry.quality.limit, entry.quality.value
    assert value is not None
    below = limit.minimum is not None and value < limit.minimum
    bound = f"below {limit.minimum:g}" if below else f"above {limit.maximum:g}"
    name = f"{entry.series.key.case_id} {entry.series.key.metric}"
    first = f"{name} is {value:.6g} {entry.series.unit}".rstrip() + f", {bound}"
    count = f"{len(entries)} value{'' if len(entries) == 1 else 's'} beyond an absolute limit"
    return f"{count}: {first}."


def _unchecked(entries: Sequence[Entry]) -> str:
    first = entries[0].series
    count = f"{len(entries)} absolute limit{'' if len(entries) == 1 else 's'} could not be checked"
    return f"{count}: {first.key.case_id} {first.key.metric}."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What judging any pair takes."""

    base: ResultSet
    head: ResultSet
    rules: Rules
    history: Mapping[SeriesKey, RunNoise]
    differences: tuple[Difference, ...]
    families: Mapping[FamilyKey, Family]


def _entry(pair: Pair, context: _Context) -> Entry:
    series = pair.head or pair.base
    assert series is not None
    judgement = judge(
        pair.base.side if pair.base else None,
        pair.head.side if pair.head else None,
        context.rules(series),
        primary=series.primary,
        history=context.history.get(series.key),
        family=context.families.get(_family_key(series)),
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
            index
            for index, entry in enumerate(entries)
            if entry.series.primary is primary and entry.judgement.p_value is not None
        ]
        q_values = by_family(
            [finding_p_value(entries[index].judgement) for index in places],
            [(entries[index].series.suite, entries[index].series.benchmark) for index in places],
            rate,
        )
        for index, q_value in zip(places, q_values, strict=True):
            judgement = replace(entries[index].judgement, q_value=q_value)
            if judgement.verdict in {Verdict.REGRESSED, Verdict.IMPROVED} and q_value > rate:
                judgement = not_significant_among(judgement, q_value, len(places))
            corrected[index] = replace(entries[index], judgement=judgement)
    return corrected


def _advised(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with what the other metrics of their case say of them."""
    cases: dict[tuple[str, str, str], dict[str, Beside]] = {}
    for entry in entries:
        if entry.base.value is not None and entry.head.value is not None:
            metrics = cases.setdefault(_case_of(entry), {})
            metrics[entry.series.key.metric] = Beside(base=entry.base.value, head=entry.head.value)

    def told(entry: Entry) -> Entry:
        beside = cases.get(_case_of(entry), {})
        return replace(entry, judgement=advised(entry.judgement, entry.series.key.metric, beside))

    return [told(entry) if entry.series.primary else entry for entry in entries]


def _case_of(entry: Entry) -> tuple[str, str, str]:
    key = entry.series.key
    return key.case_id, key.mode, key.device


def _families(base: ResultSet, head: ResultSet) -> dict[FamilyKey, Family]:
    """What launches differ by, over the benchmarks that are timed alike on one kind of device."""
    spreads: dict[FamilyKey, list[tuple[float, float]]] = {}
    for results in (base, head):
        for series in results.series:
            usable = [launch for launch in series.side.launches if launch.outcome == OK and launch.has_level]
            if len(usable) > 1:
                spread = spread_of(replace(series.side, launches=tuple(usable)))
                spreads.setdefault(_family_key(series), []).append(spread)
    found = {key: family_of(members) for key, members in spreads.items()}
    return {key: family for key, family in found.items() if family is not None}


def _family_key(series: SeriesResult) -> FamilyKey:
    return series.suite, series.key.mode, series.key.metric, series.key.device


_ORDER = {Verdict.REGRESSED: 0, Verdict.INCONCLUSIVE: 1, Verdict.IMPROVED: 2, Verdict.PASS: 3}


def _badness(entry: Entry) -> tuple[int, bool, float, SeriesKey]:
    """Sorts the worst first: primary regressions by size, then what cannot be told, then the rest."""
    judgement = entry.judgement
    worsening = judgement.worsening if judgement.worsening is not None else 0.0
    return _ORDER[judgement.verdict], not entry.series.primary, -worsening, entry.series.key
