"""What is known when a cause is asked for, and what is answered: plain values, no store behind them.

The evidence is every *track* that could have moved, the unmoved ones included: a track is one series on one device.
What sets the causes apart is who moved and who did not, and what changed exactly there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Cause(StrEnum):
    """What made a series move."""

    CODE = "code"
    HOST = "host"
    """One host or device alone: it became slow, or is throttled."""
    ENVIRONMENT = "environment"
    """Drivers, clocks, power limits, libraries; or what no recorded fact names and moves canaries too."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One run on one device; every track of the device that was measured then has a point of it."""

    run: int
    """Identity of the run; larger is younger."""
    at: float
    """When it was measured, in seconds since the epoch."""
    commit: str
    """What was measured; empty when unknown."""
    host: str
    device: str
    """The device's identity within the fleet, as its UUID."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Environment facts by name, as the trial recorded them."""
    throttle: str = ""
    """Why the device was throttled; empty when it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One series on one device: `values[i]` was measured at `visits[i]`, oldest first."""

    series: str
    """What shares an effect: the same case, metric and device model."""
    benchmark: str
    host: str
    device: str
    visits: tuple[int, ...]
    """Indices into `Evidence.visits`, ascending."""
    values: tuple[float, ...]
    """Medians in natural logarithms."""
    suite: str = ""
    model: str = ""
    canary: bool = False
    """Its code never changes, so that a move of it is never the code's doing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change point that asks for its cause."""

    key: int
    """The caller's identity of it."""
    series: str
    shift: float
    """In natural logarithms, + for a larger value."""
    run: int
    """First run at the new level."""
    earliest_run: int
    latest_run: int
    """The change lies between these, both included."""
    before_run: int = 0
    """Last run at the old level; 0 when unknown."""
    devices: frozenset[str] = frozenset()
    """The devices that it was seen on; empty when it was seen in the series as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiblingScore:
    """How a device stands against others of its model."""

    deviation: float
    """Fraction that it is slower than its siblings; negative when faster."""
    z: float | None = None
    """In standard deviations; None when only the deviation is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that a cause is drawn from."""

    visits: tuple[Visit, ...]
    """Oldest first."""
    tracks: tuple[Track, ...]
    """The affected series and those that did not move over the same span."""
    changes: tuple[Change, ...]
    commits: tuple[str, ...] = ()
    """Known commits, oldest first, builds that were never measured included; those of the visits when left out."""
    siblings: Mapping[str, SiblingScore] = field(default_factory=dict)
    """Standing of devices against their siblings before the changes, where it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRange:
    """The commits that may have done it."""

    last_good: str
    """Last commit that was measured at the old level; empty when unknown."""
    first_new: str
    """First commit that was measured at the new level."""
    commits: tuple[str, ...]
    """Every known commit after the last good one up to the first new one, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """An environment fact that changed exactly where the level did."""

    fact: str
    before: str
    after: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A cause that was weighed."""

    cause: Cause
    probability: float
    """Share of the belief, all candidates and "none of them" together being 1."""
    what: str
    """For people: `commit 1a2b3c4`, `device GPU-3 on host-7`, `driver.version 550 -> 560`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """One cause with the change points that it explains: they make one finding."""

    cause: Cause
    confidence: float
    """Belief in the cause, 0 to 1; for unknown, the belief in the best candidate that was not good enough."""
    members: tuple[int, ...]
    """Keys of the changes that it explains; every change is a member of exactly one attribution."""
    shift: float
    """Typical shift of its members in natural logarithms."""
    sentences: tuple[str, ...]
    """The evidence for people, with numbers; the first one names the cause."""
    also: tuple[int, ...] = ()
    """Keys of changes that it explains in part: they are members of another attribution."""
    commit_range: CommitRange | None = None
    fields: tuple[FieldChange, ...] = ()
    hosts: tuple[str, ...] = ()
    """The hosts that moved, by name."""
    devices: tuple[str, ...] = ()
    """The devices that moved."""
    candidates: tuple[Candidate, ...] = ()
    """What was weighed, most likely first."""
    would_tell: str = ""
    """What measurement would settle it; empty when it is settled."""
