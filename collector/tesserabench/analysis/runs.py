"""How surely two sides differ whose runs are the unit: nights, processes, or whatever shares its noise within.

What runs differ by is estimated from three sources, and pooled where they agree:

- the runs of both sides (they share a sitting, and may agree too well);
- the history of the series, whose runs lie apart in time;
- what a run's own samples say about its level. Where runs differ by no more than that, they are as good as
  independent, and their noise is *explained*.

Where it is not explained, runs may follow each other (the error grows with the lag-1 correlation, as that of a mean of
an autoregression), a sitting may shift all of its runs (what the history shows beyond the runs of a side is not
averaged away), and tails are heavier than Student's, so that less of the error is spent. The constants are set on
generated noise and public histories; docs/decisions/ has the rates.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tesserabench.analysis.effect import Effect
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.levels import Level, mean, squares_about_mean
from tesserabench.analysis.policy import LAUNCH_RESOLUTION
from tesserabench.analysis.student import variance_ratio_quantile

EXPLAINED_SHARE = 3.0
"""Explained noise may spend this many times the error of a look: findings are rarer than their level there, since the
smallest change that matters is several errors away."""
UNEXPLAINED_SHARE = 0.4
"""Of 5000 pairs of identical code from different nights 0.5 % differ then (0.8 % at 0.6): room to one in a hundred."""
CORRELATED_SHARE = 0.2
SINGLE_RUN_SHARE = 0.4
"""One run a side: a single draw from a tail that few runs have shown."""

_EXPLAINED_AT = 0.99
_AGREE_AT = 0.90
_WORTH_CORRECTING = 0.8
"""A correlation below this many standard errors is taken for none."""
_OUTERMOST = 2.0
"""A single run must stand out by this many times what the outermost run of the history did."""
_MOST_RUNS_OF_LEVEL = 10
"""The level of a history counts as many runs at most: it may have drifted."""
_SAME_LEVEL = 2.0
"""A base that is further from the history's level than this many errors is not at that level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNoise:
    """What a run's own samples say about how well its level is known."""

    variance: float
    degrees: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noise:
    """What runs of one side differ by."""

    variance: float
    degrees: float
    share: float
    explained: bool = False
    sitting: float = 0.0
    """Variance that runs of one sitting share."""
    correlation: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    base: Sequence[Level]
    head: Sequence[Level]
    history: RunNoise | None

    @property
    def together(self) -> tuple[float, float] | None:
        """Variance between runs of a side, with its degrees of freedom; None with one run a side."""
        degrees = len(self.base) + len(self.head) - 2
        if degrees < 1:
            return None
        squares = sum(squares_about_mean([level.value for level in side]) for side in (self.base, self.head))
        return squares / degrees, float(degrees)

    @property
    def single(self) -> bool:
        return min(len(self.base), len(self.head)) == 1


def run_effect(base: Sequence[Level], head: Sequence[Level], history: RunNoise | None, own: OwnNoise | None) -> Effect:
    """The difference of head and base, positive for larger.

    Args:
        base: Levels of the runs of the base.
        head: Levels of the runs of the head.
        history: What earlier runs differ by; None when there are too few.
        own: What a run's own samples say about its level; None when nothing is known.

    Raises:
        ValueError: one run a side and no history tell nothing about how much runs differ.
    """
    sides = _Sides(base=base, head=head, history=history)
    noise = _noise(sides, own)
    variances = [_variance_of_mean(side, noise) for side in (base, head)]
    difference = mean([level.value for level in head]) - mean([level.value for level in base])
    effect = Effect(
        worsening=difference,
        error=math.sqrt(sum(variances) + 2 * noise.sitting),
        degrees=_degrees(noise, sides),
        launch_variance=2 * noise.variance,
        fixed_variance=2 * noise.sitting,
        error_share=noise.share,
        least=_least(noise, sides),
    )
    return _against_history(effect, sides, noise, variances)


def _noise(sides: _Sides, own: OwnNoise | None) -> _Noise:
    history = None if sides.history is None else (sides.history.deviation**2, sides.history.degrees)
    sources = [source for source in (history, sides.together) if source is not None]
    if not sources:
        raise ValueError("one run a side and no history tell nothing about how much runs differ")
    degrees = sum(source[1] for source in sources)
    pooled = sum(variance * worth for variance, worth in sources) / degrees
    if own is not None and _explained(sources, own):
        worth = min(own.degrees, degrees)
        variance = (pooled * degrees + own.variance * worth) / (degrees + worth)
        return _Noise(variance=_resolved(variance), degrees=degrees + worth, share=EXPLAINED_SHARE, explained=True)
    correlation = _correlation(sides)
    share = SINGLE_RUN_SHARE if sides.single else CORRELATED_SHARE if correlation else UNEXPLAINED_SHARE
    noise = _Noise(variance=_resolved(pooled), degrees=degrees, share=share, correlation=correlation)
    if sides.together is None or history is None:
        return noise
    return _reconciled(noise, sides.together, history)


def _reconciled(noise: _Noise, together: tuple[float, float], history: tuple[float, float]) -> _Noise:
    """Today's runs and those of the history, when they need not tell the same."""
    if together[0] > history[0] * variance_ratio_quantile(_AGREE_AT, together[1], history[1]):
        return replace(noise, variance=_resolved(together[0]), degrees=together[1])
    # What runs of one sitting do not show of what the history shows, they share.
    return replace(noise, sitting=max(0.0, history[0] - together[0]))


def _explained(sources: Sequence[tuple[float, float]], own: OwnNoise) -> bool:
    if own.degrees < MINIMUM_OWN_DEGREES or own.variance <= (LAUNCH_RESOLUTION / 2) ** 2:
        return False
    return all(
        variance < own.variance * variance_ratio_quantile(_EXPLAINED_AT, degrees, own.degrees)
        for variance, degrees in sources
    )


MINIMUM_OWN_DEGREES = 8.0
"""Fewer degrees of freedom say too little about a run's own noise to explain that between runs with it."""


def _resolved(variance: float) -> float:
    return max(variance, LAUNCH_RESOLUTION**2)


def _correlation(sides: _Sides) -> float:
    """Lag-1 correlation of runs, freed of its bias in short series (Marriott and Pope 1954); 0 when it is not seen."""
    if max(len(sides.base), len(sides.head)) == 1:
        return 0.0
    followed = squares = 0.0
    count = series = 0
    if sides.history is not None and sides.history.runs > 1:
        known = sides.history.deviation**2 * (sides.history.runs - 1)
        followed, squares = sides.history.correlation * known, known
        count, series = sides.history.runs, 1
    for side in (sides.base, sides.head):
        if len(side) < 3:
            continue
        values = [level.value - mean([item.value for item in side]) for level in side]
        followed += sum(before * after for before, after in itertools.pairwise(values))
        squares += sum(value**2 for value in values)
        count, series = count + len(side), series + 1
    if count < 6 or squares <= 0:
        return 0.0
    seen = followed / squares
    corrected = min(0.95, seen + series * (1 + 3 * max(seen, 0.0)) / count)
    return corrected if corrected >= _WORTH_CORRECTING / math.sqrt(count) else 0.0


def inflation(correlation: float, runs: int) -> float:
    """How many times larger the variance of a mean of consecutive runs is than that of as many independent ones."""
    return 1 + 2 * sum((1 - lag / runs) * correlation**lag for lag in range(1, runs))


def _variance_of_mean(side: Sequence[Level], noise: _Noise) -> float:
    count = len(side)
    own = sum(level.variance for level in side) / count**2
    return max(noise.variance * inflation(noise.correlation, count) / count, own)


def _degrees(noise: _Noise, sides: _Sides) -> float:
    levels = (*sides.base, *sides.head)
    if all(level.degrees > 0 and level.variance > noise.variance for level in levels):
        # The error is that of the samples alone.
        return max(2.0, sum(level.degrees for level in levels))
    inflated = (inflation(noise.correlation, len(sides.base)) + inflation(noise.correlation, len(sides.head))) / 2
    # An uncertain correlation makes the error more uncertain than its number of runs says.
    return noise.degrees if inflated <= 1 else max(3.0, noise.degrees / inflated**1.5)


def _least(noise: _Noise, sides: _Sides) -> float:
    if noise.explained or len(sides.head) > 1 or sides.history is None or sides.history.largest is None:
        return 0.0
    return _OUTERMOST * sides.history.largest


def _against_history(effect: Effect, sides: _Sides, noise: _Noise, variances: Sequence[float]) -> Effect:
    """The effect with what the history's level adds to a base of one or two runs.

    A base at that level is known better by it. One that is not was an outlier, or the level has moved: then the head
    must differ from both.
    """
    history = sides.history
    if history is None or history.level is None or len(sides.base) > 2 or history.runs < 1:
        return effect
    base = mean([level.value for level in sides.base])
    of_base = variances[0] + noise.sitting
    correlation = 0.0 if noise.explained else min(0.9, max(0.0, history.correlation + _bias(history)))
    runs = min(_MOST_RUNS_OF_LEVEL, history.runs * (1 - correlation) / (1 + correlation))
    apart = abs(base - history.level) / math.sqrt(of_base + noise.variance / runs)
    if apart >= _SAME_LEVEL:
        return replace(effect, against_level=effect.worsening + base - history.level)
    trust = 1 - (apart / _SAME_LEVEL) ** 2
    of_level = noise.variance / (runs * trust)
    known = 1 / (1 / of_base + 1 / of_level)
    reference = known * (base / of_base + history.level / of_level)
    variance = variances[1] + noise.sitting + known
    return replace(effect, worsening=effect.worsening + base - reference, error=math.sqrt(variance))


def _bias(history: RunNoise) -> float:
    return (1 + 3 * max(history.correlation, 0.0)) / history.runs
