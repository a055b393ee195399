"""From what bench measures to what the wire carries: the one place where the two vocabularies meet."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tesserabench.agent.runner.samples_wire import (
    add_sampling,
    kernel_to_wire,
    samples_to_wire,
    statistics_to_wire,
    warmup_to_wire,
)
from tesserabench.agent.runner.watch import Facts
from tesserabench.bench import (
    Better,
    Case,
    Ceilings,
    Correctness,
    DeviceState,
    Measurement,
    MetricValue,
    Mode,
    Outcome,
    StopReason,
    TrialHeader,
)
from tesserabench.bench.codec import decode
from tesserabench.bench.dtypes import real_dtype
from tesserabench.bench.metric import CEILING_RATIO, TIME
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1.host_pb2 import Device

OUTCOMES: Mapping[Outcome, pb.Outcome.ValueType] = {
    Outcome.OK: pb.OUTCOME_OK,
    Outcome.INCORRECT: pb.OUTCOME_INCORRECT,
    Outcome.IMPLAUSIBLE: pb.OUTCOME_IMPLAUSIBLE,
    Outcome.TIMEOUT: pb.OUTCOME_TIMEOUT,
    Outcome.OUT_OF_MEMORY: pb.OUTCOME_OUT_OF_MEMORY,
    Outcome.DEVICE_ERROR: pb.OUTCOME_DEVICE_ERROR,
    Outcome.DEVICE_LOST: pb.OUTCOME_DEVICE_LOST,
    Outcome.BUSY: pb.OUTCOME_BUSY,
    Outcome.THROTTLED: pb.OUTCOME_THROTTLED,
    Outcome.UNSUPPORTED: pb.OUTCOME_UNSUPPORTED,
    Outcome.CANCELLED: pb.OUTCOME_CANCELLED,
    Outcome.INTERRUPTED: pb.OUTCOME_INTERRUPTED,
    Outcome.HARNESS_ERROR: pb.OUTCOME_HARNESS_ERROR,
}
STOP_REASONS: Mapping[StopReason, pb.StopReason.ValueType] = {
    StopReason.CONVERGED: pb.STOP_REASON_CONVERGED,
    StopReason.BUDGET_EXHAUSTED: pb.STOP_REASON_BUDGET,
    StopReason.MAX_SAMPLES: pb.STOP_REASON_MAX_SAMPLES,
    StopReason.NOISE_FLOOR: pb.STOP_REASON_NOISE_FLOOR,
    StopReason.RESOLUTION_LIMITED: pb.STOP_REASON_RESOLUTION_LIMITED,
    StopReason.DRIFTING: pb.STOP_REASON_DRIFTING,
}
MODES: Mapping[Mode, pb.TimingMode.ValueType] = {
    Mode.HOT: pb.TIMING_MODE_HOT,
    Mode.COLD: pb.TIMING_MODE_COLD,
    Mode.ROTATING: pb.TIMING_MODE_ROTATING,
    Mode.SUSTAINED: pb.TIMING_MODE_SUSTAINED,
    Mode.HOST: pb.TIMING_MODE_HOST,
}
BETTER: Mapping[Better, pb.Better.ValueType] = {Better.LOWER: pb.BETTER_LOWER, Better.HIGHER: pb.BETTER_HIGHER}

# Outcomes whose numbers are worth keeping: the others have none, or wrong ones.
_MEASURED = {Outcome.OK, Outcome.THROTTLED, Outcome.IMPLAUSIBLE}
_NANO = 1_000_000_000


def case_to_wire(case: Case) -> pb.Case:
    """The case; its suite is the benchmark's own, so that a case is the same whichever suite ran it."""
    suite, _, benchmark = case.benchmark.rpartition("/")
    parameters = {name: _text(value) for name, value in case.params.items()}
    return pb.Case(id=case.id, suite=suite, benchmark=benchmark, parameters=parameters)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def result_to_wire(
    measurement: Measurement, header: TrialHeader | None, position: int, *, retried: bool = False
) -> pb.CaseResult:
    """What a case gave.

    `position` is its place in the whole trial, which may have had several workers; `retried` when an earlier try of it
    was thrown away.
    """
    result = pb.CaseResult(
        case=case_to_wire(measurement.case),
        mode=MODES[measurement.mode],
        outcome=OUTCOMES[measurement.outcome],
        reason=measurement.reason,
        flags=measurement.flags,
        order=position,
        seed=measurement.seed,
        inputs=measurement.inputs,
        arm=measurement.arm,
        kernels=[kernel_to_wire(facts) for facts in measurement.kernels],
    )
    if measurement.outcome in _MEASURED:
        result.measurements.extend(_measurements(measurement, retried=retried))
    if measurement.correctness is not None:
        result.correctness.CopyFrom(_correctness(measurement.correctness))
    if header is not None:
        result.timer_floor_ns = header.timer.floor_ns
        result.timer_quantum_ns = header.timer.quantum_ns
        _add_ceiling(result, measurement, header)
    if measurement.sampling is not None:
        result.stop_reason = STOP_REASONS[measurement.sampling.stop_reason]
        add_sampling(result, measurement.sampling)
    if measurement.warmup is not None:
        result.warmup.CopyFrom(warmup_to_wire(measurement.warmup))
    if measurement.started_monotonic_ns is not None and measurement.ended_monotonic_ns is not None:
        result.wall_time.FromNanoseconds(measurement.ended_monotonic_ns - measurement.started_monotonic_ns)
        result.end_time.CopyFrom(_wall_clock(measurement.ended_monotonic_ns))
    return result


def _measurements(measurement: Measurement, *, retried: bool) -> list[pb.Measurement]:
    values = measurement.metrics
    if not values and measurement.statistics is not None:
        # A throttled case has no derived metrics, but its times are worth looking at.
        summary = measurement.statistics
        values = (MetricValue.of(TIME, summary.median, summary.ci_low, summary.ci_high),)
    found = [metric_to_wire(value) for value in values]
    for metric in found:
        if metric.metric == TIME.name and measurement.statistics is not None:
            metric.statistics.CopyFrom(statistics_to_wire(measurement.statistics))
            metric.samples.CopyFrom(samples_to_wire(measurement, retried=retried))
    return found


def metric_to_wire(value: MetricValue) -> pb.Measurement:
    """One metric without samples."""
    return pb.Measurement(
        metric=value.name,
        unit=value.unit,
        better=BETTER[value.better],
        primary=value.primary,
        value=value.value,
        ci_low=value.ci_low,
        ci_high=value.ci_high,
    )


def _correctness(found: Correctness) -> pb.Correctness:
    return pb.Correctness(
        check=found.metric, error=found.value, limit=found.limit, passed=found.passed, poisoned=found.poisoned
    )


def _add_ceiling(result: pb.CaseResult, measurement: Measurement, header: TrialHeader) -> None:
    ratio = next((value for value in measurement.metrics if value.name == CEILING_RATIO.name), None)
    if ratio is None or measurement.outcome not in _MEASURED:
        return
    result.ceiling_ratio = ratio.value
    result.ceiling = _binding_ceiling(measurement, header)


def _binding_ceiling(measurement: Measurement, header: TrialHeader) -> str:
    """The lower of the two roofs (Williams et al., Roofline, 2009): the one that the ratio was taken of."""
    dtype = real_dtype(measurement.dtype or "")
    peak, bandwidth = header.ceilings.flops.get(dtype), header.ceilings.bandwidth
    if measurement.flops and peak is not None:
        by_bandwidth = bandwidth / measurement.bytes if measurement.bytes and bandwidth else None
        if by_bandwidth is None or peak / measurement.flops <= by_bandwidth:
            return f"flops:{dtype}"
    return "bandwidth"


def ceilings_to_wire(header: TrialHeader, closing: Ceilings | None = None) -> list[pb.Ceiling]:
    """The ceilings that were probed before the first case, with those probed after the last one."""
    opening, end = _rates(header.ceilings), _rates(closing or Ceilings())
    units = {name: "B/s" if name == "bandwidth" else "FLOP/s" for name in {**opening, **end}}
    return [
        pb.Ceiling(name=name, unit=unit, opening=opening.get(name), closing=end.get(name))
        for name, unit in units.items()
    ]


def _rates(ceilings: Ceilings) -> dict[str, float]:
    found = {} if ceilings.bandwidth is None else {"bandwidth": ceilings.bandwidth}
    return found | {f"flops:{dtype}": rate for dtype, rate in ceilings.flops.items()}


def environment_to_wire(header: TrialHeader, agents: Facts | None = None) -> pb.Environment:
    """What may change results, with a hash over all of it.

    Facts that only the agent can read go over those of the worker; those of them that decide comparability are hashed
    into it, so that a GPU with locked clocks is never compared with one whose clocks run free.
    """
    agents = agents or Facts()
    facts = {name: _text(value) for name, value in {**header.environment.facts, **agents.all}.items()}
    comparability = header.environment.comparability
    if agents.comparable:
        own = {name: _text(value) for name, value in agents.comparable.items()}
        comparability = _hash([comparability, *sorted(own.items())])
    return pb.Environment(comparability=comparability, fingerprint=_hash(sorted(facts.items())), facts=facts)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()[:16]


def device_to_wire(known: Device, info: Mapping[str, Any]) -> Device:
    """The device as the inventory has it; what only the worker could find out is filled in."""
    device = Device()
    device.CopyFrom(known)
    if known.kind == "simulated":
        # A scenario may play any model.
        device.model = str(info.get("model") or known.model)
    if not device.HasField("memory_bytes") and info.get("memory_bytes"):
        device.memory_bytes = int(info["memory_bytes"])
    device.driver_version = device.driver_version or str(info.get("driver") or "")
    device.compute_capability = device.compute_capability or str(info.get("compute_capability") or "")
    return device


def state_to_wire(data: Mapping[str, Any], now: Timestamp) -> pb.DeviceState:
    """A device's own reading of its state, for devices that the agent cannot read itself."""
    state = decode(DeviceState, data, "state")
    found = pb.DeviceState(time=now)
    if state.clock_hz is not None:
        found.sm_clock_mhz = state.clock_hz / 1e6
    if state.temperature_celsius is not None:
        found.temperature_celsius = state.temperature_celsius
    if state.power_watts is not None:
        found.power_watts = state.power_watts
    if state.throttled_ns is not None:
        # Only a simulated device counts this by itself; its script knows no reasons.
        found.throttle_ns["hw_thermal"] = state.throttled_ns
    return found


def _wall_clock(monotonic_ns: int) -> Timestamp:
    """The wall time of a moment of CLOCK_MONOTONIC, which all processes of the machine share."""
    stamp = Timestamp()
    stamp.FromNanoseconds(time.time_ns() - (time.monotonic_ns() - monotonic_ns))
    return stamp
