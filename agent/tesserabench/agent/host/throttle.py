"""From readings to what limited the clocks: pure (docs/guide tells how to read the classes).

Fractions of the measured time with a threshold, never the momentary mask alone and never "any non-zero": every loaded
GPU trips those. Counters are in nanoseconds; see `unit_of` for how that is checked.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tesserabench.v1 import measurement_pb2 as pb

SW_POWER_CAP = "sw_power_cap"
SW_THERMAL = "sw_thermal"
HW_THERMAL = "hw_thermal"
HW_POWER_BRAKE = "hw_power_brake"
HW_SLOWDOWN = "hw_slowdown"
SYNC_BOOST = "sync_boost"

_NOTICEABLE = 0.01
_BRAKE = 0.001
# Counters and clock are read a moment apart, and counters move in steps.
_SLACK = 1.1
_SLACK_NS = 100_000_000
# How much of the time a limit must have been seen before a counter that says a thousandth of it is doubted.
_SEEN_OFTEN = 0.25
_LEAST_SEEN = 20
_MICRO = 1000


class Counted(Protocol):
    """What is needed of a reading."""

    @property
    def monotonic_ns(self) -> int:
        """When it was taken."""

    @property
    def throttle_ns(self) -> Mapping[str, int]:
        """Cumulative time under each limit."""

    @property
    def reasons(self) -> frozenset[str]:
        """Limits active at that moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """Time under each limit within a window, in nanoseconds; `seen` counts the readings that showed each limit."""

    elapsed_ns: int
    spent_ns: Mapping[str, float]
    readings: int
    seen: Mapping[str, int]

    def plus(self, other: "Limited") -> "Limited":
        """Both windows together; limits that only one of them counted keep their own time."""
        names = self.spent_ns.keys() | other.spent_ns.keys()
        seen = self.seen.keys() | other.seen.keys()
        return Limited(
            elapsed_ns=self.elapsed_ns + other.elapsed_ns,
            spent_ns={name: self.spent_ns.get(name, 0.0) + other.spent_ns.get(name, 0.0) for name in names},
            readings=self.readings + other.readings,
            seen={name: self.seen.get(name, 0) + other.seen.get(name, 0) for name in seen},
        )

    def seen_share(self, reason: str) -> float:
        """Share of the readings that showed a limit."""
        return self.seen.get(reason, 0) / self.readings if self.readings else 0.0

    def shares(self, unit: int = 1) -> dict[str, float]:
        """Share of the time under each limit, 0 to 1: by the counters, times `unit`, or by the readings without any.

        `hw_slowdown` has no counter and stands for the heat and the brake: it counts where one of these is not counted.
        """
        found: dict[str, float] = {}
        if unit and self.elapsed_ns > 0:
            found = {name: min(1.0, spent * unit / self.elapsed_ns) for name, spent in self.spent_ns.items()}
        for name in self.seen:
            uncounted = name not in found and not (name == HW_SLOWDOWN and {HW_THERMAL, HW_POWER_BRAKE} <= found.keys())
            # A single reading is no share of anything.
            if uncounted and self.seen[name] > 1:
                found[name] = self.seen_share(name)
        return found


def within(readings: Sequence[Counted], begin_ns: int, end_ns: int) -> Limited | None:
    """The time under each limit between two moments, counters interpolated at both ends.

    The window is cut to what the readings embrace. None when a counter went back: the driver was loaded anew.
    """
    first = max((i for i, item in enumerate(readings) if item.monotonic_ns <= begin_ns), default=0)
    last = min((i for i, item in enumerate(readings) if item.monotonic_ns >= end_ns), default=len(readings) - 1)
    around = readings[first : last + 1]
    for earlier, later in itertools.pairwise(around):
        if any(
            later.throttle_ns[name] < count for name, count in earlier.throttle_ns.items() if name in later.throttle_ns
        ):
            return None
    spent: dict[str, float] = {}
    elapsed = 0
    if len(around) > 1:
        begin, end = max(begin_ns, around[0].monotonic_ns), min(end_ns, around[-1].monotonic_ns)
        elapsed = max(0, end - begin)
        for name in set.intersection(*(set(item.throttle_ns) for item in around)):
            spent[name] = _value_at(around, name, end) - _value_at(around, name, begin)
    inside = [item for item in readings if begin_ns <= item.monotonic_ns <= end_ns]
    names = {name for item in inside for name in item.reasons}
    seen = {name: sum(name in item.reasons for item in inside) for name in names}
    return Limited(elapsed_ns=elapsed, spent_ns=spent, readings=len(inside), seen=seen)


def _value_at(readings: Sequence[Counted], name: str, moment_ns: int) -> float:
    """A counter at a moment between the first and the last reading, by linear interpolation."""
    for earlier, later in itertools.pairwise(readings):
        if moment_ns <= later.monotonic_ns:
            span = later.monotonic_ns - earlier.monotonic_ns
            share = max(0.0, (moment_ns - earlier.monotonic_ns) / span) if span else 1.0
            before = earlier.throttle_ns[name]
            return before + share * (later.throttle_ns[name] - before)
    return readings[-1].throttle_ns[name]


def unit_of(limited: Limited) -> int:
    """What to multiply the counters with to get nanoseconds: 1, 1000 when they count microseconds, 0 when neither.

    The documentation says nanoseconds, NVIDIA's own tool prints microseconds. A counter cannot outrun the clock: one
    that does counts something else. And a limit that was seen in a good part of the readings while its counter says a
    thousandth of that is counted in microseconds.
    """
    if any(spent > _SLACK * limited.elapsed_ns + _SLACK_NS for spent in limited.spent_ns.values()):
        return 0
    if limited.readings >= _LEAST_SEEN and limited.elapsed_ns > 0:
        for name, spent in limited.spent_ns.items():
            seen, share = limited.seen_share(name), spent / limited.elapsed_ns
            if seen >= _SEEN_OFTEN and share > 0 and 0.3 < share * _MICRO / seen < 3:
                return _MICRO
    return 1


def classify(shares: Mapping[str, float], *, locked: bool = False) -> pb.ThrottleClass.ValueType:
    """The class of a window from the shares of its time; the worst reason wins. Without any share nothing is known."""
    if not shares:
        return pb.THROTTLE_CLASS_LOCKED if locked else pb.THROTTLE_CLASS_UNSPECIFIED
    if max(shares.get(HW_POWER_BRAKE, 0.0), shares.get(HW_SLOWDOWN, 0.0)) >= _BRAKE:
        return pb.THROTTLE_CLASS_BRAKE
    if max(shares.get(SW_THERMAL, 0.0), shares.get(HW_THERMAL, 0.0)) >= _NOTICEABLE:
        return pb.THROTTLE_CLASS_THERMAL
    if shares.get(SW_POWER_CAP, 0.0) >= _NOTICEABLE:
        return pb.THROTTLE_CLASS_POWER_LIMITED
    return pb.THROTTLE_CLASS_LOCKED if locked else pb.THROTTLE_CLASS_CLEAN
