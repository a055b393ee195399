"""Which series of two sets of results belong together."""

from dataclasses import dataclass, replace

from tesserabench.analysis.launch import Side
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult, by_key, failures_by_case
from tesserabench.analysis.words import Better


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One series as the two sides have it; at least one of them does."""

    base: SeriesResult | None
    head: SeriesResult | None
    moved: bool = False
    """The head measured it on another kind of device, so that it is another series."""


def pairs_of(base: ResultSet, head: ResultSet) -> list[Pair]:
    """Every series that either side has, each with what both have of it."""
    ours, theirs = by_key(base), by_key(head)
    failed = failures_by_case(head)
    pairs = [Pair(base=ours[key], head=theirs[key]) for key in ours.keys() & theirs.keys()]
    measured = {key.identity for key in theirs}
    elsewhere = {key.identity: ours[key] for key in sorted(ours.keys() - theirs.keys())}
    for key in theirs.keys() - ours.keys():
        other = elsewhere.get(key.identity)
        pairs.append(Pair(base=other, head=theirs[key], moved=other is not None))
    for identity, series in elsewhere.items():
        if identity in measured:
            continue
        if launches := failed.get(identity[:2]):
            pairs.append(Pair(base=series, head=replace(series, side=replace(series.side, launches=launches))))
        elif not head.partial:
            pairs.append(Pair(base=series, head=None))
    known = {identity[:2] for identity in (*measured, *elsewhere)}
    return pairs + [Pair(base=None, head=series) for series in _only_failed(head, known)]


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
