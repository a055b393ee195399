"""Differences between hosts that ran the same series."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tesserabench.analysis.changepoints.levels import MAD_TO_DEVIATION, Values, checkpoint, middle_of

_REACH = 3
_FIRST_POINTS = frozenset((1, 2, 3, 4, 6, 8))
_SHRINKING = 0.5
_TELLING_HOSTS = 3
"""With two hosts nobody can tell which of them moved."""
_TELLING_POINTS = 2
_SHARED = 0.5
_DRIFT_POINTS = 12
_DRIFT_ERRORS = 5.0
_MEDIAN_ERROR = 1.25
"""Standard error of a median over that of a mean."""


@dataclass(frozen=True, slots=True)
class HostDrift:
    """A host whose points move away from those of all others, bit by bit."""

    host: str
    slope: float
    """By point of the series."""
    centre: float
    """Where its offset is the one that is told."""

    def at(self, place: float) -> float:
        """How far the host's points at a place lie above where they would without drift."""
        return self.slope * (place - self.centre)


def estimated_at(hosts: Sequence[str]) -> int:
    """By how many first points the offsets are estimated: those at the last checkpoint, or when a host was new.

    Between two such points one more point changes no offset, and so no point before it.
    """
    count = len(hosts)
    latest = checkpoint(count)
    seen: dict[str, int] = {}
    for place, host in enumerate(hosts, start=1):
        seen[host] = seen.get(host, 0) + 1
        if place > latest and seen[host] in _FIRST_POINTS:
            latest = place
    return latest


def host_offsets(values: Values, hosts: Sequence[str]) -> dict[str, float]:
    """By host, how far its points lie above those of the others.

    For every two hosts the median difference of points that stand at most three apart, so that steps of the level and
    a change from one host to another count little; all pairs together by least squares, weighted by their counts, and
    shrunk where there are few. The mean of the offsets is 0. One host has no offset.
    """
    names = sorted(set(hosts))
    if len(names) < 2:
        return {}
    number = {name: place for place, name in enumerate(names)}
    whose = np.array([number[name] for name in hosts])
    size = len(names)
    weights, targets = np.zeros((size, size)), np.zeros(size)
    pairs = [
        (whose[:-lag], whose[lag:], values[lag:] - values[:-lag]) for lag in range(1, min(_REACH, len(values) - 1) + 1)
    ]
    first, second, differences = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    swapped = first > second
    low, high = np.where(swapped, second, first), np.where(swapped, first, second)
    differences = np.where(swapped, -differences, differences)
    keys = low * size + high
    for key in np.unique(keys[low != high]):
        told = differences[keys == key]
        one, other = divmod(int(key), size)
        weight, middle = float(len(told)), middle_of(told)
        weights[one, one] += weight
        weights[other, other] += weight
        weights[one, other] -= weight
        weights[other, one] -= weight
        targets[other] += weight * middle
        targets[one] -= weight * middle
    offsets = np.linalg.solve(weights + _SHRINKING * np.eye(size), targets)
    return {name: float(offsets[number[name]]) for name in names}


def host_drift(values: Values, hosts: Sequence[str]) -> HostDrift | None:
    """The host that drifts away from the others most clearly, if one surely does and there are two others.

    From the differences between its points and those of other hosts at most three places away, which steps of the code
    hardly touch: the median of the later half less that of the earlier one.

    Args:
        values: points without offsets of hosts, by time.
        hosts: of each.
    """
    names = sorted(set(hosts))
    if len(names) < _TELLING_HOSTS:
        return None
    number = {name: place for place, name in enumerate(names)}
    whose = np.array([number[name] for name in hosts])
    lags = range(1, min(_REACH, len(values) - 1) + 1)
    near = np.concatenate([values[lag:] - values[:-lag] for lag in lags])
    first = np.concatenate([whose[:-lag] for lag in lags])
    second = np.concatenate([whose[lag:] for lag in lags])
    middles = np.concatenate([np.arange(len(values) - lag) + lag / 2 for lag in lags])
    found: list[tuple[float, HostDrift]] = []
    for name in names:
        of_it = (first == number[name]) != (second == number[name])
        order = np.argsort(middles[of_it], kind="stable")
        away = np.where(second[of_it] == number[name], near[of_it], -near[of_it])[order]
        times, half = middles[of_it][order], len(order) // 2
        points = int(np.count_nonzero(whose == number[name]))
        if min(half, points) < _DRIFT_POINTS:
            continue
        moved = middle_of(away[half:]) - middle_of(away[:half])
        slope = moved / float(times[half:].mean() - times[:half].mean())
        left = away - slope * (times - times.mean())
        deviation = MAD_TO_DEVIATION * middle_of(np.abs(left - middle_of(left)))
        error = _MEDIAN_ERROR * deviation * 2 / math.sqrt(points)
        if abs(moved) > _DRIFT_ERRORS * error:
            found.append((abs(moved) / max(error, 1e-300), HostDrift(name, slope, float(times.mean()))))
    return max(found, key=lambda one: one[0])[1] if found else None


def lone_move(before: Values, after: Values, hosts: Sequence[str]) -> tuple[str, float] | None:
    """The host that moved alone between two stretches, and by how much; None when the others moved, too.

    What changed the code moves all hosts alike. One host did it when the squares that are explained by a shift of its
    points alone exceed those explained by one shift of all points, and the others moved by less than half as much.

    Args:
        before: points without offsets of hosts, by time.
        after: those that follow.
        hosts: of all these points.
    """
    sides = [
        {name: part[np.array([host == name for host in names])] for name in set(names)}
        for part, names in ((before, hosts[: len(before)]), (after, hosts[len(before) :]))
    ]
    shifts: dict[str, tuple[float, float]] = {}
    for name in sorted(sides[0].keys() & sides[1].keys()):
        early, late = sides[0][name], sides[1][name]
        if min(len(early), len(late)) >= _TELLING_POINTS:
            weight = len(early) * len(late) / (len(early) + len(late))
            shifts[name] = (middle_of(late) - middle_of(early), weight)
    if len(shifts) < _TELLING_HOSTS:
        return None
    moved, weights = sum(shift * weight for shift, weight in shifts.values()), sum(one for _, one in shifts.values())
    name, (shift, weight) = max(shifts.items(), key=lambda item: item[1][0] ** 2 * item[1][1])
    others = (moved - shift * weight) / (weights - weight)
    alone = shift**2 * weight > moved**2 / weights and abs(others) < _SHARED * abs(shift)
    return (name, shift) if alone else None
