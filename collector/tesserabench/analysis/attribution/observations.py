"""The tracks as arrays, with the noise of each, so that a step at any point of any track costs nothing to look up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tesserabench.analysis.attribution.evidence import Evidence

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SMALLEST_NOISE = 0.0015
"""Standard deviation, in logarithms, below which no track is trusted to be: rounding and luck with few points."""
JITTER = 0.004
"""How far two devices of a model may answer the same change differently, as a standard deviation in logarithms."""
_POOLED_POINTS = 10
"""The noise of a track is drawn to that of its series with the weight of this many points."""
_MOST_CORRELATION = 0.6
_MAD_TO_SD = 1.4826
_SPIKE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Arrays over tracks, series and points; a point beyond a track's end is never looked at."""

    counts: Ints
    """[tracks]: points."""
    after: Floats
    """[tracks, points + 1]: sum of the values from a point on."""
    means: Floats
    """[tracks]."""
    weights: Floats
    """[tracks]: what one point tells, the inverse of its effective variance."""
    series: Ints
    """[tracks]: index of the series."""
    names: tuple[str, ...]
    """[series]: names."""
    canary: NDArray[np.bool_]
    """[series]."""

    @property
    def tracks(self) -> int:
        """How many tracks there are."""
        return len(self.counts)


def observe(evidence: Evidence) -> Observations:
    """The arrays of the evidence's tracks; isolated spikes are cut down, steps are not."""
    tracks = evidence.tracks
    names = tuple(dict.fromkeys(track.series for track in tracks))
    index = {name: i for i, name in enumerate(names)}
    series = np.array([index[track.series] for track in tracks], dtype=np.int64)
    counts = np.array([len(track.values) for track in tracks], dtype=np.int64)
    values = np.zeros((len(tracks), int(counts.max(initial=0))))
    rows = [np.asarray(track.values, dtype=np.float64) for track in tracks]
    noise = _noise(rows, series, len(names))
    for i, row in enumerate(rows):
        values[i, : len(row)] = _without_spikes(row, noise[i])
    after = np.zeros((len(tracks), values.shape[1] + 1))
    after[:, :-1] = np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
    canary = np.zeros(len(names), dtype=np.bool_)
    for track in tracks:
        canary[index[track.series]] |= track.canary
    variance = noise**2 * _inflation(rows) + counts / 4 * JITTER**2
    return Observations(
        counts=counts,
        after=after,
        means=after[:, 0] / np.maximum(counts, 1),
        weights=1 / variance,
        series=series,
        names=names,
        canary=canary,
    )


def _noise(rows: list[Floats], series: Ints, how_many: int) -> Floats:
    """[tracks]: standard deviation between neighbouring points, in which one step hardly counts."""
    own = np.array([_spread(np.diff(row)) / np.sqrt(2) for row in rows])
    known = np.array([max(len(row) - 1, 0) for row in rows], dtype=np.float64)
    pooled = np.full(how_many, SMALLEST_NOISE)
    for i in range(how_many):
        mine = own[(series == i) & (known >= 3)]
        if mine.size:
            pooled[i] = np.median(mine)
    together = pooled[series]
    variance = (_POOLED_POINTS * together**2 + known * own**2) / (_POOLED_POINTS + known)
    return np.asarray(np.maximum(np.sqrt(variance), SMALLEST_NOISE), dtype=np.float64)


def _spread(values: Floats) -> float:
    return _MAD_TO_SD * float(np.median(np.abs(values))) if values.size else 0.0


def _inflation(rows: list[Floats]) -> float:
    """How much less a mean of correlated points is worth than its neighbours' differences say.

    For a first-order autoregression the variance of differences over two steps is 1 + rho times that over one.
    """
    one = [_spread(np.diff(row)) for row in rows if len(row) >= 6]
    two = [_spread(row[2:] - row[:-2]) for row in rows if len(row) >= 6]
    ratios = [(b / a) ** 2 for a, b in zip(one, two, strict=True) if a > 0]
    rho = min(max(float(np.median(ratios)) - 1, 0.0), _MOST_CORRELATION) if ratios else 0.0
    return (1 + rho) / (1 - rho) ** 2


def _without_spikes(row: Floats, noise: float) -> Floats:
    if len(row) < 5:
        return row
    padded = np.concatenate([row[:1], row[:1], row, row[-1:], row[-1:]])
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    return np.asarray(np.clip(row, middle - _SPIKE * noise, middle + _SPIKE * noise), dtype=np.float64)
