"""Taking samples: how long one is, blocks until the stop rule is satisfied, or a long stretch without a pause."""

import gc
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from tesserabench.bench.device.protocol import Device, Drill, PausingDevice, Timer, Timing, TimingOrder, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Sampling
from tesserabench.bench.plan import MeasureOptions
from tesserabench.bench.timing.blocks import LONGEST_SECONDS, Columns, block_size, judges_escape, pause_seconds
from tesserabench.bench.timing.stopping import (
    Progress,
    StopRule,
    decide,
    out_of_budget,
    precision,
    sample_until_stopped,
)
from tesserabench.bench.vocabulary import Mode, Outcome, Phase, StopReason

RESOLUTION_STEPS = 1000
"""A sample lasts at least this many timer steps, so that a step is at most 0.1 % of it."""
FLOOR_MULTIPLE = 20
"""A sample lasts at least this many times what an empty timed region reads."""
MAX_ITERATIONS = 10_000
BACK_TO_BACK = frozenset({Mode.HOT, Mode.ROTATING, Mode.SUSTAINED})
"""Modes in which several launches may share a sample; in the others each launch is timed by itself."""
COOL_DOWN_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a second try after thermal throttling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is measured, on what, and how."""

    device: Device
    workloads: Sequence[Workload]
    mode: Mode
    options: MeasureOptions
    seed: int
    keep_going: Callable[[], None]
    """Raises when the trial was cancelled; called before every block."""
    drill_factor: float | None = None

    def arm(self, iterations: int, launch_ns: int | None = None) -> Timing:
        """Make the work ready to be timed; the drill needs to know how long a launch takes by itself."""
        drill = None
        if self.drill_factor is not None and launch_ns is not None:
            drill = Drill(factor=self.drill_factor, launch_ns=launch_ns)
        order = TimingOrder(
            mode=self.mode, iterations=iterations, drill=drill, flush=self.options.flush, backend=self.options.backend
        )
        return self.device.arm(self.workloads, order)

    def pause(self, seconds: float) -> None:
        """Let time pass without work, the device's own time where it has one."""
        if isinstance(self.device, PausingDevice):
            self.device.pause(seconds)
        else:
            time.sleep(seconds)


class Checks(Protocol):
    """What happens to the outputs between blocks."""

    def poison(self) -> None:
        """Fill the outputs of every set, so that the next block must write them all."""

    def require(self, when: str) -> None:
        """Raise CaseFailure(incorrect) unless the outputs are right now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Armed:
    """Work that is warm and ready to be timed."""

    timing: Timing
    iterations: int
    """Launches in a sample."""
    launch_ns: int
    """What one launch takes."""
    sample_ns: float
    """What the host waits for a sample."""
    first_ns: int
    """What the first launch of the warm-up took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Samples in nanoseconds for one launch, in order, the columns beside them, and how they were taken."""

    samples: tuple[int, ...]
    clock_mhz: tuple[float, ...]
    offset_us: tuple[float, ...]
    block: tuple[int, ...]
    sampling: Sampling
    escaped: bool
    measuring_monotonic_ns: int
    measured_monotonic_ns: int


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's garbage collector out of timed regions."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def iterations_for(launch_ns: int, timer: Timer, mode: Mode, options: MeasureOptions) -> int:
    """Return how many launches make a sample long enough for the timer; one where each launch is timed by itself.

    A sample is never so long that the least number of samples would exceed the budget.
    """
    if mode not in BACK_TO_BACK:
        return 1
    budget = options.sustained_seconds if mode is Mode.SUSTAINED else options.budget_seconds
    needed = max(RESOLUTION_STEPS * timer.quantum_ns, FLOOR_MULTIPLE * timer.floor_ns)
    if mode is Mode.SUSTAINED:
        needed = max(needed, 2 * budget * 1e9 / options.max_samples)
    needed = min(needed, budget * 1e9 / options.min_samples)
    return min(MAX_ITERATIONS, max(1, math.ceil(needed / launch_ns)))


class Sampler:
    """Takes blocks of one case and keeps them."""

    def __init__(self, setup: Setup, armed: Armed, checks: Checks) -> None:
        self._setup, self._timing, self._checks = setup, armed.timing, checks
        self.sample_ns = armed.sample_ns
        self._rng = random.Random(f"blocks:{setup.seed}")  # noqa: S311 - no secret
        self._judged = judges_escape(setup.mode, armed.timing)
        self.rule = _rule(setup.options, armed)
        # A random block of the first ones is checked by itself, so that no launch can count on going unseen.
        self._checked_block = self._rng.randrange(setup.options.min_blocks)
        self.columns = Columns(iterations=armed.iterations)
        self.begin()

    @property
    def samples(self) -> Sequence[int]:
        """Everything taken so far."""
        return self.columns.samples

    @property
    def progress(self) -> Progress:
        """What it has cost, without what the checks of the outputs took."""
        elapsed_ns = self._setup.device.now_ns() - self._started_ns - self._spared_ns
        return Progress(
            elapsed_seconds=elapsed_ns / 1e9,
            device_seconds=self.columns.device_ns / 1e9,
            blocks=self.columns.blocks,
            block=self.columns.block,
        )

    def more(self, until: int, *, closing: bool) -> None:
        """Take blocks, each after a pause; the outputs are poisoned before every block that may be the last."""
        while True:
            checked = closing or self.columns.blocks == self._checked_block
            if self.columns.blocks:
                self._setup.pause(pause_seconds(self._rng))
            if checked:
                self._spare(self._checks.poison)
            self.take(self._size(until))
            if checked and not closing:
                self._spare(lambda: self._checks.require("while measuring"))
            if len(self.samples) >= until or out_of_budget(len(self.samples), self.progress, self.rule):
                return

    def take(self, samples: int) -> None:
        """Take one block, of at least one whole turn of the rotation."""
        # A rotation that is shorter than its sets would leave some of them poisoned.
        left = turn = math.ceil(len(self._setup.workloads) / self.columns.iterations)
        while left > 0:
            self._setup.keep_going()
            block = self._timing.take(max(samples, turn))
            self.measured_monotonic_ns = time.monotonic_ns()
            self.columns.append(block, judged=self._judged)
            left -= len(block.total_ns)
            if block.host_ns:
                self.sample_ns = block.host_ns / len(block.total_ns)
        _enforce(self.progress, self._setup, len(self.samples))

    def begin(self) -> None:
        """Let the window in which launches count begin now."""
        self.measuring_monotonic_ns = self.measured_monotonic_ns = time.monotonic_ns()
        self._started_ns, self._spared_ns = self._setup.device.now_ns(), 0

    def _size(self, until: int) -> int:
        options, progress = self._setup.options, self.progress
        missing = max(1, options.min_blocks - progress.blocks)
        left = options.budget_seconds - progress.elapsed_seconds
        room = max(1, options.max_samples - len(self.samples))
        return min(room, block_size(until - len(self.samples), missing, self.sample_ns, left))

    def _spare(self, work: Callable[[], None]) -> None:
        begin = self._setup.device.now_ns()
        work()
        self._setup.device.synchronize()
        self._spared_ns += self._setup.device.now_ns() - begin


def take_samples(setup: Setup, armed: Armed, checks: Checks) -> Taken:
    """Sample until the stop rule ends it; raise CaseFailure(timeout) when the hard limit passes."""
    sampler = Sampler(setup, armed, checks)
    reason = sample_until_stopped(sampler, sampler.rule)
    return taken_by(sampler, armed.timing, reason, sampler.progress, setup.options)


def sustain(setup: Setup, armed: Armed, checks: Checks) -> Taken:
    """Launch without a pause for `sustained_seconds`, then once more over poisoned outputs.

    The window in which launches are counted begins when a first block of the same size has landed: a device that always
    has the next block queued then works from its begin to its end on just the launches that are counted. The last block
    proves the work; it lies outside the window, so it is no sample either.
    """
    sampler = Sampler(setup, armed, checks)
    options = setup.options
    size = block_size(options.max_samples, 1, sampler.sample_ns, LONGEST_SECONDS)
    setup.keep_going()
    armed.timing.take(size)
    sampler.begin()
    while True:
        sampler.take(size)
        progress = sampler.progress
        if progress.elapsed_seconds >= options.sustained_seconds and len(sampler.samples) >= options.min_samples:
            break
    over = replace(sampler.rule, budget_seconds=progress.elapsed_seconds, min_blocks=1, min_device_seconds=0.0)
    reason = decide(sampler.samples, progress, over)
    assert reason is not None, "a spent budget always gives a reason"
    checks.poison()
    setup.device.synchronize()
    armed.timing.take(math.ceil(len(setup.workloads) / armed.iterations))
    return taken_by(sampler, armed.timing, reason, progress, options)


def taken_by(
    sampler: Sampler, timing: Timing, reason: StopReason, progress: Progress, options: MeasureOptions
) -> Taken:
    """Return what a sampler has taken and why it stopped; `progress` is what the samples cost."""
    columns = sampler.columns
    sampling = Sampling(
        iterations=columns.iterations,
        stop_reason=reason,
        target=options.target,
        half_width=precision(columns.samples, sampler.rule.quantum_ns, columns.block).half_width,
        backend=timing.backend,
        timer=timing.timer,
        cache=timing.cache,
        blocks=columns.blocks,
        launches=columns.launches,
        elapsed_seconds=progress.elapsed_seconds,
        device_seconds=progress.device_seconds,
    )
    return Taken(
        samples=tuple(columns.samples),
        clock_mhz=columns.clocks(),
        offset_us=columns.offsets(),
        block=tuple(columns.block),
        sampling=sampling,
        escaped=columns.escaped,
        measuring_monotonic_ns=sampler.measuring_monotonic_ns,
        measured_monotonic_ns=sampler.measured_monotonic_ns,
    )


def _rule(options: MeasureOptions, armed: Armed) -> StopRule:
    return StopRule(
        target=options.target,
        min_samples=options.min_samples,
        max_samples=options.max_samples,
        budget_seconds=options.budget_seconds,
        min_device_seconds=options.min_device_seconds,
        quantum_ns=armed.timing.timer.quantum_ns / armed.iterations,
        min_blocks=options.min_blocks,
        first_look=math.ceil(options.min_device_seconds * 1e9 / (armed.launch_ns * armed.iterations)),
    )


def _enforce(progress: Progress, setup: Setup, count: int) -> None:
    limit = setup.options.budget_of(Phase.MEASURE, setup.mode)
    if progress.elapsed_seconds > limit:
        raise CaseFailure(
            Outcome.TIMEOUT,
            f"measuring took {progress.elapsed_seconds:.1f} s for {count} samples, beyond its limit of {limit:.0f} s; "
            "raise the budget or choose smaller parameters",
        )
