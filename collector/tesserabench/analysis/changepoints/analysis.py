"""Whole histories, taken apart."""

from collections.abc import Sequence

import numpy as np
from tesserabench.analysis.changepoints.assembly import Assembly
from tesserabench.analysis.changepoints.model import SeriesAnalysis, Settings
from tesserabench.analysis.changepoints.windows import SIZE, STRIDE, Window, begin, logarithms, settle

History = tuple[Sequence[float], Sequence[str] | None]
"""Values, oldest first, and the host of each, or None."""

_BATCH = 64


def analyse(
    values: Sequence[float], hosts: Sequence[str] | None = None, settings: Settings | None = None
) -> SeriesAnalysis:
    """Levels, steps, drifts and excursions of a history, oldest point first; `hosts` names the host of every point.

    Points that are not finite have no say. The answer depends on nothing but the arguments.

    Raises:
        ValueError: `hosts` has another length than `values`.
    """
    return analyse_many([(values, hosts)], settings)[0]


def analyse_many(histories: Sequence[History], settings: Settings | None = None) -> list[SeriesAnalysis]:
    """`analyse` for many histories, several times as fast as one by one.

    Raises:
        ValueError: a history has hosts of another number than values.
    """
    settings = settings or Settings()
    found: list[SeriesAnalysis] = []
    for first in range(0, len(histories), _BATCH):
        parts = [_Parts(values, hosts, settings) for values, hosts in histories[first : first + _BATCH]]
        settle([window for part in parts for window in part.windows])
        found += [part.assembled() for part in parts]
    return found


class _Parts:
    """A history cut into windows."""

    def __init__(self, values: Sequence[float], hosts: Sequence[str] | None, settings: Settings) -> None:
        if hosts is not None and len(hosts) != len(values):
            raise ValueError(f"hosts has {len(hosts)} names for {len(values)} values; give one for each")
        self.count = len(values)
        numbers = np.array(values, dtype=np.float64)
        finite = np.isfinite(numbers)
        raw, logs = numbers[finite].tolist(), logarithms(numbers[finite].tolist())
        self.places: list[int] = np.flatnonzero(finite).tolist()
        named = None if hosts is None else [hosts[place] for place in self.places]
        starts = range(0, max(len(raw) - SIZE + STRIDE - 1, 0) + 1, STRIDE)
        self.windows: list[Window] = [
            begin(
                settings,
                raw[start : start + SIZE],
                None if named is None else named[start : start + SIZE],
                logs[start : start + SIZE],
            )
            for start in starts
        ]

    def assembled(self) -> SeriesAnalysis:
        """The answer of all windows, which are settled."""
        assembly = Assembly()
        last = len(self.windows) - 1
        start, at = 0, self.places
        for number, window in enumerate(self.windows):
            start = number * STRIDE
            at = self.places[start : start + SIZE]
            assembly.add(window, start, at, newest=number == last)
        return assembly.finished(self.windows[-1], start, at, self.count)
