"""What kind of noise a segment has, and what it hides."""

import math

import numpy as np
from tesserabench.analysis.changepoints.evidence import demanded, robust_line
from tesserabench.analysis.changepoints.levels import MAD_TO_DEVIATION, Values, middle_of
from tesserabench.analysis.changepoints.model import NoiseClass, Segment
from tesserabench.analysis.changepoints.stretches import Stretch

_LATEST = 256
"""Points that tell the noise of a segment: its newest, since it may go on for years."""
_TELLING = 12
_QUIET = 0.005
_NEW_POINTS = 8
_SAME_SHARE = 0.9
_FAR = 4.0
_FAR_SHARE = 0.02
_CORRELATED = 0.3
_MODE_SHARE = 6
_MODE_GAP = 3.0
_MODE_DENSITY = 8.0


def describe(told: Stretch, values: Values, start: int, end: int, *, smallest: float, drifting: bool) -> Segment:
    """The segment at [start, end) of the series: `told` of its `values`, whose newest say what noise it has."""
    values = values[-_LATEST:]
    correlation = _correlation(told) if len(values) >= _TELLING else 0.0
    positive = min(max(correlation, 0.0), 0.9)
    factor = math.sqrt((1 + positive) / (1 - positive))
    error = told.deviation * factor * math.sqrt(1 / told.count + 1 / _NEW_POINTS)
    visible = demanded(_NEW_POINTS, max(told.count, _NEW_POINTS)) * error
    return Segment(
        start=start,
        end=end,
        level=told.mean,
        spread=told.deviation,
        correlation=correlation,
        noise=NoiseClass.DRIFTING if drifting else _class_of(values, told, correlation),
        smallest_change=max(visible, smallest),
    )


def _correlation(told: Stretch) -> float:
    return told.correlations[0] if told.correlations else 0.0


def _class_of(values: Values, told: Stretch, correlation: float) -> NoiseClass:
    if len(values) < _TELLING:
        return NoiseClass.UNKNOWN
    if np.count_nonzero(values == told.median) > _SAME_SHARE * len(values):
        return NoiseClass.CONSTANT
    if _two_modes(values):
        return NoiseClass.BIMODAL
    if np.count_nonzero(np.abs(values - told.median) > _FAR * told.deviation) > _FAR_SHARE * len(values):
        return NoiseClass.HEAVY_TAILED
    if correlation > max(_CORRELATED, 2 / math.sqrt(len(values))):
        return NoiseClass.CORRELATED
    return NoiseClass.QUIET if told.deviation < _QUIET else NoiseClass.WHITE


def _two_modes(values: Values) -> bool:
    """Whether the widest inner gap parts the points into two groups that are both much denser than the gap."""
    ordered = np.sort(values)
    skipped = max(2, len(ordered) // _MODE_SHARE)
    gaps = np.diff(ordered[skipped - 1 : len(ordered) - skipped + 1])
    if not len(gaps):
        return False
    widest = int(gaps.argmax())
    if gaps[widest] <= _MODE_DENSITY * float(np.mean(gaps)):
        return False
    place = widest + skipped
    width = max(
        float(MAD_TO_DEVIATION * middle_of(np.abs(part - middle_of(part))))
        for part in (ordered[:place], ordered[place:])
    )
    return bool(gaps[widest] > _MODE_GAP * width)


def slope_of(values: Values, factor: float, deviation: float) -> tuple[float, float, float]:
    """Slope of a robust line through `values`, per point; its distance from 0 in standard errors; what it leaves.

    The last is the share of the clipped squares around the median that remain around the line.
    """
    centred = values - middle_of(values)
    line = robust_line(centred)
    slope = float(line[1] - line[0])
    count = len(values)
    error = deviation * factor * math.sqrt(12 / (count * (count * count - 1.0)))
    most = _FAR * deviation
    level = float(np.square(np.minimum(np.abs(centred), most)).sum())
    left = float(np.square(np.minimum(np.abs(centred - line), most)).sum())
    return slope, abs(slope) / error, left / level if level > 0 else 1.0
