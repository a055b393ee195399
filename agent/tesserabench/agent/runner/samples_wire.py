"""Samples, their statistics and how they were taken, from bench's words to the wire's."""

from tesserabench.bench import CacheUse, KernelFacts, Measurement, SampleFlag, Sampling, Statistics, Warmup
from tesserabench.v1 import measurement_pb2 as pb

_OPTIONAL = (
    *("stdev", "ci_low", "ci_high", "autocorrelation", "drift", "p1", "p99", "mode_count", "first_ratio"),
    "minimum_detectable_effect",
)


def statistics_to_wire(summary: Statistics) -> pb.Statistics:
    """The summary of samples; what so few samples cannot tell stays absent."""
    found = pb.Statistics(
        count=summary.n,
        effective_count=summary.n_eff,
        min=summary.min,
        p5=summary.p5,
        q1=summary.q1,
        median=summary.median,
        q3=summary.q3,
        p95=summary.p95,
        max=summary.max,
        mean=summary.mean,
        mad=summary.mad,
        mild_outliers=summary.mild_outliers,
        severe_outliers=summary.severe_outliers,
    )
    for name in _OPTIONAL:
        value = getattr(summary, name)
        if value is not None:
            setattr(found, name, value)
    return found


def samples_to_wire(measurement: Measurement, *, retried: bool = False) -> pb.Samples:
    """The samples in columns; a column that is not as long as the samples is left out."""
    count = len(measurement.samples)
    flags = measurement.sample_flags if len(measurement.sample_flags) == count else (0,) * count
    if retried:
        flags = tuple(int(flag | SampleFlag.AFTER_RETRY) for flag in flags)
    found = pb.Samples(values=measurement.samples)
    for name, column in (
        ("sm_clock_mhz", measurement.clock_mhz),
        ("offset_us", measurement.offset_us),
        ("block", measurement.block),
        ("flags", flags if any(flags) else ()),
    ):
        if len(column) == count:
            getattr(found, name).extend(column)
    return found


def add_sampling(result: pb.CaseResult, sampling: Sampling) -> None:
    """How the samples were taken."""
    result.iterations_per_sample = sampling.iterations
    result.backend = sampling.backend.value
    result.cache.CopyFrom(_cache(sampling.cache))
    result.target_half_width = sampling.target
    if sampling.half_width is not None:
        result.half_width = sampling.half_width
    result.blocks = sampling.blocks
    # The timer of this way of timing, which the trial's own, plainest one is not.
    result.timer_floor_ns = sampling.timer.floor_ns
    result.timer_quantum_ns = sampling.timer.quantum_ns


def _cache(use: CacheUse) -> pb.CacheUse:
    found = pb.CacheUse(kind=use.kind.value, copies=use.copies)
    if use.bytes is not None:
        found.size_bytes = use.bytes
    return found


def warmup_to_wire(warmup: Warmup) -> pb.Warmup:
    """What came before sampling."""
    found = pb.Warmup(calls=warmup.calls, complete=warmup.complete)
    found.duration.FromNanoseconds(int(warmup.seconds * 1e9))
    return found


def kernel_to_wire(facts: KernelFacts) -> pb.KernelAttributes:
    """What compiler and driver say of a kernel."""
    found = pb.KernelAttributes(name=facts.name, options=facts.options)
    values = {
        "registers": facts.registers,
        "shared_bytes": facts.shared_bytes,
        "local_bytes": facts.local_bytes,
        "constant_bytes": facts.constant_bytes,
        "block_threads": facts.block_threads,
        "occupancy": facts.occupancy,
        "architecture": facts.architecture,
        "source_hash": facts.source_hash,
        "binary_hash": facts.binary_hash,
    }
    for name, value in values.items():
        if value is not None:
            setattr(found, name, value)
    if facts.compile_seconds is not None:
        found.compile_time.FromNanoseconds(int(facts.compile_seconds * 1e9))
    return found
