"""The device that differs from others of its model, by what runs have given anyway: no measurement of its own.

Every point is set against what the siblings gave for the same series at the same commit. A sibling that did not measure
that commit counts with what it gave before and after: only what lies beyond both may be the device's, since between
the two the code may have changed, and where it gave nothing after, it says nothing. A device's deviation in a class of
tests is the median over series, then over runs, in logarithms and positive for slower. It stands against how much
siblings differ usually and against its own noise:

    z = deviation / sqrt(spread of the siblings^2 + error of the deviation^2)

The spread is shrunk towards what siblings of a model usually differ by, since a few devices say little about it. Only
what shows again in other runs counts.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

import numpy as np
from numpy.typing import NDArray

_MAD_TO_SD = 1.4826

USUAL_SPREAD = 0.015
"""Standard deviation between devices of a model to assume beforehand, with the weight of `_PRIOR_DEVICES`: of NVIDIA's
large GPUs the same kernel differs by 1 to 2.5 % between cards."""
_PRIOR_DEVICES = 4
_SIGNIFICANT = 4.0
"""z from which on a device differs: a fleet of thousands of devices and classes sees one by chance in thirty checks."""
_SMALLEST_ERROR = 0.001
_ENOUGH_AT_A_COMMIT = 4
"""Devices that have measured the same commit, from which on nothing else is looked at."""
_SAME_CODE = math.log1p(0.03)
"""Change of a device's values, in logarithms, below which nobody needs to ask what the code did: it is no device's."""
_DRIFT_Z = 4.0
_DRIFT_RUNS = 8


class Standing(StrEnum):
    """The answer to "is it like its siblings"."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    SLOW = "slow"
    FAST = "fast"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What decides."""

    minimum_effect: float = 0.03
    """Fraction from which on a deviation matters."""
    largest_visible: float = 0.10
    """A device of which not even this much would be seen is inconclusive."""
    minimum_siblings: int = 3
    """Two devices that differ do not say which of them it is."""
    minimum_runs: int = 2
    recent_runs: int = 4
    """Only so many of the last runs on a device decide: three that are slow are enough, and three that are not."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one device gave for one series in one run."""

    series: str
    test_class: str
    model: str
    host: str
    device: str
    run: int
    at: float
    """Seconds since the epoch."""
    commit: str
    value: float
    """In natural logarithms."""
    slower: int
    """1 where a larger value is slower, -1 where it is faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStanding:
    """How a device does in one class of tests."""

    model: str
    host: str
    device: str
    test_class: str
    standing: Standing
    reason: str
    """Why it is inconclusive, or what was seen."""
    deviation: float
    """Fraction that it is slower than its siblings; negative when faster. Shrunk by how little it is known."""
    z: float
    smallest_visible: float
    """Fraction that would have been called slow."""
    series: int
    runs: int
    siblings: int
    drift: float
    """Fraction that it has become slower by over the runs at hand."""
    drifting: bool
    recent: tuple[float, ...]
    """Its deviation run by run as fractions, oldest first."""
    last_at: float


def standings(readings: Sequence[Reading], terms: Terms | None = None) -> tuple[DeviceStanding, ...]:
    """How every device does against the others of its model in every class of tests, by model, host, device, class."""
    decide = terms or Terms()
    groups: defaultdict[tuple[str, str], list[Reading]] = defaultdict(list)
    for reading in readings:
        groups[reading.model, reading.test_class].append(reading)
    found = [one for key in sorted(groups) for one in _group(groups[key], decide)]
    return tuple(sorted(found, key=lambda one: (one.model, one.host, one.device, one.test_class)))


def _group(readings: Sequence[Reading], terms: Terms) -> Iterable[DeviceStanding]:
    """The devices of one model in one class of tests."""
    deviations: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    series: defaultdict[str, set[str]] = defaultdict(set)
    newest: dict[str, Reading] = {}
    by_series: defaultdict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        by_series[reading.series].append(reading)
        if reading.device not in newest or reading.at > newest[reading.device].at:
            newest[reading.device] = reading
    for mine in by_series.values():
        for reading, reference in zip(mine, _references(mine), strict=True):
            if reference is not None:
                deviations[reading.device][reading.run].append(reading.slower * (reading.value - reference))
                series[reading.device].add(reading.series)
    rows = {device: _by_run(runs) for device, runs in deviations.items()}
    levels = {device: float(np.median(row[-terms.recent_runs :])) for device, row in rows.items()}
    for device, reading in newest.items():
        row = rows.get(device, np.array([]))
        others = np.array([level for other, level in levels.items() if other != device])
        yield _standing(reading, row, others, len(series[device]), terms)


def _by_run(runs: Mapping[int, Sequence[float]]) -> NDArray[np.float64]:
    return np.array([median(runs[run]) for run in sorted(runs)])


def _references(readings: Sequence[Reading]) -> list[float | None]:
    """For each reading of a series the middle of what the other devices gave for it; none without any."""
    by_code: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, reading in enumerate(readings):
        # Within a run the code is the same, whatever it is called.
        by_code[reading.commit or f"run {reading.run}"][reading.device].append(index)
    found: list[float | None] = [None] * len(readings)
    neighbours: _Neighbours | None = None
    for devices in by_code.values():
        groups = list(devices.values())
        values = np.array([median([readings[i].value for i in group]) for group in groups])
        if len(devices) >= _ENOUGH_AT_A_COMMIT:
            for group, middle in zip(groups, _middles_of_others(values).tolist(), strict=True):
                for index in group:
                    found[index] = middle
            continue
        neighbours = neighbours or _Neighbours(readings)
        same = dict(zip(devices, values.tolist(), strict=True))
        for group in groups:
            for index in group:
                found[index] = neighbours.middle(readings[index], same)
    return found


def _middles_of_others(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each of at least two values the median of all others."""
    order = np.argsort(values, kind="stable")
    ranks = np.empty(values.size, dtype=np.int64)
    ranks[order] = np.arange(values.size)
    ordered = values[order]
    low, high = (values.size - 2) // 2, (values.size - 1) // 2
    # Without the value of rank r, what stood from r on moves down by one.
    return np.asarray((ordered[low + (ranks <= low)] + ordered[high + (ranks <= high)]) / 2, dtype=np.float64)


class _Neighbours:
    """What every device gave next to a moment."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        groups: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for reading in readings:
            groups[reading.device].append((reading.at, reading.value))
        ordered = {device: sorted(rows) for device, rows in groups.items()}
        self._times = {device: np.array([at for at, _ in rows]) for device, rows in ordered.items()}
        self._values = {device: np.array([value for _, value in rows]) for device, rows in ordered.items()}

    def middle(self, reading: Reading, same: Mapping[str, float]) -> float | None:
        """The middle of what the other devices say about a reading; none when none of them says anything.

        Args:
            reading: Of one device.
            same: What devices gave at its commit.
        """
        values = [
            same[device] if device in same else self._between(device, reading)
            for device in self._times
            if device != reading.device
        ]
        known = [value for value in values if value is not None]
        return median(known) if known else None

    def _between(self, device: str, reading: Reading) -> float | None:
        """What a device says about a reading of code that it has not measured, by what it gave before and after.

        Where the two are about the same, that; else the code has changed, and what lies between them is no deviation.
        """
        place = int(np.searchsorted(self._times[device], reading.at))
        if not 0 < place < len(self._times[device]):
            return None
        before, after = float(self._values[device][place - 1]), float(self._values[device][place])
        if abs(after - before) < _SAME_CODE:
            return (before + after) / 2
        return min(max(reading.value, min(before, after)), max(before, after))


def _standing(
    newest: Reading, row: NDArray[np.float64], others: NDArray[np.float64], series: int, terms: Terms
) -> DeviceStanding:
    recent = row[-terms.recent_runs :]
    level = float(np.median(recent)) if recent.size else 0.0
    spread = _spread(others)
    error = _error(recent)
    whole = math.hypot(spread, error)
    visible = max(terms.minimum_effect, math.expm1(_SIGNIFICANT * whole))
    z = level / whole
    # The positive part of Stein's estimator: what noise explains goes to nothing, what stands out stays as it is.
    kept = max(0.0, 1 - 1 / z**2) if z else 0.0
    drift, drifting = _drift(row, terms)
    standing, reason = _decide(level, whole, recent, siblings=len(others), visible=visible, terms=terms)
    return DeviceStanding(
        model=newest.model,
        host=newest.host,
        device=newest.device,
        test_class=newest.test_class,
        standing=standing,
        reason=reason,
        deviation=math.expm1(kept * level),
        z=z,
        smallest_visible=visible,
        series=series,
        runs=int(recent.size),
        siblings=len(others),
        drift=drift,
        drifting=drifting,
        recent=tuple(math.expm1(value) for value in row.tolist()),
        last_at=newest.at,
    )


def _spread(others: NDArray[np.float64]) -> float:
    """How much siblings differ from each other, shrunk towards the usual."""
    own = _MAD_TO_SD * float(np.median(np.abs(others - np.median(others)))) if others.size > 1 else 0.0
    known = max(others.size - 1, 0)
    return math.sqrt((_PRIOR_DEVICES * USUAL_SPREAD**2 + known * own**2) / (_PRIOR_DEVICES + known))


def _error(recent: NDArray[np.float64]) -> float:
    """Standard error of the median of the runs; a single run is taken to be as noisy as siblings are different."""
    if recent.size < 2:
        return USUAL_SPREAD
    spread = _MAD_TO_SD * float(np.median(np.abs(recent - np.median(recent))))
    return max(1.2533 * spread / math.sqrt(recent.size), _SMALLEST_ERROR)


def _decide(
    level: float, whole: float, recent: NDArray[np.float64], *, siblings: int, visible: float, terms: Terms
) -> tuple[Standing, str]:
    if siblings < terms.minimum_siblings:
        needed = terms.minimum_siblings
        return Standing.INCONCLUSIVE, f"{siblings} siblings have measured the same; {needed} are needed"
    if recent.size < terms.minimum_runs:
        return Standing.INCONCLUSIVE, f"{recent.size} of the {terms.minimum_runs} runs that are needed"
    least = math.log1p(terms.minimum_effect)
    # Two runs must say so, the last one among them: a visit of a neighbour is no property of the device.
    again = bool((np.sign(level) * recent[-terms.minimum_runs :] > least / 2).all())
    if abs(level) >= least and abs(level) / whole >= _SIGNIFICANT and again:
        return (Standing.SLOW, "") if level > 0 else (Standing.FAST, "")
    if visible > terms.largest_visible:
        return Standing.INCONCLUSIVE, "its runs or its siblings differ too much"
    return Standing.PASS, ""


def _drift(row: NDArray[np.float64], terms: Terms) -> tuple[float, bool]:
    """How much slower it became from its first run to its last, by Theil and Sen's slope, and whether that is sure.

    Kendall's S over all pairs of runs has mean 0 and variance n (n - 1) (2 n + 5) / 18 without a trend.
    """
    count = row.size
    if count < _DRIFT_RUNS:
        return 0.0, False
    first, second = np.triu_indices(count, 1)
    difference = row[second] - row[first]
    total = float(np.median(difference / (second - first))) * (count - 1)
    score = abs(float(np.sign(difference).sum())) / math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return math.expm1(total), score >= _DRIFT_Z and abs(total) >= math.log1p(terms.minimum_effect)
