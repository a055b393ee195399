"""How much worse the head is than the base, and how surely: a difference of mean log medians of launches.

Three sources of noise, in this order of preference:

- three launches a side and more: Welch's interval over launches, plus what runs differ by beyond their launches;
- fewer: each launch's own interval, plus an assumed spread between launches (`policy.noise_floor`);
- the series' history, when there is one, replaces what is assumed, and bounds what is measured from below: three
  launches that happen to agree do not make a noisy machine quiet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.policy import (
    LAUNCH_RESOLUTION,
    RUN_TO_LAUNCH_NOISE,
    SIBLING_NOISE,
    NoiseFloor,
    Policy,
    noise_floor,
)
from tesserabench.analysis.student import quantile
from tesserabench.analysis.words import Better

_MOST_LAUNCHES = 100
"""More than this many launches a side are never recommended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A change in log units, positive for worse."""

    worsening: float
    error: float
    """Standard error of `worsening`."""
    degrees: float
    """Degrees of freedom of `error`."""
    launch_variance: float
    """Part of the variance that shrinks with more launches, times the launches a side."""
    fixed_variance: float
    """Part of the variance that more launches in the same two runs do not shrink."""
    elsewhere: bool = False
    """The two sides have no device in common."""

    def half_width(self, confidence: float) -> float:
        """Half the width of the interval of `worsening`."""
        return quantile((1 + confidence) / 2, self.degrees) * self.error

    def launches_to_reach(self, half_width: float, confidence: float) -> int | None:
        """Launches a side that make the interval this narrow; None when no sensible number does."""
        if half_width <= 0:
            return None
        for launches in range(2, _MOST_LAUNCHES + 1):
            variance = self.launch_variance / launches + self.fixed_variance
            if quantile((1 + confidence) / 2, 2.0 * (launches - 1)) * math.sqrt(variance) <= half_width:
                return launches
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contrast:
    """Head minus base at one place; each part is a variance and its degrees of freedom."""

    difference: float
    parts: tuple[tuple[float, float], ...]
    launch_variance: float
    measured: bool
    """Whether the spread between launches was measured rather than assumed."""


def estimate(base: Side, head: Side, policy: Policy, history: RunNoise | None) -> Effect:
    """The effect between two sides whose launches all have a positive finite value.

    Launches are compared place by place where the sides share places, since a device differs from its siblings.
    """
    floor = NoiseFloor(launch=0.0, run=0.0) if history else noise_floor(head.device_kind)
    places = sorted({launch.place for launch in base.launches} & {launch.place for launch in head.launches})
    pairs = [(_at(base, place), _at(head, place)) for place in places] or [(base.launches, head.launches)]
    contrasts = [_contrast(ours, theirs, floor, policy) for ours, theirs in pairs]
    count = len(contrasts)
    parts = [(variance / count**2, degrees) for contrast in contrasts for variance, degrees in contrast.parts]
    spread = sum(contrast.launch_variance for contrast in contrasts) / count
    restless = sum(contrast.launch_variance for contrast in contrasts if contrast.measured) / count
    unshared = sum(_unshared(ours, theirs) for ours, theirs in pairs) / count
    between_runs = 0.0 if history else max(2 * floor.run**2, RUN_TO_LAUNCH_NOISE**2 * restless) * unshared / 2
    fixed = between_runs / count + (0.0 if places else 2 * SIBLING_NOISE**2)
    error, degrees = _satterthwaite(parts, fixed)
    if history:
        error, degrees = _wider((error, degrees), (_of_runs(base, head, history), history.degrees), policy)
    sign = 1.0 if head.better is Better.LOWER else -1.0
    return Effect(
        worsening=sign * sum(contrast.difference for contrast in contrasts) / count,
        error=error,
        degrees=degrees,
        launch_variance=spread / count,
        fixed_variance=max(fixed, _of_runs(base, head, history) ** 2 if history else 0.0),
        elsewhere=not places,
    )


def _at(side: Side, place: str) -> tuple[Launch, ...]:
    return tuple(launch for launch in side.launches if launch.place == place)


def _of_runs(base: Side, head: Side, history: RunNoise) -> float:
    """What runs differ by, as a standard deviation of the difference."""
    return math.sqrt(_unshared(base.launches, head.launches)) * history.deviation


def _unshared(base: Sequence[Launch], head: Sequence[Launch]) -> float:
    """How many times the variance of a run is in the difference: 2 for a run a side, less for several, 0 in turns.

    Each run adds something to all of its launches, and counts with the difference of its shares in the two means.
    """
    shares: dict[str, float] = {}
    for name, side, sign in (("base", base, -1.0), ("head", head, 1.0)):
        for launch in side:
            session = launch.session or f"the one of the {name}"
            shares[session] = shares.get(session, 0.0) + sign / len(side)
    return math.fsum(share**2 for share in shares.values())


def _contrast(base: Sequence[Launch], head: Sequence[Launch], floor: NoiseFloor, policy: Policy) -> _Contrast:
    measured = min(len(base), len(head)) >= policy.minimum_launches
    spread = [_measured_variance(side) if measured else _assumed_variance(side, floor) for side in (base, head)]
    parts = tuple(
        (variance / len(side), len(side) - 1.0 if measured else math.inf)
        for variance, side in zip(spread, (base, head), strict=True)
    )
    difference = _mean([launch.level for launch in head]) - _mean([launch.level for launch in base])
    return _Contrast(difference=difference, parts=parts, launch_variance=sum(spread), measured=measured)


def _measured_variance(side: Sequence[Launch]) -> float:
    levels = [launch.level for launch in side]
    mean = _mean(levels)
    variance = sum((level - mean) ** 2 for level in levels) / (len(levels) - 1)
    return max(variance, LAUNCH_RESOLUTION**2)


def _assumed_variance(side: Sequence[Launch], floor: NoiseFloor) -> float:
    within = _mean([(launch.log_error or 0.0) ** 2 for launch in side])
    return within + max(floor.launch, LAUNCH_RESOLUTION) ** 2


def _satterthwaite(parts: Sequence[tuple[float, float]], fixed: float) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of variances, one of them known (Welch 1947)."""
    total = sum(variance for variance, _ in parts) + fixed
    spread = sum(variance**2 / degrees for variance, degrees in parts)
    return math.sqrt(total), total**2 / spread if spread > 0 else math.inf


def _wider(one: tuple[float, float], other: tuple[float, float], policy: Policy) -> tuple[float, float]:
    def width(pair: tuple[float, float]) -> float:
        return pair[0] * quantile((1 + policy.confidence) / 2, pair[1])

    return max(one, other, key=width)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
