"""From what a run asks for to what its trials do."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tesserabench.agent.errors import AttemptRefused
from tesserabench.agent.runner.patterns import try_pattern
from tesserabench.bench import MeasureOptions, Mode, SelectionError, TrialPlan, plan_trial
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1 import run_pb2
from tesserabench.v1.run_pb2 import RunSpec

_TIERS = {
    run_pb2.TIER_UNSPECIFIED: "regression",
    run_pb2.TIER_SMOKE: "smoke",
    run_pb2.TIER_REGRESSION: "regression",
    run_pb2.TIER_FULL: "full",
    run_pb2.TIER_NIGHTLY: "nightly",
}

# The unit of replication is the process: five fresh ones are the least that tells process noise from an effect.
_TRIALS = {"smoke": 1, "regression": 5, "full": 5, "nightly": 10}

_MODES = {
    pb.TIMING_MODE_UNSPECIFIED: None,
    pb.TIMING_MODE_HOT: "hot",
    pb.TIMING_MODE_COLD: "cold",
    pb.TIMING_MODE_ROTATING: "rotating",
    pb.TIMING_MODE_SUSTAINED: "sustained",
    pb.TIMING_MODE_HOST: "host",
}

_LARGEST_SEED = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPlan:
    """One plan for each trial; they differ in their seed alone."""

    trials: tuple[TrialPlan, ...]

    @property
    def case_count(self) -> int:
        """Cases over all trials."""
        return sum(len(trial.cases) for trial in self.trials)


def plan_attempt(name: str, spec: RunSpec, device_kind: str, *, require_idle: bool) -> AttemptPlan:
    """The trials of an attempt.

    `name` is the attempt's; it takes the place of a seed when the run has none.

    Blocks for a moment when there are patterns.

    Raises:
        AttemptRefused: the suite, a parameter or the mode is not known here, or a pattern cannot be used.
    """
    if spec.tier not in _TIERS:
        raise AttemptRefused(f"tier {spec.tier} is not known to this agent; upgrade it")
    if spec.mode not in _MODES:
        mode = pb.TimingMode.Name(spec.mode) if spec.mode in pb.TimingMode.values() else str(spec.mode)
        raise AttemptRefused(f"mode {mode} cannot be measured by this agent; use {', '.join(Mode)}")
    tier = _TIERS[spec.tier]
    seed = spec.seed or zlib.crc32(name.encode()) + 1
    try:
        options = replace(MeasureOptions.for_tier(tier), drill=dict(spec.drill), require_idle=require_idle)
        plan_cases = partial(
            plan_trial,
            spec.suite,
            tier=tier,
            device_kind=device_kind,
            overrides={item.parameter: item.value for item in spec.overrides},
            mode=_MODES[spec.mode],
            options=options,
        )
        plan = plan_cases()
        include, exclude = _any_of(spec.include), _any_of(spec.exclude)
        for field, pattern in (("include", include), ("exclude", exclude)):
            if pattern is not None:
                try_pattern(field, pattern, [case.id for case in plan.cases])
        if include is not None or exclude is not None:
            plan = plan_cases(include=include, exclude=exclude)
    except SelectionError as error:
        raise AttemptRefused(str(error)) from error
    count = spec.trials or _TRIALS[tier]
    return AttemptPlan(trials=tuple(replace(plan, seed=(seed + trial) % _LARGEST_SEED) for trial in range(count)))


def _any_of(patterns: Sequence[str]) -> str | None:
    """One regular expression that matches where one of several does; None for none."""
    if len(patterns) <= 1:
        return patterns[0] if patterns else None
    return "|".join(f"(?:{pattern})" for pattern in patterns)
