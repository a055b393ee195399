"""Differences between hosts that ran the same series."""

from collections.abc import Sequence

import numpy as np
from tesserabench.analysis.changepoints.levels import Values, checkpoint, middle_of

_REACH = 3
_FIRST_POINTS = frozenset((1, 2, 3, 4, 6, 8))
_SHRINKING = 0.5


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
