"""What kind of noise a segment has, and what it hides."""

import math

import numpy as np
from tesserabench.analysis.changepoints.acceptance import robust_deviation, robust_mean
from tesserabench.analysis.changepoints.levels import Values, deviation_of
from tesserabench.analysis.changepoints.model import NoiseClass, Segment

_TELLING = 12
_QUIET = 0.005
_EVIDENCE = 4.2
_NEW_POINTS = 8


def describe(values: Values, start: int, end: int, deviation: float, smallest: float) -> Segment:
    """The segment of `values`, which stand at [start, end) of the series."""
    spread = max(robust_deviation(values), 0.5 * deviation) if len(values) >= _TELLING else deviation
    level = robust_mean(values, spread)
    correlation = _correlation(values - level, spread) if len(values) >= _TELLING else 0.0
    factor = math.sqrt((1 + max(correlation, 0.0)) / (1 - min(max(correlation, 0.0), 0.9)))
    visible = _EVIDENCE * spread * factor * math.sqrt(1 / len(values) + 1 / _NEW_POINTS)
    return Segment(
        start=start,
        end=end,
        level=level,
        spread=spread,
        correlation=correlation,
        noise=_class_of(values, spread, correlation),
        smallest_change=max(visible, smallest),
    )


def _correlation(residuals: Values, spread: float) -> float:
    clipped = np.clip(residuals, -3 * spread, 3 * spread)
    total = float(clipped @ clipped)
    return float(clipped[1:] @ clipped[:-1]) / total if total > 0 else 0.0


def _class_of(values: Values, spread: float, correlation: float) -> NoiseClass:
    if len(values) < _TELLING:
        return NoiseClass.UNKNOWN
    if np.mean(values == np.median(values)) > 0.9:
        return NoiseClass.CONSTANT
    if _two_levels(values):
        return NoiseClass.BIMODAL
    if float(np.mean(np.abs(values - np.median(values)) > 4 * spread)) > 0.02:
        return NoiseClass.HEAVY_TAILED
    if correlation > max(0.3, 2 / math.sqrt(len(values))):
        return NoiseClass.CORRELATED
    return NoiseClass.QUIET if spread < _QUIET else NoiseClass.WHITE


def _two_levels(values: Values) -> bool:
    """Whether the widest gap between sorted points leaves a share on each side and is wide against both."""
    ordered = np.sort(values)
    inner = slice(len(ordered) // 6, len(ordered) - len(ordered) // 6)
    gaps = np.diff(ordered[inner])
    if not len(gaps):
        return False
    place = int(np.argmax(gaps)) + len(ordered) // 6 + 1
    low, high = ordered[:place], ordered[place:]
    width = max(robust_deviation(low), robust_deviation(high), 1e-9)
    return bool(gaps.max() > 3 * width and np.median(high) - np.median(low) > 2 * deviation_of(ordered))
