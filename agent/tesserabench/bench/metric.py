"""Metrics: what a number means, in which unit, and which direction is better."""

from dataclasses import dataclass

from tesserabench.bench.vocabulary import Better


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The definition of a metric; `primary` metrics decide a gate, the others explain it."""

    name: str
    unit: str
    better: Better
    primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One metric of one measurement: the value at the median time, with the interval of the median carried over.

    `ci_low` and `ci_high` are absent when there were too few samples for a 95 % interval.
    """

    name: str
    unit: str
    better: Better
    primary: bool
    value: float
    ci_low: float | None
    ci_high: float | None

    @classmethod
    def of(cls, metric: Metric, value: float, ci_low: float | None, ci_high: float | None) -> "MetricValue":
        """Return `metric` with a value; the bounds may come in either order."""
        if ci_low is not None and ci_high is not None:
            ci_low, ci_high = min(ci_low, ci_high), max(ci_low, ci_high)
        return cls(
            name=metric.name,
            unit=metric.unit,
            better=metric.better,
            primary=metric.primary,
            value=value,
            ci_low=ci_low,
            ci_high=ci_high,
        )


TIME = Metric(name="time", unit="ns", better=Better.LOWER, primary=True)
"""Nanoseconds for one launch."""
THROUGHPUT = Metric(name="throughput", unit="FLOP/s", better=Better.HIGHER)
"""Floating-point operations of the formula, divided by the time."""
BANDWIDTH = Metric(name="bandwidth", unit="B/s", better=Better.HIGHER)
"""Compulsory bytes (each input once, each output once), divided by the time."""
CEILING_RATIO = Metric(name="ceiling_ratio", unit="1", better=Better.HIGHER)
"""Achieved rate over the ceiling probed in the same trial; above 1 when a cache serves what the probe fetched."""

ITEM_RATE = Metric(name="item_rate", unit="1/s", better=Better.HIGHER)
"""Items of the benchmark (keys, look-ups, nodes), divided by the time."""
CYCLES = Metric(name="cycles", unit="1", better=Better.LOWER)
"""Time in cycles of the multiprocessors' clock: unlike the time it does not move when only the clock does."""
ENERGY = Metric(name="energy", unit="J", better=Better.LOWER)
"""Energy of one launch in mode sustained."""
ENERGY_ABOVE_IDLE = Metric(name="energy_above_idle", unit="J", better=Better.LOWER)
"""The same without what the idle device would have drawn."""
POWER = Metric(name="power", unit="W", better=Better.LOWER)
"""Mean power in mode sustained."""
EFFICIENCY = Metric(name="efficiency", unit="FLOP/J", better=Better.HIGHER)
"""Floating-point operations of the formula, divided by the energy."""
NUMERIC_ERROR = Metric(name="numeric_error", unit="1", better=Better.LOWER)
"""Relative error against the float64 reference."""
MAX_ABS_ERROR = Metric(name="max_abs_error", unit="1", better=Better.LOWER)
"""Largest absolute difference from the reference."""
OUTSIDE_TOLERANCE = Metric(name="outside_tolerance", unit="1", better=Better.LOWER)
"""Share of the compared elements off by more than the limit times their own size or the root mean square of all,
whichever is larger."""
DETERMINISM = Metric(name="determinism", unit="1", better=Better.HIGHER)
"""Share of repeated launches whose outputs equal the first one's bit by bit."""
REGISTERS = Metric(name="registers", unit="1", better=Better.LOWER)
"""Registers of a thread, the largest of the kernels."""
SHARED_MEMORY = Metric(name="shared_memory", unit="B", better=Better.LOWER)
"""Shared memory declared by a block, the largest of the kernels."""
LOCAL_MEMORY = Metric(name="local_memory", unit="B", better=Better.LOWER)
"""Local memory of a thread, the largest of the kernels: what the registers could not hold."""
OCCUPANCY = Metric(name="occupancy", unit="1", better=Better.HIGHER)
"""Theoretical occupancy, the lowest of the kernels."""
OCCUPANCY_ACHIEVED = Metric(name="occupancy_achieved", unit="1", better=Better.HIGHER)
"""Warps that were resident on a busy multiprocessor over the most it holds, as counted by Nsight Compute."""
COMPILE_TIME = Metric(name="compile_time", unit="ns", better=Better.LOWER)
"""Time to compile the kernels; absent when they came from a cache."""
FIRST_RATIO = Metric(name="first_ratio", unit="1", better=Better.LOWER)
"""The first launch of the warm-up over the median: what a caller who launches once pays, compilation left out."""
ALGORITHM_BANDWIDTH = Metric(name="algorithm_bandwidth", unit="B/s", better=Better.HIGHER)
"""Payload of a collective, divided by its time."""
BUS_BANDWIDTH = Metric(name="bus_bandwidth", unit="B/s", better=Better.HIGHER)
"""Algorithm bandwidth times the collective's factor: comparable over numbers of ranks."""
ITEM_TIME = Metric(name="item_time", unit="ns", better=Better.LOWER)
"""Time divided by the items of the benchmark: what one of many launches, nodes or records costs."""
PAYLOAD_BANDWIDTH = Metric(name="payload_bandwidth", unit="B/s", better=Better.HIGHER)
"""Bytes that arrived, divided by the time; each byte counts once, also where two memories move it."""

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
