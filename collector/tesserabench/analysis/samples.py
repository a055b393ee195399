"""The gate on runs of samples, as other tools keep them: what `tbctl gate --json-lines` answers.

A run is a process, a night, or whatever its samples have in common; runs are the unit. Samples of one run say how well
its level is known, and never how much runs differ.
"""

import math
from collections.abc import Sequence

from tesserabench.analysis import wording
from tesserabench.analysis.gate import decide, measured, refused
from tesserabench.analysis.history import noise_at_one_level
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.levels import Level, level_of
from tesserabench.analysis.modes import aligned_levels
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.runs import OwnNoise, run_effect
from tesserabench.analysis.words import Better, Reason

Runs = Sequence[Sequence[float]]

_ENOUGH_RUNS = 3
"""Runs a side from which on they say how much runs differ, when there is no history."""


def judge_samples(
    base: Runs,
    new: Runs,
    *,
    better: Better = Better.LOWER,
    history: Runs = (),
    policy: Policy | None = None,
) -> Judgement:
    """Whether `new` is worse than `base`.

    Args:
        base: Runs to compare with; each holds its samples, in any unit.
        new: Runs that are judged.
        better: Which direction is good.
        history: Older runs of the base, oldest first, taken to be at one level.
        policy: What counts as a change.
    """
    policy = policy or Policy()
    for name, side in (("base", base), ("new side", new), ("history", history)):
        if not all(_has_logarithms(run) for run in side):
            return refused(Reason.CASE_FAILED, wording.no_positive_value(name), policy)
    ours, theirs, past = (_levels(side) for side in (base, new, history))
    if not ours and not theirs:
        return refused(Reason.MISSING, wording.nothing_measured(), policy)
    if not theirs:
        return refused(Reason.MISSING, wording.missing(), policy)
    if not ours:
        return refused(Reason.NO_BASELINE, wording.no_baseline(), policy)
    noise = noise_at_one_level([level.value for level in past])
    if noise is None and min(len(ours), len(theirs)) < _ENOUGH_RUNS:
        return refused(Reason.TOO_FEW_SAMPLES, wording.runs_unknown(len(ours), len(theirs), len(past)), policy)
    minimum = policy.minimum_effect(primary=True)
    modes = aligned_levels(ours, theirs, [level.value for level in past], smallest=math.log1p(minimum))
    if modes is not None:
        ours, theirs = modes.base, modes.head
        # The noise of the history is mostly that of its modes.
        noise = noise_at_one_level(modes.history)
    effect = run_effect(ours, theirs, noise, _own(ours, theirs, past)).towards_worse(better)
    return decide(measured(effect, policy, better, minimum), effect, policy, primary=True, modes=modes)


def _has_logarithms(run: Sequence[float]) -> bool:
    """Whether every sample is positive and finite; the sum, which is quicker, tells it of nearly every run."""
    if not run or (min(run) > 0 and math.isfinite(sum(run))):
        return True
    return all(value > 0 and math.isfinite(value) for value in run)


def _levels(runs: Runs) -> list[Level]:
    return [level_of(list(map(math.log, run))) for run in runs if run]


def _own(*sides: Sequence[Level]) -> OwnNoise | None:
    """How well a run's samples say its level is known, over all runs."""
    levels = [level for side in sides for level in side if level.degrees > 0]
    degrees = sum(level.degrees for level in levels)
    if not degrees:
        return None
    return OwnNoise(variance=sum(level.variance * level.degrees for level in levels) / degrees, degrees=float(degrees))
