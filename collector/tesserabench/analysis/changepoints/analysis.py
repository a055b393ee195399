"""A whole history, taken apart."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tesserabench.analysis.changepoints.acceptance import accepted, robust_mean
from tesserabench.analysis.changepoints.hosts import host_offsets
from tesserabench.analysis.changepoints.levels import Values, deviation_of, split
from tesserabench.analysis.changepoints.model import ChangePoint, SeriesAnalysis, Settings, Status, Transient
from tesserabench.analysis.changepoints.noise import describe

_FEWEST = 6
_CONFIRMING = 5
_STRONG = 2.0


def analyse(
    values: Sequence[float], hosts: Sequence[str] | None = None, settings: Settings | None = None
) -> SeriesAnalysis:
    """Levels, steps and excursions of a history, oldest point first; `hosts` names the host of every point.

    Points that are not finite have no say. The answer depends on nothing but the arguments.

    Raises:
        ValueError: `hosts` has another length than `values`.
    """
    settings = settings or Settings()
    raw = np.asarray(values, dtype=np.float64)
    if hosts is not None and len(hosts) != len(raw):
        raise ValueError(f"hosts has {len(hosts)} names for {len(raw)} values; give one for each")
    places = np.flatnonzero(np.isfinite(raw))
    if not len(places):
        return SeriesAnalysis(points=len(raw))
    logs = _levels_of(raw[places])
    offsets = host_offsets(logs, [hosts[int(place)] for place in places]) if hosts is not None else {}
    if hosts is not None and offsets:
        logs = logs - np.array([offsets[hosts[int(place)]] for place in places])
    return _assembled(logs, places, len(raw), settings, offsets)


def _levels_of(values: Values) -> Values:
    if (values > 0).all():
        return np.log(values)
    unit = float(np.median(np.abs(values))) or float(np.abs(values).max()) or 1.0
    return values / unit


def _assembled(
    logs: Values, places: NDArray[np.intp], count: int, settings: Settings, offsets: Mapping[str, float]
) -> SeriesAnalysis:
    deviation = deviation_of(logs)
    smallest = math.log1p(settings.smallest_change)
    proposed = split(logs, deviation) if len(logs) >= _FEWEST else []
    kept, found, bursts = accepted(logs, proposed, deviation * settings.strictness, smallest)
    bounds = [0, *kept, len(logs)]
    at = [*map(int, places), count]
    segments = [
        describe(logs[a:b], at[a] if a else 0, at[b], deviation, smallest) for a, b in itertools.pairwise(bounds)
    ]
    changes = [
        ChangePoint(
            index=at[index],
            earliest=at[max(left, index - 1)],
            latest=at[min(right - 1, index + 1)],
            shift=after.level - before.level,
            strength=strength,
            status=Status.CONFIRMED if right - index >= _CONFIRMING or strength >= _STRONG else Status.SUSPECTED,
        )
        for left, index, right, before, after, strength in zip(
            bounds, bounds[1:], bounds[2:], segments, segments[1:], found, strict=False
        )
    ]
    transients = [
        Transient(start=at[a], end=at[b], shift=robust_mean(logs[a:b], deviation) - float(np.median(logs)))
        for a, b in sorted(bursts)
    ]
    return SeriesAnalysis(
        points=count,
        segments=tuple(segments),
        changes=tuple(changes),
        transients=tuple(transients),
        host_offsets=offsets,
    )
