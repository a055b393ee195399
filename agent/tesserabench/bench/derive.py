"""From times to rates and facts, and whether the rates can be true."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tesserabench.bench.ceiling import rate_ceiling
from tesserabench.bench.device.protocol import DeviceInfo, KernelFacts
from tesserabench.bench.dtypes import real_dtype
from tesserabench.bench.measurement import Ceilings, Correctness
from tesserabench.bench.metric import (
    BANDWIDTH,
    CEILING_RATIO,
    COMPILE_TIME,
    CYCLES,
    DETERMINISM,
    FIRST_RATIO,
    ITEM_RATE,
    LOCAL_MEMORY,
    MAX_ABS_ERROR,
    NUMERIC_ERROR,
    OCCUPANCY,
    OUTSIDE_TOLERANCE,
    REGISTERS,
    SHARED_MEMORY,
    THROUGHPUT,
    TIME,
    Metric,
    MetricValue,
)
from tesserabench.bench.timing.statistics import Statistics

NANO = 1e9
IMPLAUSIBLE_FACTOR = 3.0
"""A matrix product probed a moment ago can be disturbed on a shared machine, but not threefold at its best launch."""
THEORY_FACTOR = 1.05
"""Nothing beats a theoretical rate; clocks may be boosted a little beyond what the device says of itself."""
UNCACHED_MULTIPLE = 4
"""Work that touches fewer cache sizes than this may be served by the cache, which memory's bandwidth does not bind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one launch does, by the benchmark's formulas; None where it has none."""

    dtype: str | None
    flops: int | None = None
    bytes: int | None = None
    items: int | None = None


def derive_metrics(statistics: Statistics, work: Work, ceilings: Ceilings) -> tuple[MetricValue, ...]:
    """Return time, and the rates whose formulas and ceilings are known, each at the median with its interval."""
    found = [MetricValue.of(TIME, statistics.median, statistics.ci_low, statistics.ci_high)]
    for metric, amount in ((THROUGHPUT, work.flops), (BANDWIDTH, work.bytes), (ITEM_RATE, work.items)):
        if amount:
            found.append(_rate(metric, amount, statistics))
    allowed = rate_ceiling(ceilings, work.dtype, work.flops, work.bytes)
    if allowed is not None:
        found.append(_rate(CEILING_RATIO, 1 / allowed, statistics))
    return tuple(found)


def derive_cycles(statistics: Statistics, samples: Sequence[int], clock_mhz: Sequence[float]) -> Iterator[MetricValue]:
    """Yield the median of time times clock, sample by sample, where the device tells its clock."""
    if not clock_mhz:
        return
    cycles = median(time * clock / 1000 for time, clock in zip(samples, clock_mhz, strict=True))
    scale = cycles / statistics.median
    bounds = (None if bound is None else bound * scale for bound in (statistics.ci_low, statistics.ci_high))
    yield MetricValue.of(CYCLES, cycles, *bounds)


def derive_facts(
    correctness: Correctness | None, determinism: float | None, kernels: Sequence[KernelFacts], first_ratio: float
) -> Iterator[MetricValue]:
    """Yield what explains a time without being one: single numbers without an interval."""
    if correctness is not None:
        yield from _single(NUMERIC_ERROR, correctness.value)
        yield from _single(MAX_ABS_ERROR, correctness.max_abs_error)
        yield from _single(OUTSIDE_TOLERANCE, correctness.outside_tolerance)
    yield from _single(DETERMINISM, determinism)
    yield from _single(FIRST_RATIO, first_ratio)
    yield from _single(REGISTERS, _most(kernel.registers for kernel in kernels))
    yield from _single(SHARED_MEMORY, _most(kernel.shared_bytes for kernel in kernels))
    yield from _single(LOCAL_MEMORY, _most(kernel.local_bytes for kernel in kernels))
    occupancies = [kernel.occupancy for kernel in kernels if kernel.occupancy is not None]
    yield from _single(OCCUPANCY, min(occupancies, default=None))
    compiled = [kernel.compile_seconds for kernel in kernels if kernel.compile_seconds is not None]
    yield from _single(COMPILE_TIME, sum(compiled) * NANO if compiled else None)


def _most(values: Iterator[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _single(metric: Metric, value: float | None) -> Iterator[MetricValue]:
    if value is not None:
        yield MetricValue.of(metric, float(value), None, None)


def _rate(metric: Metric, amount: float, statistics: Statistics) -> MetricValue:
    def at(time_ns: float | None) -> float | None:
        return None if not time_ns else amount / (time_ns / NANO)

    value = at(statistics.median)
    assert value is not None, "a time of zero is refused when it is sampled"
    return MetricValue.of(metric, value, at(statistics.ci_low), at(statistics.ci_high))


def implausible(median_ns: float, work: Work, ceilings: Ceilings, info: DeviceInfo) -> str | None:
    """Return why the result cannot be true, or None.

    Arithmetic is held against the theoretical peak of its dtype where the device tells it, else against the product
    that was probed; bytes against the theoretical bandwidth, where there are so many that no cache can hold them.
    """
    seconds = median_ns / NANO
    if work.flops and (
        reason := _beyond_arithmetic(work.flops / seconds, real_dtype(work.dtype or ""), ceilings, info)
    ):
        return reason
    if not work.bytes or info.peak_bandwidth is None or info.cache_bytes is None:
        return None
    if work.bytes < UNCACHED_MULTIPLE * info.cache_bytes or work.bytes / seconds <= THEORY_FACTOR * info.peak_bandwidth:
        return None
    return _explain(work.bytes / seconds, "B/s", "the theoretical bandwidth of the memory", info.peak_bandwidth)


def _beyond_arithmetic(achieved: float, dtype: str, ceilings: Ceilings, info: DeviceInfo) -> str | None:
    theory, probed = info.peak_flops.get(dtype), ceilings.flops.get(dtype)
    if theory is not None:
        beyond = achieved > THEORY_FACTOR * theory
        return _explain(achieved, "FLOP/s", f"the theoretical peak for {dtype}", theory) if beyond else None
    if probed is not None and achieved > IMPLAUSIBLE_FACTOR * probed:
        return _explain(achieved, "FLOP/s", "the matrix product probed in the same trial", probed)
    return None


def _explain(achieved: float, unit: str, what: str, limit: float) -> str:
    return (
        f"{achieved:.3g} {unit} is {achieved / limit:.2f} times {what} ({limit:.3g} {unit}); "
        "the work was skipped, or the clock or the formula is wrong: do not use these times"
    )
