"""Detectors of change points: ours, three libraries as they are installed, and published rules in our own words.

A detector takes the values of a history, oldest first, and the host of each point or None, and returns the first index
of every new level. The libraries come from build/peers (`make bench-detection` installs them there); one that is not
there is left out by name, never silently.
"""

import importlib
import math
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from tesserabench.analysis.changepoints import Tail, analyse

Floats = npt.NDArray[np.float64]
Detect = Callable[[Sequence[float], Sequence[str] | None], list[int]]

PEERS = Path(__file__).resolve().parents[2] / "build" / "peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A detector with its name."""

    name: str
    detect: Detect
    package: str | None = None
    """The library that it calls."""
    replay: bool = False
    """Fast enough to be asked again after every point."""
    longest: int = 10_000
    """Histories longer than this take it minutes or more."""


def detectors() -> list[Detector]:
    """Every detector that can run here, ours first."""
    sys.path.append(str(PEERS))
    return [detector for detector in ALL if detector.package is None or _installed(detector.package)]


def absent() -> list[str]:
    """Names of the detectors whose library is not installed."""
    return [item.name for item in ALL if item.package is not None and not _installed(item.package)]


def _installed(package: str) -> bool:
    return (PEERS / package).is_dir()


def ours(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """What a user is shown: suspected and confirmed steps."""
    return [change.index for change in analyse(values, hosts).changes]


def one_more_point(values: Sequence[float]) -> Callable[[float], object]:
    """Our detector with a history behind it: what a further point costs is a call of the result."""
    tail = Tail.start()
    tail.extend(values)
    return lambda value: tail.extend([value])


# --- libraries -------------------------------------------------------------------------------------------------------


def otava(window: int = 50, largest_p: float = 0.001, magnitude: float = 0.0) -> Detect:
    """Otava with its defaults: windows of 50 points, p below 0.001."""

    def detect(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
        if len(values) < 3:
            return []
        library: Any = importlib.import_module("otava.analysis")
        found, _ = library.compute_change_points(
            list(values), window_len=window, max_pvalue=largest_p, min_magnitude=magnitude
        )
        return [int(item.index) for item in found]

    return detect


def otava_permuting(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """Otava's --orig-edivisive: no windows, permutations."""
    if len(values) < 4:
        return []
    library: Any = importlib.import_module("otava.analysis")
    found, _ = library.compute_change_points_orig(np.asarray(values, dtype=float), max_pvalue=0.001, seed=1)
    return [int(item.index) for item in found]


def e_divisive(largest_p: float) -> Detect:
    """MongoDB's library with its 100 permutations; seeded here, since it is not by itself."""

    def detect(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
        if len(values) < 4:
            return []
        name = "signal_processing_algorithms.energy_statistics.energy_statistics"
        library: Any = importlib.import_module(name)
        np.random.seed(1)  # noqa: NPY002 - the library draws from this generator
        return [int(index) for index in library.e_divisive(list(values), pvalue=largest_p, permutations=100)]

    return detect


def ruptures_kernel(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """Ruptures' KernelCPD with a radial kernel and the penalty 2 log n."""
    if len(values) < 6:
        return []
    library: Any = importlib.import_module("ruptures")
    fitted = library.KernelCPD(kernel="rbf", min_size=3).fit(np.asarray(values, dtype=float).reshape(-1, 1))
    return [int(index) for index in fitted.predict(pen=2 * math.log(len(values)))[:-1]]


def ruptures_pelt(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """Ruptures' PELT over squares, with the information criterion's penalty for the noise between neighbours."""
    if len(values) < 6:
        return []
    library: Any = importlib.import_module("ruptures")
    series = np.asarray(values, dtype=float)
    noise = 1.4826 * float(np.median(np.abs(np.diff(series)))) / math.sqrt(2) or 1e-9 * abs(float(np.median(series)))
    fitted = library.Pelt(model="l2", min_size=3, jump=1).fit(series)
    return [int(index) for index in fitted.predict(pen=2 * noise**2 * math.log(len(series)))[:-1]]


def airspeed_velocity(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """The steps that asv publish finds."""
    if len(values) < 3:
        return []
    if "asv" not in sys.modules:
        # Its own __init__ loads every plug-in of its command; only the module of steps is wanted.
        package = types.ModuleType("asv")
        package.__path__ = [str(PEERS / "asv")]
        sys.modules["asv"] = package
    library: Any = importlib.import_module("asv.step_detect")
    return [int(step[0]) for step in library.detect_steps(list(values))[1:]]


# --- published rules -------------------------------------------------------------------------------------------------


def _first_of_each_group(alarms: Sequence[int], gap: int = 3) -> list[int]:
    """An alarm that follows another within `gap` points is the same one."""
    return [index for place, index in enumerate(alarms) if place == 0 or index - alarms[place - 1] > gap]


def perfherder(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """At every push a t of the 12 to 24 points before, the nearest weighing most, against the 12 after: local maxima
    above 7 whose plain means differ by 2 %.
    """
    series, scores, changes, since = np.asarray(values, dtype=float), [0.0], [0.0], 0
    for at in range(1, len(series)):
        before = series[at - min(max(since, 12), 24, at) : at][::-1]
        after = series[at : at + 12]
        parts = [_weighted(before), _weighted(after)]
        difference, error = abs(parts[1][0] - parts[0][0]), math.sqrt(parts[0][1] + parts[1][1])
        scores.append(0.0 if difference == 0 else difference / error if error else math.inf)
        changes.append(abs(float(after.mean() / before.mean()) - 1))
        since = 0 if scores[-1] > 7 else since + 1
    return [
        at
        for at in range(12, len(series) - 11)
        if scores[at] > 7 and scores[at] >= max(scores[at - 1], scores[at + 1]) and changes[at] >= 0.02
    ]


def _weighted(points: Floats) -> tuple[float, float]:
    """Mean with linearly falling weights, and the variance about it over the count."""
    weights = np.linspace(1, 0, len(points), endpoint=False)
    mean = float(np.average(points, weights=weights))
    return mean, float(((points - mean) ** 2).sum()) / max(1, len(points) - 1) / len(points)


def skia_ranks(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """Mann and Whitney's test of the seven points before against the point and the seven after, p at most 0.001."""
    ps = np.ones(len(values))
    for at in range(7, len(values) - 7):
        ps[at] = stats.mannwhitneyu(values[at - 7 : at], values[at : at + 8]).pvalue
    lowest = [at for at in range(len(ps)) if ps[at] <= 0.001 and ps[at] == ps[max(0, at - 7) : at + 8].min()]
    return _first_of_each_group(lowest, 7)


def bencher(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """Every point outside the one-sided 99 % prediction limits of the 64 before it."""
    alarms = []
    for at in range(2, len(values)):
        past = np.asarray(values[max(0, at - 64) : at])
        limit = stats.t.ppf(0.99, len(past) - 1) * past.std(ddof=1) * math.sqrt(1 + 1 / len(past))
        if abs(values[at] - past.mean()) > limit > 0:
            alarms.append(at)
    return _first_of_each_group(alarms)


def conbench(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """Every point five standard deviations of earlier residuals from the mean of the 100 before it."""
    alarms, residuals = [], [0.0]
    for at in range(1, len(values)):
        mean = float(np.mean(values[max(0, at - 100) : at]))
        spread = float(np.std(residuals[-100:], ddof=1)) if at > 2 else 0.0
        if abs(values[at] - mean) > 5 * spread > 0:
            alarms.append(at)
        residuals.append(values[at] - mean)
    return _first_of_each_group(alarms)


def rustc_perf(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
    """Changes beyond the upper fence (Q3 + 3 IQR) of the last thirty, that are not tiny."""
    alarms = []
    for at in range(31, len(values)):
        recent = np.asarray(values[at - 31 : at])
        lower, upper = np.quantile(np.abs(np.diff(recent)) / recent[:-1], [0.25, 0.75])
        fence, change = upper + 3 * (upper - lower), abs(values[at] / values[at - 1] - 1)
        if change > fence and change > 0.002:
            alarms.append(at)
    return _first_of_each_group(alarms, 0)


def against_previous(share: float) -> Detect:
    """Every point that differs from the previous one by more than a share."""

    def detect(values: Sequence[float], hosts: Sequence[str] | None) -> list[int]:
        return [at for at in range(1, len(values)) if not 1 / (1 + share) <= values[at] / values[at - 1] <= 1 + share]

    return detect


OURS = "TesseraBench"
ALL = (
    Detector(name=OURS, detect=ours, replay=True),
    Detector(name="Otava 0.8", detect=otava(), package="otava", replay=True),
    Detector(name="Otava 0.8, magnitude 2 %", detect=otava(magnitude=0.02), package="otava"),
    Detector(name="Nyrkio (Otava, 5 %)", detect=otava(magnitude=0.05), package="otava"),
    Detector(name="Otava, original E-divisive", detect=otava_permuting, package="otava", longest=200),
    Detector(
        name="MongoDB E-divisive, p .05", detect=e_divisive(0.05), package="signal_processing_algorithms", longest=1000
    ),
    Detector(
        name="MongoDB E-divisive, p .01", detect=e_divisive(0.01), package="signal_processing_algorithms", longest=1000
    ),
    # Its matrix of 10 000 points would take 800 MB.
    Detector(name="ruptures KernelCPD", detect=ruptures_kernel, package="ruptures", replay=True, longest=5000),
    Detector(name="ruptures PELT", detect=ruptures_pelt, package="ruptures", longest=1000),
    Detector(name="asv steps", detect=airspeed_velocity, package="asv", replay=True),
    Detector(name="Perfherder, t 7, 2 %", detect=perfherder),
    Detector(name="Skia ranks, p .001", detect=skia_ranks),
    Detector(name="Bencher t-test .99", detect=bencher),
    Detector(name="Conbench, z 5", detect=conbench),
    Detector(name="rustc-perf", detect=rustc_perf),
    Detector(name="5 % against the previous", detect=against_previous(0.05)),
    Detector(name="github-action-benchmark, 200 %", detect=against_previous(1.0)),
)
