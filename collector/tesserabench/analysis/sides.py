"""How much worse the head is than the base, and how surely: a difference of mean log medians of launches.

Three sources of noise:

- three launches a side and more are measured, and shrunk to what launches of similar benchmarks differ by; fewer take
  that of their family, or what is usual on such a device (`policy.noise_floor`);
- the series' history says how much runs differ, and is pooled with what the launches say of it (`runs`);
- without a history runs are taken to differ, beyond their launches, by what is usual.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tesserabench.analysis.doubt import Doubt, Seen, doubt_of
from tesserabench.analysis.effect import Effect
from tesserabench.analysis.families import Family, pooled_variance
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.levels import Level, level_of, mean
from tesserabench.analysis.modes import Modes, Split, aligned_levels
from tesserabench.analysis.policy import (
    LAUNCH_RESOLUTION,
    RUN_TO_LAUNCH_NOISE,
    SIBLING_NOISE,
    NoiseFloor,
    Policy,
    expected_floor,
)
from tesserabench.analysis.runs import OwnNoise, run_effect

_RESTLESS = 1.5
_RESTLESS_SHARE = 0.4
"""What part of its error a look may spend where launches scatter by more than is usual and no run before them tells how
much runs do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Half:
    """One side at one place."""

    level: float
    variance: float
    """Of a single launch."""
    degrees: float
    """Infinite where the variance was assumed."""
    launches: int
    measured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contrast:
    """Base and head at one place."""

    base: _Half
    head: _Half

    @property
    def difference(self) -> float:
        return self.head.level - self.base.level

    @property
    def launch_variance(self) -> float:
        return self.base.variance + self.head.variance


def estimate(base: Side, head: Side, policy: Policy, history: RunNoise | None, family: Family | None = None) -> Effect:
    """The effect between two sides whose launches all have a positive finite value.

    Launches are compared place by place where the sides share places, since a device differs from its siblings.
    """
    floor = NoiseFloor(launch=0.0, run=0.0) if history else expected_floor(policy, head.device_kind)
    places = sorted({launch.place for launch in base.launches} & {launch.place for launch in head.launches})
    pairs = [(_at(base, place), _at(head, place)) for place in places] or [(base.launches, head.launches)]
    contrasts = [_contrast(ours, theirs, floor, policy, family) for ours, theirs in pairs]
    sibling = 0.0 if places else 2 * SIBLING_NOISE**2
    effect = _with_history(contrasts, history) if history else _assuming(contrasts, floor)
    return replace(
        effect,
        error=math.hypot(effect.error, math.sqrt(sibling)),
        doubt=effect.doubt and replace(effect.doubt, error=math.hypot(effect.doubt.error, math.sqrt(sibling))),
        fixed_variance=effect.fixed_variance + sibling,
        elsewhere=not places,
    ).towards_worse(head.better)


def spread_of(side: Side) -> tuple[float, float]:
    """Variance between launches of one place, with its degrees of freedom; (0, 0) when it cannot be told."""
    places = {launch.place for launch in side.launches}
    return pooled_variance([[launch.level for launch in _at(side, place)] for place in sorted(places)])


def modes_of(base: Side, head: Side, *, smallest: float) -> Modes | None:
    """The two modes of the launches; None when there are none, or when several devices would look like modes."""
    if len({launch.place for launch in (*base.launches, *head.launches)}) > 1:
        return None
    sides = [[Level(value=launch.level) for launch in side.launches] for side in (base, head)]
    return aligned_levels(sides[0], sides[1], (), smallest=smallest)


def moved(side: Side, split: Split) -> Side:
    """The side with the launches of the upper mode moved onto the lower one."""
    factor = math.exp(-split.gap)

    def onto_lower(launch: Launch) -> Launch:
        assert launch.value is not None
        return replace(launch, value=launch.value * factor) if launch.level > split.between else launch

    return replace(side, launches=tuple(onto_lower(launch) for launch in side.launches))


def _at(side: Side, place: str) -> tuple[Launch, ...]:
    return tuple(launch for launch in side.launches if launch.place == place)


def _contrast(
    base: Sequence[Launch], head: Sequence[Launch], floor: NoiseFloor, policy: Policy, family: Family | None
) -> _Contrast:
    measured = min(len(base), len(head)) >= policy.minimum_launches
    # What the policy says to expect goes before what similar benchmarks show.
    shown = family if policy.expected_noise is None else None
    halves = [_measured(side, family) if measured else _assumed(side, floor, shown) for side in (base, head)]
    return _Contrast(base=halves[0], head=halves[1])


def _measured(side: Sequence[Launch], family: Family | None) -> _Half:
    level = level_of([launch.level for launch in side])
    variance, degrees = level.variance * len(side), level.degrees
    if family is not None:
        variance, degrees = family.moderated(variance, degrees)
    variance = max(variance, LAUNCH_RESOLUTION**2)
    return _Half(level=level.value, variance=variance, degrees=degrees, launches=len(side), measured=True)


def _assumed(side: Sequence[Launch], floor: NoiseFloor, family: Family | None) -> _Half:
    within = mean([(launch.log_error or 0.0) ** 2 for launch in side])
    variance, degrees = within + max(floor.launch, LAUNCH_RESOLUTION) ** 2, math.inf
    if family is not None and family.variance > within:
        variance, degrees = family.variance, family.degrees
    level = mean([launch.level for launch in side])
    return _Half(level=level, variance=variance, degrees=degrees, launches=len(side), measured=False)


def _assuming(contrasts: Sequence[_Contrast], floor: NoiseFloor) -> Effect:
    """Without a history: Welch's interval over launches, and an assumed difference between runs."""
    count = len(contrasts)
    restless = sum(contrast.launch_variance for contrast in contrasts if contrast.base.measured) / count
    usual, in_proportion = 2 * floor.run**2 / count, RUN_TO_LAUNCH_NOISE**2 * restless / count
    between_runs = max(usual, in_proportion)
    variance, degrees = _sampling(contrasts)
    share = 1.0 if in_proportion <= _RESTLESS * usual else _RESTLESS_SHARE
    error, if_known = _satterthwaite(variance, degrees, between_runs)
    if in_proportion <= usual:
        degrees = if_known
    elif math.isfinite(degrees):
        # Its share is assumed and its size measured: worth something between the two.
        degrees = math.sqrt(degrees * if_known)
    return Effect(
        worsening=mean([contrast.difference for contrast in contrasts]),
        error=error,
        degrees=degrees,
        launch_variance=sum(contrast.launch_variance for contrast in contrasts) / count**2,
        fixed_variance=between_runs,
        error_share=share,
        assumed=True,
        doubt=_doubt(contrasts, floor, between_runs),
        without_history=True,
    )


def _doubt(contrasts: Sequence[_Contrast], floor: NoiseFloor, between_runs: float) -> Doubt:
    """What runs may differ by; the places of a host may share what a run adds."""
    sampling, degrees = _sampling(contrasts)
    launch = mean([contrast.launch_variance for contrast in contrasts]) / 2
    seen = Seen(launch_variance=launch, sampling=sampling, degrees=degrees, between_runs=between_runs)
    return doubt_of(seen, floor)


def _with_history(contrasts: Sequence[_Contrast], history: RunNoise) -> Effect:
    count = len(contrasts)
    sampling, degrees = _sampling(contrasts)
    own = OwnNoise(variance=sampling / 2, degrees=degrees) if math.isfinite(degrees) else None
    known = degrees / 2 if math.isfinite(degrees) else 0.0
    # Over several places, levels of the history are another mixture of devices than today's.
    single = contrasts[0].base.level if count == 1 else None
    base = Level(value=single or 0.0, variance=sampling / 2, degrees=known)
    head = replace(base, value=base.value + mean([contrast.difference for contrast in contrasts]))
    noise = history if single is not None else replace(history, level=None)
    effect = run_effect([base], [head], noise, own)
    return replace(
        effect,
        launch_variance=sum(contrast.launch_variance for contrast in contrasts) / count**2,
        fixed_variance=2 * history.deviation**2,
    )


def _sampling(contrasts: Sequence[_Contrast]) -> tuple[float, float]:
    """Variance of the mean difference from its launches, with Welch's degrees of freedom (Welch 1947)."""
    count = len(contrasts)
    halves = [half for contrast in contrasts for half in (contrast.base, contrast.head)]
    parts = [(half.variance / half.launches / count**2, half.degrees) for half in halves]
    total = sum(variance for variance, _ in parts)
    spread = sum(variance**2 / degrees for variance, degrees in parts)
    return total, total**2 / spread if spread > 0 else math.inf


def _satterthwaite(variance: float, degrees: float, fixed: float) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of variances, one of them known (Satterthwaite 1946)."""
    total = variance + fixed
    return math.sqrt(total), total**2 * degrees / variance**2 if math.isfinite(degrees) else math.inf
