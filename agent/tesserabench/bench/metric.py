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

METRICS = (TIME, THROUGHPUT, BANDWIDTH, CEILING_RATIO)
