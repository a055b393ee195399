"""Where the noise of a series comes from: launches, runs or devices; and what change can be seen through it."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ERROR = 1.959964
_POWER = 0.841621
"""Quantiles of the normal distribution for 95 % confidence, two-sided, and 80 % power."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSample:
    """The launches of one series in one run on one device."""

    run: int
    device: str
    launches: int
    mean: float
    """Of the logarithms of the launches."""
    variance: float | None
    """Of the logarithms; None with a single launch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseShares:
    """The noise of one series while nothing changes. Shares add up to one, or are all nothing where nothing varies."""

    runs: int
    launches: int
    relative_deviation: float
    """Median absolute deviation of the runs from their device's median, as a fraction of it."""
    within_run: float
    between_runs: float
    between_devices: float
    detectable: float
    """Fraction that a comparison of two runs on one device sees four times out of five."""
    launches_a_side: float


def noise_shares(samples: Sequence[RunSample]) -> NoiseShares:
    """The components of the variance of at least one sample, by the method of moments.

    What runs differ by is taken from neighbouring runs on a device (half the mean square of successive differences),
    in which a step of the code hardly counts. A component that comes out negative is nothing.
    """
    by_device: defaultdict[str, list[RunSample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda one: one.run):
        by_device[sample.device].append(sample)
    each = _harmonic_mean([sample.launches for sample in samples])
    within = _within(samples)
    steps = [(b.mean - a.mean) ** 2 / 2 for rows in by_device.values() for a, b in itertools.pairwise(rows)]
    between_runs = max(_middle_square(steps) - within / each, 0.0)
    device_means = [float(np.median([row.mean for row in rows])) for rows in by_device.values()]
    of_a_run = between_runs + within / each
    per_device = _harmonic_mean([len(rows) for rows in by_device.values()])
    spread = float(np.var(device_means, ddof=1)) if len(device_means) > 1 else 0.0
    between_devices = max(spread - of_a_run / per_device, 0.0)
    total = within + between_runs + between_devices
    away = [abs(row.mean - np.median([one.mean for one in rows])) for rows in by_device.values() for row in rows]
    return NoiseShares(
        runs=len({sample.run for sample in samples}),
        launches=sum(sample.launches for sample in samples),
        relative_deviation=math.expm1(float(np.median(away))),
        within_run=within / total if total else 0.0,
        between_runs=between_runs / total if total else 0.0,
        between_devices=between_devices / total if total else 0.0,
        detectable=math.expm1((_ERROR + _POWER) * math.sqrt(2 * of_a_run)),
        launches_a_side=each,
    )


def _within(samples: Sequence[RunSample]) -> float:
    told = [(one.launches - 1, one.variance) for one in samples if one.variance is not None and one.launches > 1]
    degrees = sum(weight for weight, _ in told)
    return sum(weight * variance for weight, variance in told) / degrees if degrees else 0.0


def _middle_square(squares: Sequence[float]) -> float:
    """The variance that squares of normal differences have; by their median, so that steps do not count."""
    # The median of a chi-squared variable of one degree of freedom is 0.4549.
    return float(np.median(squares)) / 0.4549 if squares else 0.0


def _harmonic_mean(counts: Sequence[int]) -> float:
    return len(counts) / sum(1 / count for count in counts)
