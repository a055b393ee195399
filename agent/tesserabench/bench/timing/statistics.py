"""Statistics of one case's samples, in plain Python so that reading results needs no NumPy."""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from tesserabench.bench.timing.interval import median_interval
from tesserabench.bench.timing.modality import count_levels

TAIL_SAMPLES = 300
"""Fewer samples say nothing of the first and the last hundredth of a distribution."""
MILD, SEVERE = 1.5, 3.0
"""Interquartile ranges outside the quartiles from which a sample is an outlier (Tukey 1977)."""
DETECTABLE = math.sqrt(2) * (1.959964 + 0.841621) / 1.959964
"""Half-widths of a 95 % interval that two medians must differ by to be told apart in four cases of five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """A summary of samples in the samples' own unit; whatever the number of samples does not support is None."""

    n: int
    n_eff: float
    """Number of independent samples that would say as much, from the lag-1 autocorrelation and from what differs
    between blocks, whichever leaves fewer."""
    min: float
    p5: float
    q1: float
    median: float
    q3: float
    p95: float
    max: float
    mean: float
    stdev: float | None
    mad: float
    """Median absolute deviation from the median, unscaled."""
    ci_low: float | None
    """Lower bound of the 95 % order-statistic interval of the median, widened by `n_eff`."""
    ci_high: float | None
    cv: float | None
    """Standard deviation over mean."""
    drift: float | None
    """Median of the last third over the median of the first third, less one."""
    autocorrelation: float | None
    """Lag-1 autocorrelation in the order of sampling."""
    p1: float | None = None
    """Absent below 300 samples, and so is `p99`."""
    p99: float | None = None
    mild_outliers: int = 0
    """Samples more than 1.5 interquartile ranges outside the quartiles, without the severe ones. None is left out."""
    severe_outliers: int = 0
    """Samples more than 3 interquartile ranges outside the quartiles. None is left out."""
    mode_count: int | None = None
    """Separate levels that the samples cluster at; None below 20 samples."""
    first_ratio: float | None = None
    """First sample over the median."""
    minimum_detectable_effect: float | None = None
    """Smallest relative change of the median that two such measurements would tell from their noise (95 % confidence,
    80 % power). What differs from process to process comes on top."""

    @property
    def iqr(self) -> float:
        """Interquartile range."""
        return self.q3 - self.q1


def quantile(ordered: Sequence[float], fraction: float) -> float:
    """Return the quantile of sorted values by linear interpolation (type 7, NumPy's default)."""
    position = fraction * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def autocorrelation(samples: Sequence[float]) -> float | None:
    """Return the lag-1 autocorrelation, or None for fewer than three samples or samples that are all equal."""
    if len(samples) < 3:
        return None
    centre = fmean(samples)
    deviations = [value - centre for value in samples]
    total = math.fsum(value * value for value in deviations)
    if total == 0:
        return None
    return math.fsum(a * b for a, b in itertools.pairwise(deviations)) / total


def effective_count(count: int, correlation: float | None) -> float:
    """Return n (1 - r) / (1 + r) for a first-order process; only correlation beyond chance (2 / sqrt n) counts."""
    if correlation is None or correlation <= 2 / math.sqrt(count):
        return float(count)
    return max(1.0, count * (1 - correlation) / (1 + correlation))


def block_effect(samples: Sequence[float], block: Sequence[int]) -> float:
    """Return by how much more the blocks scatter than independent samples would, as a factor on variances, at least 1.

    Pearson's chi-square, over its degrees of freedom, of how many samples of each block lie above the median of all
    (Brown and Mood 1951): what lasts as long as a block lifts or lowers all of it. One below three blocks, and for
    samples of which none lies above the median.
    """
    middle = median(samples)
    sizes: dict[int, int] = {}
    above: dict[int, int] = {}
    for value, number in zip(samples, block, strict=False):
        sizes[number] = sizes.get(number, 0) + 1
        above[number] = above.get(number, 0) + (value > middle)
    share = sum(above.values()) / max(1, len(block))
    if len(sizes) < 3 or not 0 < share < 1:
        return 1.0
    square = math.fsum((above[number] - size * share) ** 2 / size for number, size in sizes.items())
    return max(1.0, square / (share * (1 - share)) / (len(sizes) - 1))


def independent_count(samples: Sequence[float], block: Sequence[int] = ()) -> float:
    """Return how many independent samples would say as much as these, in their order and their blocks."""
    by_neighbours = effective_count(len(samples), autocorrelation(samples))
    return max(1.0, min(by_neighbours, len(samples) / block_effect(samples, block)))


def drift(samples: Sequence[float]) -> float | None:
    """Return the relative change of the median from the first to the last third, or None below nine samples."""
    third = len(samples) // 3
    if third < 3:
        return None
    first = median(samples[:third])
    return float(median(samples[-third:]) / first - 1) if first > 0 else None


def fences(q1: float, q3: float, ranges: float) -> tuple[float, float]:
    """Return the values beyond which a sample lies more than so many interquartile ranges outside the quartiles."""
    return q1 - ranges * (q3 - q1), q3 + ranges * (q3 - q1)


def _deviation(samples: Sequence[float], mean: float) -> float | None:
    """Return the sample standard deviation in two passes; the exact one of the library costs a hundred times more."""
    if len(samples) < 2:
        return None
    return math.sqrt(math.fsum((value - mean) ** 2 for value in samples) / (len(samples) - 1))


def _outside(ordered: Sequence[float], q1: float, q3: float, ranges: float) -> int:
    low, high = fences(q1, q3, ranges)
    return bisect.bisect_left(ordered, low) + len(ordered) - bisect.bisect_right(ordered, high)


def summarise(samples: Sequence[float], block: Sequence[int] = ()) -> Statistics:
    """Return the statistics of at least one sample; the samples stand in the order they were taken.

    `block` is the number of the block of each sample, or nothing.
    """
    ordered = sorted(samples)
    middle = float(median(ordered))
    mean = fmean(ordered)
    spread = _deviation(ordered, mean)
    q1, q3 = quantile(ordered, 0.25), quantile(ordered, 0.75)
    severe = _outside(ordered, q1, q3, SEVERE)
    tails = len(ordered) >= TAIL_SAMPLES
    correlation = autocorrelation(samples)
    independent = independent_count(samples, block)
    low, high = median_interval(ordered, independent) or (None, None)
    return Statistics(
        n=len(ordered),
        n_eff=independent,
        min=float(ordered[0]),
        p5=quantile(ordered, 0.05),
        q1=q1,
        median=middle,
        q3=q3,
        p95=quantile(ordered, 0.95),
        max=float(ordered[-1]),
        mean=mean,
        stdev=spread,
        mad=float(median(abs(value - middle) for value in ordered)),
        ci_low=None if low is None else float(low),
        ci_high=None if high is None else float(high),
        cv=None if spread is None or mean == 0 else spread / mean,
        drift=drift(samples),
        autocorrelation=correlation,
        p1=quantile(ordered, 0.01) if tails else None,
        p99=quantile(ordered, 0.99) if tails else None,
        mild_outliers=_outside(ordered, q1, q3, MILD) - severe,
        severe_outliers=severe,
        mode_count=count_levels(ordered, independent),
        first_ratio=samples[0] / middle if middle > 0 else None,
        minimum_detectable_effect=(
            None if low is None or high is None or middle <= 0 else DETECTABLE * (high - low) / (2 * middle)
        ),
    )
