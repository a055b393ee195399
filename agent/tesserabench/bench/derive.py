"""From times to rates, and whether the rates can be true."""

from tesserabench.bench.ceiling import rate_ceiling
from tesserabench.bench.dtypes import real_dtype
from tesserabench.bench.measurement import Ceilings
from tesserabench.bench.metric import BANDWIDTH, CEILING_RATIO, THROUGHPUT, TIME, Metric, MetricValue
from tesserabench.bench.timing.statistics import Statistics

NANO = 1e9
IMPLAUSIBLE_FACTOR = 3.0
"""A matrix product probed a moment ago can be disturbed on a shared machine, but not threefold at its best launch."""


def derive_metrics(
    statistics: Statistics, dtype: str | None, flops: int | None, size: int | None, ceilings: Ceilings
) -> tuple[MetricValue, ...]:
    """Return time, and the rates whose formulas and ceilings are known, each at the median with its interval."""
    found = [MetricValue.of(TIME, statistics.median, statistics.ci_low, statistics.ci_high)]
    if flops:
        found.append(_rate(THROUGHPUT, flops, statistics))
    if size:
        found.append(_rate(BANDWIDTH, size, statistics))
    allowed = rate_ceiling(ceilings, dtype, flops, size)
    if allowed is not None:
        found.append(_rate(CEILING_RATIO, 1 / allowed, statistics))
    return tuple(found)


def _rate(metric: Metric, amount: float, statistics: Statistics) -> MetricValue:
    def at(time_ns: float | None) -> float | None:
        return None if not time_ns else amount / (time_ns / NANO)

    value = at(statistics.median)
    assert value is not None, "a time of zero is refused when it is sampled"
    return MetricValue.of(metric, value, at(statistics.ci_low), at(statistics.ci_high))


def implausible(median_ns: float, dtype: str | None, flops: int | None, ceilings: Ceilings) -> str | None:
    """Return why the result cannot be true, or None.

    Only arithmetic is held against its ceiling: a cache may well beat the bandwidth of memory.
    """
    peak = ceilings.flops.get(real_dtype(dtype or ""))
    if not flops or peak is None:
        return None
    achieved = flops / (median_ns / NANO)
    if achieved <= IMPLAUSIBLE_FACTOR * peak:
        return None
    return (
        f"{achieved:.3g} FLOP/s is {achieved / peak:.1f} times the matrix product probed in the same trial "
        f"({peak:.3g} FLOP/s); the work was skipped, or the clock or the formula is wrong: do not use these times"
    )
