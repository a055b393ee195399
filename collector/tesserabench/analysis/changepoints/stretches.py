"""What a stretch of points says about its level and its noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tesserabench.analysis.changepoints.levels import CLIP, MAD_TO_DEVIATION, Values, middle_of

_SHRINKING = 8.0
"""Points that the deviation of the whole window counts for beside a stretch's own."""
_CLIPPED_VARIANCE = 0.92
"""Variance of a standard normal variable clipped at CLIP."""
_CORRELATED_FROM = 16
_LAGS = 8
_LEAST_CORRELATION = 0.03
_LARGEST_SUM = 3.0
_NOTHING = np.zeros(_LAGS)
_WIDEST = 2.5066282746310002


@dataclass(slots=True)
class Stretch:
    """A stretch of points taken as one level."""

    count: int
    median: float
    mean: float
    """Of values clipped around the median."""
    deviation: float
    """Robust standard deviation of a point, shrunk towards that of the window."""
    residuals: Values
    """Clipped, around the mean."""
    told: tuple[float, ...] | None = None
    """The correlations, once somebody asked."""

    @property
    def correlations(self) -> tuple[float, ...]:
        """Of the residuals at lags 1 to 8; empty for short and for constant stretches."""
        if self.told is None:
            self.told = ()
            if self.count >= _CORRELATED_FROM:
                padded = np.concatenate((self.residuals, _NOTHING))
                later = np.correlate(padded, self.residuals, "valid").tolist()
                if later[0] > 0:
                    self.told = tuple([one / later[0] for one in later[1:]])
        return self.told


def normal_density(distance: Values, width: float) -> Values:
    """Density of a normal variable of deviation `width` at `distance` from its mean."""
    scaled: Values = np.exp(-0.5 * (distance / width) ** 2) / (width * _WIDEST)
    return scaled


def measure(values: Values, window_deviation: float) -> Stretch:
    """Level and noise of `values`."""
    count = len(values)
    median = middle_of(values)
    residuals = values - median
    base = window_deviation
    if count >= 5:
        own = MAD_TO_DEVIATION * middle_of(np.abs(residuals))
        base = max((count * own + _SHRINKING * base) / (count + _SHRINKING), base / 2)
    clipped = np.minimum(np.maximum(residuals, -CLIP * base), CLIP * base)
    offset = float(clipped.sum()) / count
    variance = (float(clipped @ clipped) / count - offset * offset) / _CLIPPED_VARIANCE
    pooled = (count * max(variance, 0.0) + _SHRINKING * window_deviation**2) / (count + _SHRINKING)
    clipped -= offset
    return Stretch(count=count, median=median, mean=median + offset, deviation=math.sqrt(pooled), residuals=clipped)


def inflation(stretches: Sequence[Stretch]) -> float:
    """By how much correlation between neighbours widens the standard error of a mean.

    The square root of the long-run variance over the variance of a point: 1 + 2 times the sum of the initial positive
    correlations, less what independent points would show by chance.
    """
    told = [stretch for stretch in stretches if stretch.correlations]
    if not told:
        return 1.0
    counted = sum(stretch.count for stretch in told)
    total = 0.0
    for lag in range(_LAGS):
        correlation = sum([stretch.count * stretch.correlations[lag] for stretch in told]) / counted
        if correlation <= _LEAST_CORRELATION:
            break
        total += correlation
    return math.sqrt(1 + 2 * min(max(0.0, total - 1 / math.sqrt(counted)), _LARGEST_SUM))
