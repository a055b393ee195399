"""Taking samples: calibration, warm-up until stationary, and sampling until the stop rule is satisfied."""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles

from tesserabench.bench.device.protocol import Device, Drill, Timer, Timing, TimingOrder, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.measurement import Sampling, Warmup
from tesserabench.bench.plan import MeasureOptions
from tesserabench.bench.timing.stopping import Progress, StopRule, decide, next_checkpoint, out_of_budget, precision
from tesserabench.bench.vocabulary import Mode, Outcome, Phase

RESOLUTION_STEPS = 1000
"""A sample lasts at least this many timer steps, so that a step is at most 0.1 % of it."""
FLOOR_MULTIPLE = 20
"""A sample lasts at least this many times what an empty timed region reads."""
MAX_ITERATIONS = 10_000
WINDOW_BLOCKS = 10
"""Warm-up compares the last two windows of this many times."""
WINDOW_TOLERANCE = 0.01
PREFIX_CALLS = 3
"""Launches whose median calibrates the number of launches in a sample; the first ones are cold."""

Clock = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Samples in nanoseconds for one launch, in order, and how they were taken."""

    samples: tuple[int, ...]
    sampling: Sampling


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


def _take_one(timing: Timing) -> int:
    (total_ns,) = timing.take(1).total_ns
    if total_ns <= 0:
        raise CaseFailure(
            Outcome.IMPLAUSIBLE,
            f"a sample took {total_ns} ns by the device's timer; "
            "the work escaped the timed region, or the timer does not run",
        )
    return total_ns


def is_stationary(times: list[int]) -> bool:
    """Tell whether the quartiles of the last two windows agree within 1 %."""
    if len(times) < 2 * WINDOW_BLOCKS:
        return False
    older, newer = times[-2 * WINDOW_BLOCKS : -WINDOW_BLOCKS], times[-WINDOW_BLOCKS:]
    pairs = zip(quantiles(older), quantiles(newer), strict=True)
    return all(abs(b - a) <= WINDOW_TOLERANCE * a for a, b in pairs)


def warm_up(
    device: Device, workload: Workload, mode: Mode, options: MeasureOptions, keep_going: Callable[[], None]
) -> tuple[Warmup, int]:
    """Launch until the times are stationary or the cap is reached; return what it took and one launch's time in ns."""
    timing = device.arm((workload,), TimingOrder(mode=mode, flush=options.flush, backend=options.backend))
    started = device.now_ns()
    times: list[int] = []
    while True:
        keep_going()
        times.append(_take_one(timing))
        seconds = (device.now_ns() - started) / 1e9
        enough = len(times) >= options.warmup_min_calls and seconds >= options.warmup_min_seconds
        stationary = enough and is_stationary(times)
        capped = seconds >= options.warmup_cap_seconds and len(times) >= PREFIX_CALLS
        if stationary or capped:
            launch_ns = round(median(times[-WINDOW_BLOCKS:]))
            return Warmup(calls=len(times), seconds=seconds, complete=stationary), max(1, launch_ns)


def iterations_for(launch_ns: int, timer: Timer, mode: Mode, options: MeasureOptions) -> int:
    """Return how many launches make a sample long enough for the timer; one where each launch is timed by itself.

    A sample is never so long that the least number of samples would exceed the budget.
    """
    if mode is not Mode.HOT:
        return 1
    needed = max(RESOLUTION_STEPS * timer.quantum_ns, FLOOR_MULTIPLE * timer.floor_ns)
    needed = min(needed, options.budget_seconds * 1e9 / options.min_samples)
    return min(MAX_ITERATIONS, max(1, math.ceil(needed / launch_ns)))


def take_samples(  # noqa: PLR0913 - the parts of one measurement, all keyword-only
    *,
    device: Device,
    workload: Workload,
    mode: Mode,
    options: MeasureOptions,
    launch_ns: int,
    drill_factor: float | None,
    keep_going: Callable[[], None],
) -> Taken:
    """Sample until the stop rule ends it; raise CaseFailure(timeout) when the hard limit passes."""
    iterations = iterations_for(launch_ns, device.timer, mode, options)
    drill = None if drill_factor is None else Drill(factor=drill_factor, launch_ns=launch_ns)
    timing = device.arm(
        (workload,),
        TimingOrder(mode=mode, iterations=iterations, drill=drill, flush=options.flush, backend=options.backend),
    )
    rule = _rule(options, device.timer.quantum_ns / iterations)
    samples: list[int] = []
    checkpoint = next_checkpoint(0, rule)
    started, device_ns = device.now_ns(), 0
    while True:
        keep_going()
        total = _take_one(timing)
        device_ns += total
        samples.append(max(1, round(total / iterations)))
        progress = Progress(elapsed_seconds=(device.now_ns() - started) / 1e9, device_seconds=device_ns / 1e9)
        _enforce(progress, options, len(samples))
        if len(samples) < checkpoint and not out_of_budget(len(samples), progress, rule):
            continue
        if reason := decide(samples, progress, rule):
            break
        checkpoint = next_checkpoint(len(samples), rule)
    sampling = Sampling(
        iterations=iterations,
        stop_reason=reason,
        target=options.target,
        half_width=precision(samples, rule.quantum_ns).half_width,
        backend=timing.backend,
        timer=timing.timer,
        cache=timing.cache,
        launches=len(samples) * iterations,
        elapsed_seconds=progress.elapsed_seconds,
        device_seconds=progress.device_seconds,
    )
    return Taken(samples=tuple(samples), sampling=sampling)


def _rule(options: MeasureOptions, quantum_ns: float) -> StopRule:
    return StopRule(
        target=options.target,
        min_samples=options.min_samples,
        max_samples=options.max_samples,
        budget_seconds=options.budget_seconds,
        min_device_seconds=options.min_device_seconds,
        quantum_ns=quantum_ns,
    )


def _enforce(progress: Progress, options: MeasureOptions, count: int) -> None:
    limit = options.budget_of(Phase.MEASURE)
    if progress.elapsed_seconds > limit:
        raise CaseFailure(
            Outcome.TIMEOUT,
            f"measuring took {progress.elapsed_seconds:.1f} s for {count} samples, beyond its limit of {limit:.0f} s; "
            "raise the budget or choose smaller parameters",
        )
