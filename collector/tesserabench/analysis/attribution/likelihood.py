"""How much better a set of explanations fits the tracks than none does.

Model: a track is a level, plus for every explanation that touches it a step from its onset on, plus noise. The steps
of one explanation have one size per series (every device of a model answers a commit or a driver alike), normal around
nothing with standard deviation `tau`; or the series is not touched. Levels are projected out, step sizes are integrated
out, and the share of the series that is touched has a Beta distribution which is integrated out too. All of it is in
closed form but the last integral, which takes a grid. (Bayesian linear regression with a spike and a slab.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tesserabench.analysis.attribution.explanations import NEVER, Explanation
from tesserabench.analysis.attribution.observations import Floats, Observations

_TOUCHED: Mapping[str, tuple[float, float]] = {
    "code": (0.7, 1.0),
    "fact": (1.2, 0.7),
    "throttle": (1.5, 0.7),
    "host": (1.5, 0.7),
    "device": (1.5, 0.7),
    "fleet": (1.5, 0.7),
}
"""Beta parameters of the share of series that a cause touches: a commit often few, a slow device nearly all."""

_CANARY_TOUCHED = 0.9
"""Chance that something of the machine moves a canary: that is what canaries are chosen for."""

_GRID = (np.arange(64) + 0.5) / 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Sums over the tracks of each series, for every explanation."""

    seen: Observations
    explanations: Sequence[Explanation]
    tau: float
    after: Floats
    """[explanations, tracks]: points from the onset on; 0 where it cannot move."""
    pull: Floats
    """[explanations, series]: weighted agreement of the step with the values."""
    strength: Floats
    """[explanations, series]: weighted squares of the step, its levels taken off."""


def prepare(seen: Observations, explanations: Sequence[Explanation], tau: float) -> Fit:
    """The sums that every later question needs.

    Args:
        seen: The tracks.
        explanations: The candidates.
        tau: Typical size of a step in logarithms.
    """
    onsets = np.array([one.onsets for one in explanations], dtype=np.int64).reshape(len(explanations), seen.tracks)
    possible = onsets != NEVER
    after = np.where(possible, seen.counts - onsets, 0).astype(np.float64)
    sums = np.where(possible, seen.after[np.arange(seen.tracks), np.where(possible, onsets, 0)], 0.0)
    pull = seen.weights * (sums - after * seen.means)
    strength = seen.weights * after * (1 - after / np.maximum(seen.counts, 1))
    return Fit(
        seen=seen,
        explanations=explanations,
        tau=tau,
        after=after,
        pull=_by_series(seen, pull),
        strength=_by_series(seen, strength),
    )


def _by_series(seen: Observations, values: Floats) -> Floats:
    """[..., tracks] summed to [..., series]."""
    order = np.argsort(seen.series, kind="stable")
    starts = np.searchsorted(seen.series[order], np.arange(len(seen.names)))
    return np.asarray(np.add.reduceat(values[:, order], starts, axis=1), dtype=np.float64)


def _shared(fit: Fit, one: int) -> Floats:
    """[explanations, series]: how far the steps of each explanation look like those of `one`."""
    counts = np.maximum(fit.seen.counts, 1)
    both = np.minimum(fit.after, fit.after[one]) - fit.after * fit.after[one] / counts
    return _by_series(fit.seen, fit.seen.weights * both)


def shared(fit: Fit, chosen: Sequence[int]) -> Floats:
    """[chosen, explanations, series]: overlap of every explanation with each of the chosen ones."""
    return np.array([_shared(fit, one) for one in chosen]).reshape(len(chosen), *fit.pull.shape)


def conditional(fit: Fit, chosen: Sequence[int], overlap: Floats, on: Floats) -> Floats:
    """[explanations, series]: log likelihood ratio of a step more, given those of the chosen explanations.

    Args:
        fit: The sums.
        chosen: Explanations that are already taken.
        overlap: Their `shared`.
        on: [chosen, series]: 1 where a chosen explanation touches the series, else 0.
    """
    residual, strength = _remaining(fit, chosen, overlap, on)
    scale = 1 + fit.tau**2 * strength
    gain = 0.5 * residual**2 * fit.tau**2 / scale - 0.5 * np.log(scale)
    return np.asarray(gain, dtype=np.float64)


def preference(fit: Fit, one: int, other: int) -> Floats:
    """[series]: log likelihood ratio of a step where one explanation has it, against where another has it."""
    nothing = np.zeros((0, len(fit.seen.names)))
    gains = conditional(fit, (), shared(fit, ()), nothing)
    return np.asarray(gains[one] - gains[other], dtype=np.float64)


def _remaining(fit: Fit, chosen: Sequence[int], overlap: Floats, on: Floats) -> tuple[Floats, Floats]:
    """Pull and strength of every explanation once the chosen ones have had theirs."""
    if not chosen:
        return fit.pull, fit.strength
    inverse = _inverse(fit, chosen, overlap, on)
    towards = overlap * on[:, None, :]
    shadow = np.einsum("aes,sab->bes", towards, inverse)
    residual = fit.pull - np.einsum("bes,bs->es", shadow, fit.pull[list(chosen)] * on)
    strength = fit.strength - np.einsum("bes,bes->es", shadow, towards)
    return residual, np.maximum(strength, 0.0)


def _inverse(fit: Fit, chosen: Sequence[int], overlap: Floats, on: Floats) -> Floats:
    """[series, chosen, chosen]: inverse of the precision of the chosen steps."""
    precision = np.einsum("abs,as,bs->sab", overlap[:, list(chosen), :], on, on)
    precision += np.eye(len(chosen)) / fit.tau**2
    return np.asarray(np.linalg.inv(precision), dtype=np.float64)


def sizes(fit: Fit, chosen: Sequence[int], overlap: Floats, on: Floats) -> Floats:
    """[chosen, series]: expected steps, nothing where an explanation does not touch a series."""
    if not chosen:
        return np.zeros((0, len(fit.seen.names)))
    inverse = _inverse(fit, chosen, overlap, on)
    return np.asarray(np.einsum("sab,bs->as", inverse, fit.pull[list(chosen)] * on) * on, dtype=np.float64)


def evidence_for(fit: Fit, one: int, gains: Floats) -> tuple[float, Floats]:
    """Log evidence for an explanation over all series, and [series] how likely each is touched.

    Args:
        fit: The sums.
        one: The explanation.
        gains: [series]: its row of `conditional`.
    """
    told = fit.strength[one] > 0
    usual, canaries = told & ~fit.seen.canary, told & fit.seen.canary
    a, b = _TOUCHED[fit.explanations[one].kind]
    share = _GRID ** (a - 1) * (1 - _GRID) ** (b - 1)
    mixed = _mixed(_GRID[:, None], gains[usual]).sum(axis=1)
    peak = float(mixed.max()) if mixed.size else 0.0
    weight = share * np.exp(mixed - peak)
    total = peak + float(np.log(weight.sum() / share.sum()))
    total += float(_mixed(np.float64(_CANARY_TOUCHED), gains[canaries]).sum())
    expected = float((weight * _GRID).sum() / weight.sum())
    chance = np.where(fit.seen.canary, _CANARY_TOUCHED, expected)
    touched = np.where(told, np.exp(np.log(chance) + gains - _mixed(chance, gains)), 0.0)
    return total, touched


def _mixed(chance: Floats | np.float64, gains: Floats) -> Floats:
    """Log likelihood ratio of a series that is touched with this chance."""
    return np.asarray(np.logaddexp(np.log1p(-chance), np.log(chance) + gains), dtype=np.float64)
