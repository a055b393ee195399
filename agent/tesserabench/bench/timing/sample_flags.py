"""What is remarkable about single samples; nothing is left out because of it."""

from collections.abc import Sequence
from statistics import median

from tesserabench.bench.timing.statistics import MILD, SEVERE, Statistics, fences
from tesserabench.bench.vocabulary import SampleFlag

LOW_CLOCK = 0.99
"""Part of the median clock below which a sample counts as slowed by its clock."""
LOW_CLOCK_SHARE = 0.05
"""Share of such samples from which the whole measurement is flagged."""


def flag_samples(
    samples: Sequence[int], statistics: Statistics, clock_mhz: Sequence[float], *, retried: bool
) -> tuple[int, ...]:
    """Return the bits of `SampleFlag` for each sample; `clock_mhz` may be empty."""
    mild_low, mild_high = fences(statistics.q1, statistics.q3, MILD)
    severe_low, severe_high = fences(statistics.q1, statistics.q3, SEVERE)
    common = int(SampleFlag.AFTER_RETRY) if retried else 0
    flags = []
    for value in samples:
        found = common
        if not severe_low <= value <= severe_high:
            found |= SampleFlag.SEVERE_OUTLIER
        elif not mild_low <= value <= mild_high:
            found |= SampleFlag.MILD_OUTLIER
        flags.append(int(found))
    if clock_mhz:
        slow = LOW_CLOCK * median(clock_mhz)
        for index, clock in enumerate(clock_mhz):
            if clock < slow:
                flags[index] |= SampleFlag.LOW_CLOCK
    return tuple(flags)


def is_low_clock(flags: Sequence[int]) -> bool:
    """Tell whether so many samples ran at a low clock that the measurement should say so."""
    return bool(flags) and sum(bool(flag & SampleFlag.LOW_CLOCK) for flag in flags) > LOW_CLOCK_SHARE * len(flags)
