"""From readings to the power that work drew: pure.

The energy counter is primary: polled power covers about a quarter of the time on some parts (Yang, Adamek and Armour,
"Part-time Power Measurements", 2023). Power and speed are taken from the same window, as MLPerf asks.
"""

import itertools
from collections.abc import Sequence
from statistics import fmean

from tesserabench.agent.host.reading import Reading
from tesserabench.agent.runner.watch import PowerUse

LEAST_SECONDS = 2.0
LEAST_UPDATES = 50
_NANO = 1e9


def power_within(
    readings: Sequence[Reading], begin_ns: int, end_ns: int, *, least_seconds: float = LEAST_SECONDS
) -> PowerUse | None:
    """The mean power between two moments, from the first to the last step of the energy counter in between.

    A step lies somewhere between the reading before it and the one that shows it; the middle is taken, and the bounds
    of the power say what that may be wrong by. None without a counter, when it went back, or when the window is shorter
    than `least_seconds` or has fewer than 50 steps.
    """
    inside = [item for item in readings if begin_ns <= item.monotonic_ns <= end_ns]
    steps: list[tuple[float, float, float]] = []
    for earlier, later in itertools.pairwise(inside):
        if earlier.energy_joules is None or later.energy_joules is None or later.energy_joules < earlier.energy_joules:
            return None
        if later.energy_joules > earlier.energy_joules:
            middle = (earlier.monotonic_ns + later.monotonic_ns) / 2 / _NANO
            doubt = (later.monotonic_ns - earlier.monotonic_ns) / 2 / _NANO
            steps.append((middle, later.energy_joules, doubt))
    if len(steps) <= LEAST_UPDATES:
        return None
    (begin, first, doubt_begin), (end, last, doubt_end) = steps[0], steps[-1]
    seconds, doubt = end - begin, doubt_begin + doubt_end
    if seconds < least_seconds:
        return None
    polled = [item.power_watts for item in inside if item.power_watts is not None]
    joules = last - first
    return PowerUse(
        watts=joules / seconds,
        low_watts=joules / (seconds + doubt),
        high_watts=joules / (seconds - doubt),
        polled_watts=fmean(polled) if polled else None,
        seconds=seconds,
        updates=len(steps),
    )


def idle_watts(readings: Sequence[Reading]) -> float | None:
    """The mean power over a short idle time: by the counter when it moved enough, else the mean of the polled power."""
    if not readings:
        return None
    told = [item for item in readings if item.energy_joules is not None]
    if len(told) > 1:
        seconds = (told[-1].monotonic_ns - told[0].monotonic_ns) / _NANO
        joules = (told[-1].energy_joules or 0.0) - (told[0].energy_joules or 0.0)
        distinct = len({item.energy_joules for item in told})
        # With a few steps alone, the counter's period would be most of the answer.
        if seconds > 0 and distinct > 8 and joules > 0:
            return joules / seconds
    polled = [item.power_watts for item in readings if item.power_watts is not None]
    return fmean(polled) if polled else None
