"""Differences between hosts that ran the same series."""

from collections.abc import Mapping, Sequence

import numpy as np
from tesserabench.analysis.changepoints.levels import Values

_WINDOW = 31
_ROUNDS = 5


def host_offsets(values: Values, hosts: Sequence[str]) -> Mapping[str, float]:
    """By host, how far its points lie from a running median of all, which is free of the offsets of the others.

    Backfitting: level and offsets are estimated in turns, by medians. The median of the offsets is 0.
    """
    names = sorted(set(hosts))
    if len(names) < 2:
        return {}
    number = {name: place for place, name in enumerate(names)}
    whose = np.array([number[name] for name in hosts])
    offsets = np.zeros(len(names))
    window = min(_WINDOW, len(values) - 1 + len(values) % 2)
    half = window // 2
    for _ in range(_ROUNDS):
        padded = np.pad(values - offsets[whose], (half, half), mode="reflect")
        level = np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)
        found = np.array([np.median((values - level)[whose == host]) for host in range(len(names))])
        offsets = found - np.median(found)
    return {name: float(offsets[number[name]]) for name in names}
