"""Sets of results, as a comparison takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
