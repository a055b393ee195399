"""Warm-up: launching until times, clock and, where energy is measured, temperature stand still."""

import math
from dataclasses import dataclass, field
from statistics import median, quantiles

from tesserabench.bench.device.protocol import Block, Timing
from tesserabench.bench.measurement import Warmup
from tesserabench.bench.timing.sampling import Armed, Setup, iterations_for
from tesserabench.bench.vocabulary import Mode

WINDOW_STEPS = 10
"""The last two windows of this many steps are compared; a step is a block, told by its median."""
WINDOW_TOLERANCE = 0.01
CLOCK_TOLERANCE = 0.01
LEAST_STEPS = 3
"""Even a warm-up without time takes so many steps: the first launches are cold, and a sample's length follows."""
STEPS_OF_LEAST_TIME = 20
"""A step lasts so small a part of the least warm-up, that both windows fit into it."""
SUSTAINED_STEP_SECONDS = 0.1
MOST_IN_STEP = 256
TEMPERATURE_SLOPE = 0.2
"""Degrees Celsius a second below which a temperature stands still."""
TEMPERATURE_SPAN_SECONDS = 3.0
"""Time over which the slope is taken: sensors tell whole degrees."""


def is_stationary(times: list[float]) -> bool:
    """Tell whether the quartiles of the last two windows agree within 1 %."""
    if len(times) < 2 * WINDOW_STEPS:
        return False
    older, newer = times[-2 * WINDOW_STEPS : -WINDOW_STEPS], times[-WINDOW_STEPS:]
    pairs = zip(quantiles(older), quantiles(newer), strict=True)
    return all(abs(b - a) <= WINDOW_TOLERANCE * a for a, b in pairs)


def is_clock_steady(clocks: list[float]) -> bool:
    """Tell whether the clock of the last two windows is the same within 1 %; an unknown clock stands in no way."""
    if len(clocks) < 2 * WINDOW_STEPS:
        return not clocks
    older, newer = median(clocks[-2 * WINDOW_STEPS : -WINDOW_STEPS]), median(clocks[-WINDOW_STEPS:])
    return abs(newer - older) <= CLOCK_TOLERANCE * older


def is_temperature_steady(readings: list[tuple[float, float]]) -> bool:
    """Tell whether the temperature rose or fell by less than 0.2 degrees a second over the last three seconds.

    `readings` are pairs of seconds and degrees Celsius, in order; none at all stand in no way.
    """
    if not readings:
        return True
    end, last = readings[-1]
    spanning = [reading for reading in readings if reading[0] <= end - TEMPERATURE_SPAN_SECONDS]
    if not spanning:
        return False
    begin, first = spanning[-1]
    return abs(last - first) / (end - begin) < TEMPERATURE_SLOPE


@dataclass(slots=True)
class _Course:
    """What the warm-up has seen so far."""

    calls: int = 0
    times: list[float] = field(default_factory=list)
    clocks: list[float] = field(default_factory=list)
    temperatures: list[tuple[float, float]] = field(default_factory=list)
    first_ns: int = 0
    sample_ns: float = 0.0

    def add(self, block: Block, spent_ns: int) -> None:
        self.first_ns = self.first_ns or block.total_ns[0]
        self.calls += len(block.total_ns)
        self.times.append(median(block.total_ns))
        if block.clock_hz:
            self.clocks.append(median(block.clock_hz))
        self.sample_ns = (block.host_ns or spent_ns) / len(block.total_ns)

    @property
    def steady(self) -> bool:
        return is_stationary(self.times) and is_clock_steady(self.clocks) and is_temperature_steady(self.temperatures)


def warm_up(setup: Setup) -> tuple[Warmup, Armed]:
    """Launch until everything stands still or the cap is reached; return what it took, and the work ready to be timed.

    The timing that measures is the one that warmed up, unless a sample needs several launches or a drill is planted.
    """
    timing = setup.arm(1)
    try:
        course, seconds = _run(setup, timing)
        launch_ns = max(1, round(median(course.times[-WINDOW_STEPS:])))
        iterations = iterations_for(launch_ns, timing.timer, setup.mode, setup.options)
        sample_ns = max(1.0, course.sample_ns) * iterations
        if iterations > 1 or setup.drill_factor is not None:
            timing.close()
            timing = setup.arm(iterations, launch_ns)
            # What is captured anew pays for its upload when it is first launched.
            block = timing.take(1)
            course.calls += iterations
            sample_ns = float(block.host_ns or sample_ns)
    except BaseException:
        timing.close()
        raise
    warmup = Warmup(calls=course.calls, seconds=seconds, complete=course.steady)
    armed = Armed(
        timing=timing,
        iterations=iterations,
        launch_ns=launch_ns,
        sample_ns=sample_ns,
        first_ns=course.first_ns,
    )
    return warmup, armed


def _run(setup: Setup, timing: Timing) -> tuple[_Course, float]:
    options, device = setup.options, setup.device
    sustained = setup.mode is Mode.SUSTAINED
    cap = options.sustained_warmup_cap_seconds if sustained else options.warmup_cap_seconds
    step_seconds = SUSTAINED_STEP_SECONDS if sustained else options.warmup_min_seconds / STEPS_OF_LEAST_TIME
    course = _Course()
    started = device.now_ns()
    samples = 1
    while True:
        setup.keep_going()
        begin = device.now_ns()
        block = timing.take(samples)
        now = device.now_ns()
        course.add(block, now - begin)
        seconds = (now - started) / 1e9
        if sustained and (temperature := device.state().temperature_celsius) is not None:
            course.temperatures.append((seconds, temperature))
        enough = course.calls >= options.warmup_min_calls and seconds >= options.warmup_min_seconds
        capped = seconds >= cap and len(course.times) >= LEAST_STEPS
        if (enough and course.steady) or capped:
            return course, seconds
        samples = min(MOST_IN_STEP, max(1, math.ceil(step_seconds * 1e9 / max(1.0, course.sample_ns))))
