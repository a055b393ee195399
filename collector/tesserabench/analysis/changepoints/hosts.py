"""Differences between hosts that ran the same series."""

from collections.abc import Sequence

import numpy as np
from tesserabench.analysis.changepoints.levels import Values, checkpoint
from tesserabench.analysis.changepoints.stretches import middle_of

_WINDOW = 31
_ROUNDS = 5
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
    """By host, how far its points lie from a running median of all, which is free of the offsets of the others.

    Backfitting: level and offsets are estimated in turns, by medians. The median of the offsets is 0; a host with few
    points is taken to be more like the others than it seems. One host has no offset.
    """
    names = sorted(set(hosts))
    if len(names) < 2:
        return {}
    number = {name: place for place, name in enumerate(names)}
    whose = np.array([number[name] for name in hosts])
    counts = np.bincount(whose, minlength=len(names))
    shrinking = counts / (counts + _SHRINKING)
    members = [np.flatnonzero(whose == host) for host in range(len(names))]
    offsets = np.zeros(len(names))
    window = min(_WINDOW, len(values) - 1 + len(values) % 2)
    half = window // 2
    for _ in range(_ROUNDS):
        padded = np.pad(values - offsets[whose], (half, half), mode="reflect")
        level = np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)
        away = values - level
        found = np.array([middle_of(away[member]) for member in members])
        offsets = (found - middle_of(found)) * shrinking
    return {name: float(offsets[number[name]]) for name in names}
