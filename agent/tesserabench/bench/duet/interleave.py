"""Two arms measured in turns on one device: both resident, block by block, in random order.

What happens to the machine meanwhile, a neighbour, a clock step, heat, falls on both. A block is at most an eighth of
an arm's samples and a twentieth of a second; `tests/bench/bench_duet.py` shows what longer ones would cost. In modes
hot and host an arm begins each block with a launch that is not timed: the other arm has just filled the caches.

Before either arm is made ready both are rehearsed: prepared, launched and given back. What an allocator or a library
does only the first time would otherwise belong to the arm that comes first; without it the second of two equal copies
in NumPy was 28 % slower than the first, because the C library places arrays elsewhere once it has freed some.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tesserabench.bench.case_run import CaseRun
from tesserabench.bench.device.protocol import Device
from tesserabench.bench.duet.plan import ArmName, ArmOrder, DuetPlan, Pair
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Ceilings, Measurement, TrialResult
from tesserabench.bench.plan import TrialPlan
from tesserabench.bench.registry import INSTALLED, Registry
from tesserabench.bench.timing.sampling import Sampler, Taken, collector_paused, taken_by
from tesserabench.bench.timing.stopping import CHECKPOINT_GROWTH, decide, next_checkpoint, out_of_budget
from tesserabench.bench.trial import Trial, probed_dtypes
from tesserabench.bench.vocabulary import Mode, Outcome, Phase, StopReason
from tesserabench.bench.watch import Observer, Watch, never

if TYPE_CHECKING:
    from tesserabench.bench.case import Case
    from tesserabench.bench.definition import Benchmark

PAIRS_OF_BLOCKS = 8
"""An arm's samples are spread over at least so many blocks."""
LONGEST_BLOCK_SECONDS = 0.05
LEAD_IN = frozenset({Mode.HOT, Mode.HOST})
"""Modes in which a launch finds what the one before it left in the caches."""


def measure_duet(
    plan: DuetPlan,
    device: Device,
    *,
    observer: Observer,
    registries: tuple[Registry, Registry] = (INSTALLED, INSTALLED),
    cancelled: Callable[[], bool] = never,
) -> TrialResult:
    """Measure every pair of the plan, and return two measurements for each, told apart by their arm.

    Of a pair, arm A's measurement comes first, whichever was prepared first. A pair that fails does not stop the next
    ones. Raises UnknownBenchmark or InvalidPlan before anything is measured when the plan does not fit the registries.
    """
    watch = Watch(observer=observer, cancelled=cancelled)
    steps = [_PairStep(plan, pair, device, watch, registries) for pair in plan.sequence]
    cases = [item for step in steps for item in step.cases]
    facts = {**registries[0].facts, **{f"arm_b.{name}": value for name, value in registries[1].facts.items()}}
    base = plan.trial_plan(ArmName.A)
    return Trial(base, device, watch, steps, dtypes=probed_dtypes(cases), facts=facts).measure()


class _PairStep:
    """One pair."""

    def __init__(
        self, plan: DuetPlan, pair: Pair, device: Device, watch: Watch, registries: tuple[Registry, Registry]
    ) -> None:
        self._plan, self._pair, self._device, self._watch = plan, pair, device, watch
        # Both sides of a null control are arm A.
        found = (registries[0], registries[0] if pair.control else registries[1])
        self.cases: tuple[tuple[Case, Benchmark], ...] = tuple(
            (case, registry.find_benchmark(case.benchmark))
            for case, registry in zip((pair.a, pair.b), found, strict=True)
        )
        for case, benchmark in self.cases:
            benchmark.check_case(case)
        self.ids = (pair.a.id, pair.b.id)

    def measure(self, ceilings: Ceilings, position: int) -> tuple[tuple[Measurement, ...], bool]:
        """Measure both sides."""
        sides = [
            _Side(
                CaseRun(
                    plan=_with_time_for_both(self._plan.trial_plan(arm)),
                    case=case,
                    benchmark=benchmark,
                    device=self._device,
                    ceilings=ceilings,
                    watch=self._watch,
                    position=position,
                ),
                arm,
            )
            for arm, (case, benchmark) in zip(self._pair.arms, self.cases, strict=True)
        ]
        ordered = sides if self._plan.order is ArmOrder.AB else sides[::-1]
        rng = random.Random(f"turns:{self._plan.seed}:{position}")  # noqa: S311 - no secret
        fatal = _measure_both(ordered, self._device, rng)
        found, ends = zip(*(side.finish() for side in sides), strict=True)
        return found, fatal or any(ends)


def _with_time_for_both(plan: TrialPlan) -> TrialPlan:
    """Return an arm's plan with time for the other arm's turns."""
    options = plan.options
    return replace(plan, options=replace(options, budget_seconds=2 * options.budget_seconds))


class _Side:
    """One arm of a pair: its run, and what has been sampled of it."""

    def __init__(self, run: CaseRun, arm: ArmName) -> None:
        self.run, self.arm = run, arm
        self.reason: StopReason | None = None
        self._sampler: Sampler | None = None

    @property
    def sampler(self) -> Sampler:
        """What takes its samples."""
        assert self._sampler is not None, "begin comes first"
        return self._sampler

    @property
    def spent(self) -> bool:
        """Whether its budget is used up."""
        return out_of_budget(len(self.sampler.samples), self.sampler.progress, self.sampler.rule)

    def rehearse(self) -> None:
        """Do once what only the first arm would otherwise find undone."""
        self.run.rehearse()

    def get_ready(self) -> None:
        """Prepare, verify and warm up."""
        if self.run.work.mode is Mode.SUSTAINED:
            raise CaseFailure(
                Outcome.UNSUPPORTED,
                "two arms in turns reach no equilibrium of power that is theirs; compare them in mode hot or rotating",
            )
        self.run.get_ready()

    def begin(self) -> None:
        """Begin to sample."""
        self.run.enter(Phase.MEASURE)
        work = self.run.work
        self._sampler = Sampler(work.setup, work.armed, work.verifier)

    def take(self, samples: int, *, closing: bool) -> None:
        """Take a block; one that may be the last over poisoned outputs."""
        work = self.run.work
        if work.setup.mode in LEAD_IN:
            work.sets.workloads[0].launch()
            work.setup.device.synchronize()
        if closing:
            work.verifier.poison()
            work.setup.device.synchronize()
        self.sampler.take(samples)

    def decide(self) -> None:
        """Note why it should stop now, if it should."""
        self.reason = decide(self.sampler.samples, self.sampler.progress, self.sampler.rule)

    def taken(self) -> Taken:
        """What was sampled."""
        assert self.reason is not None, "decide comes first"
        work = self.run.work
        return taken_by(self.sampler, work.armed.timing, self.reason, self.sampler.progress, work.setup.options)

    def finish(self) -> tuple[Measurement, bool]:
        """Return the measurement with its arm, and whether giving back ended the trial."""
        found, fatal = self.run.finish()
        return replace(found, arm=self.arm.value), fatal


def _measure_both(sides: Sequence[_Side], device: Device, rng: random.Random) -> bool:
    """Take both through every step; what one of them does wrong ends both. Return whether the trial is over."""
    for step in (_Side.rehearse, _Side.get_ready):
        for side in sides:
            if side.run.attempt(partial(step, side)):
                _give_up(sides)
                return True
        if _give_up(sides):
            return False
    with collector_paused():
        before = device.state()
        over = any(side.run.attempt(side.begin) for side in sides) or _take_turns(sides, rng)
        after = device.state()
    if _give_up(sides) or over:
        return over
    for side in sides:
        taken = side.taken()
        side.run.accept(taken, before, after)
        over = side.run.attempt(side.run.require_unthrottled) or over
        if not side.run.failed:
            over = side.run.attempt(partial(side.run.conclude, taken)) or over
    return over


def _give_up(sides: Sequence[_Side]) -> bool:
    """Tell whether a side has failed, and end the others because of it."""
    failed = [side for side in sides if side.run.failed]
    for side in sides:
        if failed and side not in failed:
            side.run.attempt(_because_of(failed[0]))
    return bool(failed)


def _because_of(other: _Side) -> Callable[[], None]:
    def stop() -> None:
        raise CaseFailure(
            Outcome.INTERRUPTED, f"not measured to its end, because arm {other.arm.value} of the same pair failed"
        )

    return stop


def _take_turns(sides: Sequence[_Side], rng: random.Random) -> bool:
    """Sample both until two looks in a row say of both that it is enough; return whether the trial is over."""
    until, closing = max(next_checkpoint(0, side.sampler.rule) for side in sides), False
    while not any(side.run.failed for side in sides):
        if _fill(sides, until, rng, closing=closing):
            return True
        if any(side.run.failed for side in sides):
            return False
        for side in sides:
            side.decide()
        enough = all(side.reason is not None for side in sides)
        if enough and closing:
            return False
        closing = enough
        until = _next_look(sides, closing=closing)
    return False


def _next_look(sides: Sequence[_Side], *, closing: bool) -> int:
    """Return how many samples each arm should have when it is looked at again."""
    count = _count(sides)
    if not closing:
        return max(count + 1, *(next_checkpoint(count, side.sampler.rule) for side in sides))
    confirming = min(math.ceil(count * CHECKPOINT_GROWTH), sides[0].sampler.rule.max_samples)
    return count + 1 if any(side.spent for side in sides) else max(count + 1, confirming)


def _count(sides: Sequence[_Side]) -> int:
    """Return how many samples both have at least; a rotation of one may have brought it a few more."""
    return min(len(side.sampler.samples) for side in sides)


def _fill(sides: Sequence[_Side], until: int, rng: random.Random, *, closing: bool) -> bool:
    """Take pairs of blocks until both have so many samples or a budget is spent; whether the trial is over."""
    while True:
        size = _block(sides, until)
        turns = list(sides)
        rng.shuffle(turns)
        for side in turns:
            if side.run.attempt(partial(side.take, size, closing=closing)):
                return True
            if side.run.failed:
                return False
        if _count(sides) >= until or any(side.spent for side in sides):
            return False


def _block(sides: Sequence[_Side], until: int) -> int:
    """Return how many samples each arm takes next, the same for both so that blocks are pairs."""
    sample_ns = max(side.sampler.sample_ns for side in sides)
    longest = int(LONGEST_BLOCK_SECONDS * 1e9 / max(1.0, sample_ns))
    return max(1, min(longest, math.ceil(until / PAIRS_OF_BLOCKS), until - _count(sides)))
