"""When to stop sampling: a pure function of the samples and the time spent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Protocol

from tesserabench.bench.timing.interval import median_interval
from tesserabench.bench.timing.statistics import drift, independent_count
from tesserabench.bench.vocabulary import StopReason

CHECKPOINT_GROWTH = 1.25
"""Looks at the data are spaced geometrically: few looks keep the coverage of the interval near its nominal value."""
DRIFT_LIMIT = 0.005
"""Drift between thirds that always counts as stationary."""
HARD_BUDGET_FACTOR = 3
"""`min_samples` may take this many budgets; then the case ends with what it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """The limits of one case. `quantum_ns` is the step of the timer divided by the launches in a sample."""

    target: float
    min_samples: int
    max_samples: int
    budget_seconds: float
    min_device_seconds: float = 0.0
    quantum_ns: float = 0.0
    min_blocks: int = 1
    first_look: int = 0
    """Number of samples before which a look is in vain, from the expected length of a sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What sampling has cost so far."""

    elapsed_seconds: float
    device_seconds: float
    blocks: int = 1
    """Groups of samples, apart in time."""
    block: Sequence[int] = ()
    """Number of the block of each sample, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How well the median is known: half-widths as fractions of the median."""

    half_width: float | None
    """Of the 95 % interval, never below `floor`; None when there are too few samples."""
    floor: float
    """Half a timer step: no number of samples can do better."""
    drift: float | None
    """Relative change from the first third to the last; None when there are too few samples."""

    noise: float | None = None
    """Half-width without what a trend adds to it: a steady drift makes neighbours alike, and must not excuse itself by
    the wide interval that follows."""

    @property
    def stationary(self) -> bool:
        """Whether the times seem not to move: the thirds differ by less than 0.5 % or twice the noise."""
        return self.drift is not None and abs(self.drift) < self._allowed(2)

    @property
    def drifting(self) -> bool:
        """Whether the times are known to move: by more than three times the noise.

        Twice the noise is passed by chance one time in nine (the difference of two thirds scatters by 1.25
        half-widths): enough to go on sampling, too often for an accusation. In between neither is known.
        """
        return self.drift is not None and abs(self.drift) >= self._allowed(3)

    def _allowed(self, factor: float) -> float:
        return DRIFT_LIMIT if self.noise is None else max(DRIFT_LIMIT, factor * self.noise)


def precision(samples: Sequence[int], quantum_ns: float = 0.0, block: Sequence[int] = ()) -> Precision:
    """Return how well the samples, in the order and the blocks they were taken in, determine their median."""
    middle = float(median(samples))
    if middle <= 0:
        return Precision(half_width=None, floor=math.inf, drift=None)
    floor = quantum_ns / (2 * middle)
    ordered = sorted(samples)
    half_width = _half_width(ordered, independent_count(samples, block), middle, floor)
    moved = drift(samples)
    noise = half_width
    if moved is not None and abs(moved) >= DRIFT_LIMIT:
        noise = _half_width(ordered, independent_count(_level(samples, middle), block), middle, floor)
    return Precision(half_width=half_width, floor=floor, drift=moved, noise=noise)


def _half_width(ordered: Sequence[int], independent: float, middle: float, floor: float) -> float | None:
    bounds = median_interval(ordered, independent)
    return None if bounds is None else max((bounds[1] - bounds[0]) / (2 * middle), floor)


def _level(samples: Sequence[int], middle: float) -> list[float]:
    """Return the samples without the straight line that fits them best."""
    centre = (len(samples) - 1) / 2
    square = len(samples) * (len(samples) ** 2 - 1) / 12
    slope = math.fsum((index - centre) * (value - middle) for index, value in enumerate(samples)) / square
    return [value - slope * (index - centre) for index, value in enumerate(samples)]


def next_checkpoint(count: int, rule: StopRule) -> int:
    """Return the number of samples at which to look again."""
    return min(max(rule.min_samples, rule.first_look, math.ceil(count * CHECKPOINT_GROWTH)), rule.max_samples)


def out_of_budget(count: int, progress: Progress, rule: StopRule) -> bool:
    """Tell whether time is up: the budget with enough samples, three budgets with any."""
    factor = 1 if count >= rule.min_samples else HARD_BUDGET_FACTOR
    return progress.elapsed_seconds >= factor * rule.budget_seconds


def decide(samples: Sequence[int], progress: Progress, rule: StopRule) -> StopReason | None:
    """Return why sampling should stop now, or None to go on.

    Converged needs all of: enough samples, blocks and device time, an interval within the target, and stationary
    samples. When samples or time run out the reason says what stood in the way. Device time is not asked for beyond
    the largest number of samples: a cold launch of ten microseconds is timed by itself, and cannot be longer.
    """
    count = len(samples)
    exhausted = out_of_budget(count, progress, rule)
    if not exhausted and count < rule.min_samples:
        return None
    known = precision(samples, rule.quantum_ns, progress.block)
    long_enough = progress.device_seconds >= rule.min_device_seconds or count >= rule.max_samples
    enough = count >= rule.min_samples and progress.blocks >= rule.min_blocks and long_enough
    settled = known.half_width is not None and known.stationary and enough
    if settled and (reason := _reached(known, rule)):
        return reason
    if exhausted or count >= rule.max_samples:
        if known.drifting:
            return StopReason.DRIFTING
        return StopReason.BUDGET_EXHAUSTED if exhausted else StopReason.MAX_SAMPLES
    return StopReason.NOISE_FLOOR if settled and _hopeless(count, known, progress, rule) else None


class Source(Protocol):
    """Where samples come from."""

    @property
    def samples(self) -> Sequence[int]:
        """Everything taken so far, in order."""

    @property
    def progress(self) -> Progress:
        """What it has cost."""

    def more(self, until: int, *, closing: bool) -> None:
        """Take at least one more sample, and go on until there are `until` or the budget is spent.

        `closing` samples may be the last ones.
        """


def sample_until_stopped(source: Source, rule: StopRule) -> StopReason:
    """Sample until two looks in a row say that it is enough, the second with a quarter more samples than the first.

    A single look stops on the days when the interval is narrow by luck, and then covers the median less often than it
    says; the second look confirms it with samples that had no part in the first decision. It is also what catches a
    level that moves just after the first. When samples or time have run out one closing block ends the case.
    """
    looks = replace(rule, max_samples=max(rule.min_samples, math.floor(rule.max_samples / CHECKPOINT_GROWTH)))
    reason: StopReason | None = None
    while True:
        count = len(source.samples)
        if reason is None:
            source.more(next_checkpoint(count, looks), closing=False)
            reason = decide(source.samples, source.progress, looks)
            continue
        spent = out_of_budget(count, source.progress, rule)
        confirming = min(rule.max_samples, math.ceil(count * CHECKPOINT_GROWTH))
        source.more(count + 1 if spent else max(count + 1, confirming), closing=True)
        reason = decide(source.samples, source.progress, rule)
        if reason is not None:
            return reason


def _reached(known: Precision, rule: StopRule) -> StopReason | None:
    """Return whether the interval is as narrow as was wanted, or as the timer allows."""
    assert known.half_width is not None, "only a known interval can be narrow"
    if known.half_width <= rule.target:
        return StopReason.CONVERGED
    return StopReason.RESOLUTION_LIMITED if known.half_width <= known.floor else None


def _hopeless(count: int, known: Precision, progress: Progress, rule: StopRule) -> bool:
    """Tell whether the 1/sqrt(n) law puts the target beyond twice what budget and sample limit allow."""
    assert known.half_width is not None, "only a known interval shrinks by a law"
    if progress.elapsed_seconds < rule.budget_seconds / 4 or count < 2 * rule.min_samples:
        return False
    affordable = min(rule.max_samples, count * rule.budget_seconds / progress.elapsed_seconds)
    # needed = count * (half_width / target)^2 > 2 * affordable, as roots: the square of a tiny target is no float.
    return known.half_width > rule.target * math.sqrt(2 * affordable / count)
