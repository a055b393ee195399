"""Sets of results, as a comparison takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tesserabench.analysis.launch import Launch, Side


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SeriesKey:
    """What makes values comparable: case, timing mode, metric and device model (host for a CPU)."""

    case_id: str
    mode: str
    metric: str
    device: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """Case, mode and metric: the series without its device."""
        return self.case_id, self.mode, self.metric


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesResult:
    """One series in one set of results."""

    key: SeriesKey
    suite: str
    benchmark: str
    parameters: Mapping[str, str]
    unit: str
    primary: bool
    side: Side
    hosts: tuple[str, ...] = ()
    """Hosts that measured it, in order of name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A launch of a case that gave no measurement."""

    case_id: str
    mode: str
    suite: str
    benchmark: str
    parameters: Mapping[str, str]
    launch: Launch


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSet:
    """What was measured of one commit, or of whatever a reference names."""

    label: str
    run: str = ""
    """`runs/{run}`."""
    commit: str = ""
    series: tuple[SeriesResult, ...] = ()
    failures: tuple[Failure, ...] = ()
    facts: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    """Environment facts of its trials by comparability class."""
    partial: bool = False
    """Only some of a suite's cases were asked for, so that the absence of others means nothing."""


def failures_by_case(results: ResultSet) -> dict[tuple[str, str], tuple[Launch, ...]]:
    """The launches without measurements by case and mode."""
    failures: dict[tuple[str, str], tuple[Launch, ...]] = {}
    for failure in results.failures:
        case = (failure.case_id, failure.mode)
        failures[case] = (*failures.get(case, ()), failure.launch)
    return failures


def by_key(results: ResultSet) -> dict[SeriesKey, SeriesResult]:
    """The series of a set, each with the failed launches of its case."""
    failed = failures_by_case(results)
    return {
        item.key: replace(
            item, side=replace(item.side, launches=item.side.launches + failed.get(item.key.identity[:2], ()))
        )
        for item in results.series
    }
