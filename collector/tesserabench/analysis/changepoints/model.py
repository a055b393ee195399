"""What an analysis of a series' history says, in words and numbers.

Indices count the points of the series from 0, oldest first; ranges are half-open. Levels, spreads and shifts are in
logarithms (0.05 is about 5 %), with the differences between hosts taken out; a series that is not all positive is taken
as shares of its typical size instead.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class NoiseClass(StrEnum):
    """How the points of a segment scatter around its level."""

    CONSTANT = "constant"
    """All but a few points have the same value."""
    QUIET = "quiet"
    """Independent points that scatter by less than 0.5 %."""
    WHITE = "white"
    """Independent points."""
    CORRELATED = "correlated"
    """Neighbours are alike: many points say less than they seem to."""
    BIMODAL = "bimodal"
    """Two levels in turns."""
    HEAVY_TAILED = "heavy_tailed"
    """Now and then a point far away."""
    DRIFTING = "drifting"
    """The level moves all the time."""
    UNKNOWN = "unknown"
    """Too few points to tell."""


class Status(StrEnum):
    """How sure a change is."""

    SUSPECTED = "suspected"
    """Seen, by few points so far; or it came back before there were more."""
    CONFIRMED = "confirmed"
    """Enough points stand at the new level."""


class Kind(StrEnum):
    """The shape of a change."""

    STEP = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of history at one level."""

    start: int
    end: int
    level: float
    """Robust mean of the logarithms."""
    spread: float
    """Robust standard deviation of a point."""
    correlation: float
    """Between neighbours, -1 to 1; 0 when there are too few points."""
    noise: NoiseClass
    smallest_change: float
    """The smallest shift that eight more points at a new level would show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """A step from one level to another."""

    index: int
    """The first point of the new level."""
    earliest: int
    latest: int
    """The step lies within [earliest, latest] nineteen times in twenty."""
    shift: float
    """New level less old one; positive when values became larger."""
    strength: float
    """How many times over the evidence exceeds what is demanded; 1 and above."""
    status: Status
    kind: Kind = Kind.STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A stretch over which the level moved bit by bit."""

    start: int
    end: int
    slope: float
    """Per point."""

    @property
    def shift(self) -> float:
        """From the first point to the last."""
        return self.slope * (self.end - self.start - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transient:
    """A short excursion that came back; when it looked like a step, its steps are among the changes, as suspected."""

    start: int
    end: int
    shift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMove:
    """A host whose points moved while those of at least two others did not: its own affair, and no change here."""

    host: str
    start: int
    """Where it began, among the newest points."""
    end: int
    """Where it had moved: `start` for a step, later for a drift."""
    shift: float


_LARGEST = 700.0
"""Of logarithms whose share is a number still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What may be tuned by policy."""

    smallest_change: float = 0.01
    """Smaller steps are never reported; as a share, 0.01 for 1 %."""
    strictness: float = 1.0
    """Factor on the evidence that is demanded; above 1 fewer changes are reported."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not 0 <= self.smallest_change < 1:
            raise ValueError(f"smallest_change must be a share from 0 to below 1, not {self.smallest_change}")
        if not 0.1 <= self.strictness <= 10:
            raise ValueError(f"strictness must be from 0.1 to 10, not {self.strictness}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesAnalysis:
    """The history of one series, taken apart."""

    points: int
    """How many points there are, with those that have no value."""
    segments: tuple[Segment, ...] = ()
    changes: tuple[ChangePoint, ...] = ()
    drifts: tuple[Drift, ...] = ()
    transients: tuple[Transient, ...] = ()
    host_offsets: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """By host: how far its points lie above (or below) those of the other hosts, in logarithms."""
    host_moves: tuple[HostMove, ...] = ()
    """Of the newest window; the series is judged as if they had not been."""
    unit: float = 0.0
    """0 when levels are logarithms; else what the values were divided by, because some are not positive."""

    def value_of(self, level: float) -> float:
        """A level as a value."""
        return math.exp(level) if self.unit == 0 else level * self.unit

    def share_of(self, shift: float) -> float:
        """A shift as a share, 0.05 for 5 % more; of the typical size when some values are not positive."""
        return math.expm1(min(shift, _LARGEST)) if self.unit == 0 else shift
