"""From what a run asks for to what its trials do."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tesserabench.agent.errors import AttemptRefused
from tesserabench.agent.runner.patterns import try_pattern
from tesserabench.agent.runner.programme import Programme
from tesserabench.bench import MeasureOptions, Mode, SelectionError, TrialPlan, find_benchmark, plan_trial
from tesserabench.bench.duet import ArmName, DuetPlan, of_worker, pairs_of_overrides, with_control
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
_FEWEST_DUET_TRIALS = 5

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
    """One plan for each trial; they differ in their seed alone, and in the order of the arms where there are two."""

    trials: tuple[TrialPlan, ...]
    """Of arm A where there are two."""
    duets: tuple[DuetPlan, ...] = ()
    """As many, in an interleaved comparison."""

    @property
    def programmes(self) -> tuple[Programme, ...]:
        """What each trial measures."""
        if not self.duets:
            return tuple(Programme(plan=plan) for plan in self.trials)
        return tuple(Programme(plan=plan, duet=duet) for plan, duet in zip(self.trials, self.duets, strict=True))

    @property
    def case_count(self) -> int:
        """Results over all trials."""
        return sum(len(programme.wanted) for programme in self.programmes)


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
        options = replace(
            MeasureOptions.for_tier(tier),
            drill=dict(spec.drill),
            require_idle=require_idle,
            determinism_launches=spec.determinism_launches,
        )
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
        plan = replace(plan, seed=seed % _LARGEST_SEED)
        if spec.HasField("duet"):
            return _plan_duets(plan, spec, count=spec.trials or max(_TRIALS[tier], _FEWEST_DUET_TRIALS))
    except SelectionError as error:
        raise AttemptRefused(str(error)) from error
    count = spec.trials or _TRIALS[tier]
    return AttemptPlan(trials=tuple(replace(plan, seed=(plan.seed + trial) % _LARGEST_SEED) for trial in range(count)))


def _plan_duets(plan: TrialPlan, spec: RunSpec, *, count: int) -> AttemptPlan:
    """The trials of a run that compares its cases with the same under other parameters."""
    overrides = {item.parameter: item.value for item in spec.duet.overrides}
    benchmarks = {case.benchmark: find_benchmark(case.benchmark) for case in plan.cases}
    pairs = pairs_of_overrides(plan.cases, overrides, benchmarks)
    duet = DuetPlan(
        suite=plan.suite,
        tier=plan.tier,
        # A run without other parameters is a null control as a whole.
        pairs=with_control(pairs) if overrides else pairs,
        seed=plan.seed,
        mode=plan.mode,
        options=plan.options,
    )
    duets = tuple(of_worker(duet, number) for number in range(count))
    return AttemptPlan(trials=tuple(worker.trial_plan(ArmName.A) for worker in duets), duets=duets)


def _any_of(patterns: Sequence[str]) -> str | None:
    """One regular expression that matches where one of several does; None for none."""
    if len(patterns) <= 1:
        return patterns[0] if patterns else None
    return "|".join(f"(?:{pattern})" for pattern in patterns)
