"""When a series has been silent for too long: what it is due by, from its schedule, its policy or its own past."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

_FEWEST = 5
"""Fewer intervals say nothing about a rhythm."""
_STEADY = 2.0
"""Intervals that are all shorter than so many times the median are a steady rhythm."""
_MISSED_PERIODS = 2.0
_SLACK = 0.1
"""Of a period: runs wait for hosts now and then."""
_IRREGULAR_LEAST = timedelta(days=3)
"""What comes when people push is not missed over a weekend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """What is known about when a series gets its points."""

    last_at: datetime
    spacings: Sequence[float] = ()
    """Seconds between the last points, oldest first."""
    schedule_seconds: float | None = None
    """Interval of the schedule that asked for the last one, if one did that still runs."""
    allowed_seconds: float | None = None
    """What the policy says; infinity is never."""


def due_by(rhythm: Rhythm) -> datetime | None:
    """When the series counts as missing unless it gets a point before; None when it never does."""
    seconds = patience_seconds(rhythm)
    return None if seconds is None else rhythm.last_at + timedelta(seconds=seconds)


def patience_seconds(rhythm: Rhythm) -> float | None:
    """How long a series may be silent; None for ever."""
    if rhythm.allowed_seconds is not None:
        return rhythm.allowed_seconds if math.isfinite(rhythm.allowed_seconds) else None
    if rhythm.schedule_seconds is not None:
        return periods(rhythm.schedule_seconds)
    if len(rhythm.spacings) < _FEWEST:
        return None
    typical, longest = median(rhythm.spacings), max(rhythm.spacings)
    if longest <= _STEADY * typical:
        return periods(typical)
    return max(_MISSED_PERIODS * longest, _IRREGULAR_LEAST.total_seconds())


def periods(interval_seconds: float) -> float:
    """The time after which two periods have been missed."""
    return (_MISSED_PERIODS + _SLACK) * interval_seconds


def still_offered(suite: Mapping[str, Any] | None, benchmark: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a suite, as the fleet's hosts announce it, still has a case: its benchmark with these values.

    A suite that no host has (any more) says nothing: then the data is missing, not the benchmark removed.
    """
    if suite is None:
        return True
    name = benchmark.rpartition("/")[2]
    for known in suite.get("benchmarks", ()):
        if known.get("name", "").rpartition("/")[2] == name:
            return all(_allows(known.get("parameters", {}).get(key), value) for key, value in parameters.items())
    return False


def _allows(declared: Any, value: Any) -> bool:
    values = declared.get("values", ()) if isinstance(declared, Mapping) else ()
    return not values or str(value) in {str(other) for other in values}
