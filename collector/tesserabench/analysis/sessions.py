"""How surely two sides differ that were measured in several sessions: runs of their own, at one place or several.

What a session adds to all of its launches shrinks with the number of sessions and not with that of launches. Sessions
of a side count alike at a place, places count alike, and each place is compared with itself. Two sides that were
measured in turns share their session, so that what it adds is not in their difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tesserabench.analysis.doubt import Seen, doubt_of
from tesserabench.analysis.effect import Effect
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.levels import Level, level_of, mean, squares_about_mean
from tesserabench.analysis.policy import (
    LAUNCH_RESOLUTION,
    RUN_TO_LAUNCH_NOISE,
    SIBLING_NOISE,
    NoiseFloor,
    Policy,
    expected_floor,
)

_USUAL_WORTH = 8.0
"""Degrees of freedom that what is usual counts for, beside what two or three sessions show."""
_HISTORY_SHARE = 0.6
"""Of the error of a look that sessions may spend on a history's noise, whose tails are heavier than Student's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """The launches of one run at one place."""

    run: str
    level: float
    error: float
    """Squared standard error of the level, from its launches."""
    degrees: float
    launches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    base: tuple[_Session, ...]
    head: tuple[_Session, ...]

    @property
    def sessions(self) -> tuple[_Session, ...]:
        return (*self.base, *self.head)

    @property
    def difference(self) -> float:
        return mean([item.level for item in self.head]) - mean([item.level for item in self.base])


def estimate(base: Side, head: Side, policy: Policy, history: RunNoise | None) -> Effect:
    """The effect between two sides whose launches know their session and all have a positive finite value."""
    places = sorted({launch.place for launch in base.launches} & {launch.place for launch in head.launches})
    floor = expected_floor(policy, head.device_kind)
    found = [_place(base, head, (place,), floor, policy) for place in places]
    if not found:
        everywhere = tuple({launch.place for launch in (*base.launches, *head.launches)})
        found = [_place(base, head, everywhere, floor, policy)]
    sampling = [
        (item.error / len(side) ** 2 / len(found) ** 2, item.degrees)
        for place in found
        for side in (place.base, place.head)
        for item in side
    ]
    shown, shown_degrees = _shown(found)
    variance, worth = _between(found, floor, history)
    unshared = sum(_unshared([place]) for place in found) / len(found) ** 2
    sibling = 0.0 if places else 2 * SIBLING_NOISE**2
    error, degrees = _satterthwaite([*sampling, (variance * unshared, worth)], sibling)
    launch_variance = _launch_variance(found)
    doubt = None
    if history is None:
        of_launches, its_degrees = _satterthwaite(sampling, sibling)
        seen = Seen(
            launch_variance=launch_variance,
            sampling=of_launches**2,
            degrees=its_degrees,
            between_runs=variance * unshared,
            unshared=_unshared(found),
            shown=max(0.0, shown),
            shown_degrees=shown_degrees,
        )
        doubt = doubt_of(seen, floor)
    return Effect(
        worsening=mean([place.difference for place in found]),
        error=error,
        degrees=degrees,
        launch_variance=2 * launch_variance,
        fixed_variance=_unshrinking(found, variance) + sibling,
        elsewhere=not places,
        error_share=_HISTORY_SHARE if history else 1.0,
        doubt=doubt,
        without_history=history is None,
    ).towards_worse(head.better)


def _place(base: Side, head: Side, places: tuple[str, ...], floor: NoiseFloor, policy: Policy) -> _Place:
    def sessions(side: Side) -> tuple[_Session, ...]:
        here = [launch for launch in side.launches if launch.place in places]
        names = dict.fromkeys(launch.session for launch in here)
        return tuple(
            _session(name, [launch for launch in here if launch.session == name], floor, policy) for name in names
        )

    return _Place(base=sessions(base), head=sessions(head))


def _session(name: str, launches: Sequence[Launch], floor: NoiseFloor, policy: Policy) -> _Session:
    level = level_of([launch.level for launch in launches])
    if len(launches) < policy.minimum_launches:
        within = mean([(launch.log_error or 0.0) ** 2 for launch in launches])
        assumed = (within + max(floor.launch, LAUNCH_RESOLUTION) ** 2) / len(launches)
        level = Level(value=level.value, variance=assumed, degrees=math.inf)
    return _Session(
        run=name,
        level=level.value,
        error=max(level.variance, LAUNCH_RESOLUTION**2 / len(launches)),
        degrees=level.degrees,
        launches=len(launches),
    )


def _launch_variance(places: Sequence[_Place]) -> float:
    return mean([item.error * item.launches for place in places for item in place.sessions])


def _between(places: Sequence[_Place], floor: NoiseFloor, history: RunNoise | None) -> tuple[float, float]:
    """What sessions differ by, with its degrees of freedom: by the history or what is usual, more where it shows."""
    if history is not None:
        expected, worth = history.deviation**2, history.degrees
    else:
        expected, worth = max(floor.run**2, RUN_TO_LAUNCH_NOISE**2 * _launch_variance(places)), _USUAL_WORTH
    shown, degrees = _shown(places)
    if degrees and shown > expected:
        # Two sessions say little by themselves: shrunk to what is expected, as far as that is worth.
        return (expected * worth + shown * degrees) / (worth + degrees), worth + degrees
    return expected, worth if history is not None else math.inf


def _unshared(places: Sequence[_Place]) -> float:
    """How many times the variance of a session is in the difference: 2 for one a side, less for several.

    What a session adds is taken to be the same at all of these places, and to drop out where both sides share it.
    """
    shares: dict[str, float] = {}
    for place in places:
        for side, sign in ((place.base, -1.0), (place.head, 1.0)):
            for item in side:
                shares[item.run] = shares.get(item.run, 0.0) + sign / len(side) / len(places)
    return math.fsum(share**2 for share in shares.values())


def _shown(places: Sequence[_Place]) -> tuple[float, float]:
    """What sessions of one side differ by beyond their launches, with its degrees of freedom; (0, 0) for one a side."""
    several = [side for place in places for side in (place.base, place.head) if len(side) > 1]
    degrees = sum(len(side) - 1 for side in several)
    if not degrees:
        return 0.0, 0.0
    squares = sum(squares_about_mean([item.level for item in side]) for side in several)
    return squares / degrees - mean([item.error for side in several for item in side]), float(degrees)


def _unshrinking(places: Sequence[_Place], between: float) -> float:
    """What more sessions of the head leave: the base's own, where it is not measured again."""
    alone = [place for place in places if {item.run for item in place.base} - {item.run for item in place.head}]
    left = [mean([item.error for item in place.base]) + between for place in alone]
    return sum(left) / len(places) ** 2 if left else 0.0


def _satterthwaite(parts: Sequence[tuple[float, float]], fixed: float) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of variances (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts) + fixed
    spread = sum(variance**2 / degrees for variance, degrees in parts if degrees > 0)
    return math.sqrt(total), total**2 / spread if spread > 0 else math.inf
