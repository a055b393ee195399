"""`CaseFinished` records as values: the hot part of reading an upload."""

import json
import math
from typing import Any

import numpy as np
from tesserabench.collector.api.case_detail import detail_json
from tesserabench.collector.api.case_samples import checked_samples, packed_columns, split_samples
from tesserabench.collector.api.enums import word
from tesserabench.collector.api.field_checks import (
    LONGEST_NAME,
    MOST_WORDS,
    BadFieldError,
    check_text,
    name_infinite,
    time_of,
)
from tesserabench.collector.store.records import CaseFinished, CaseIdentity, MetricValue, SampleStatistics
from tesserabench.collector.store.words import Outcome
from tesserabench.v1 import ingest_service_pb2 as ingest_pb
from tesserabench.v1 import measurement_pb2 as pb

_LARGEST_TRIAL = 2**15 - 1
_MOST_METRICS = 64
_LONGEST_CASE = 1024
_LONGEST_REASON = 16_384
_REMEMBERED_CASES = 20_000

ARMS = ("a", "b", "null_a", "null_b")
"""Sides of an interleaved comparison; the last two are both arm A, and tell whether it differs from itself."""

_OUTCOMES = {number: Outcome(word(pb.Outcome, number)) for number in pb.Outcome.values() if number}
_MODES = {number: word(pb.TimingMode, number) for number in pb.TimingMode.values()}
_STOPS = {number: word(pb.StopReason, number) or None for number in pb.StopReason.values()}
_BETTER = {number: word(pb.Better, number) for number in pb.Better.values()}


class CaseReader:
    """Turns `CaseFinished` messages into values.

    Whether samples are finite is looked at once for a whole batch (`samples_are_clean`), because asking NumPy about
    each thirty of them costs more than all of their other handling; `strict` asks for one record.
    """

    def __init__(self) -> None:
        self._remembered: dict[bytes, CaseIdentity] = {}
        self._blocks: list[bytes] = []
        self._nanosecond_blocks: list[bytes] = []

    def begin_batch(self) -> None:
        """Forget the samples of the batch before."""
        self._blocks = []
        self._nanosecond_blocks = []

    def samples_are_clean(self) -> bool:
        """Whether every sample since `begin_batch` is finite, and every time a whole number of nanoseconds."""
        others = np.frombuffer(b"".join(self._blocks), dtype="<f8")
        times = np.frombuffer(b"".join(self._nanosecond_blocks), dtype="<f8")
        # The integer part of NaN is not equal to it, and that of an infinity passes only the second question.
        return bool(np.isfinite(others).all() and np.isfinite(times).all() and (times == np.rint(times)).all())

    @property
    def sample_bytes(self) -> int:
        """Bytes of the samples since `begin_batch`."""
        return sum(map(len, self._blocks)) + sum(map(len, self._nanosecond_blocks))

    def identity_or_none(self, case: pb.Case) -> CaseIdentity | None:
        """The case, when it can be told."""
        try:
            return self._identity(case)
        except BadFieldError:
            return None

    def read(self, record: ingest_pb.Record, time_us: int, latest_us: int, *, strict: bool) -> CaseFinished:
        """The record as a value.

        Raises:
            BadFieldError: something in it cannot be taken.
        """
        event = record.case_finished
        if event.trial > _LARGEST_TRIAL:
            raise BadFieldError("trial", event.trial, f"larger than {_LARGEST_TRIAL}")
        result = event.result
        measurements = result.measurements
        mode = _MODES.get(result.mode)
        if mode is None or (not mode and measurements):
            raise BadFieldError("result.mode", result.mode, "missing, or one that this collector does not know")
        outcome = _OUTCOMES.get(result.outcome)
        if outcome is None:
            raise BadFieldError("result.outcome", result.outcome, "missing, or one that this collector does not know")
        measured_us = time_us
        if result.HasField("end_time"):
            measured_us = time_of(result.end_time, "result.end_time", latest_us)
        # In the order of the fields.
        return CaseFinished(
            record.sequence,
            time_us,
            event.trial,
            self._identity(result.case),
            mode,
            outcome,
            check_text(result.reason, "result.reason", _LONGEST_REASON),
            _STOPS.get(result.stop_reason),
            measured_us,
            detail_json(result),
            self._values(measurements, strict=strict),
            _arm(result.arm),
        )

    def _identity(self, case: pb.Case) -> CaseIdentity:
        key = case.SerializeToString()
        identity = self._remembered.get(key)
        if identity is None:
            identity = _checked_identity(case)
            if len(self._remembered) >= _REMEMBERED_CASES:
                self._remembered.clear()
            self._remembered[key] = identity
        return identity

    def _values(self, measurements: Any, *, strict: bool) -> tuple[MetricValue, ...]:
        if len(measurements) > _MOST_METRICS:
            raise BadFieldError("result.measurements", len(measurements), f"at most {_MOST_METRICS} are taken")
        values = tuple([self._value(metric, index, strict=strict) for index, metric in enumerate(measurements)])
        if len(values) > 1 and len({value.metric for value in values}) < len(values):
            raise BadFieldError("result.measurements", [value.metric for value in values], "a metric comes twice")
        return values

    def _value(self, metric: pb.Measurement, index: int, *, strict: bool) -> MetricValue:
        name, unit = metric.metric, metric.unit
        if not (0 < len(name) <= LONGEST_NAME and 0 < len(unit) <= LONGEST_NAME) or "\x00" in name or "\x00" in unit:
            field = f"result.measurements[{index}]"
            raise BadFieldError(field, (name, unit), f"metric and unit are 1 to {LONGEST_NAME} characters without NUL")
        value = metric.value
        ci_low = metric.ci_low or (0.0 if metric.HasField("ci_low") else None)
        ci_high = metric.ci_high or (0.0 if metric.HasField("ci_high") else None)
        if not math.isfinite(value + (ci_low or 0.0) + (ci_high or 0.0)):
            name_infinite(metric, ("value", "ci_low", "ci_high"), f"result.measurements[{index}]")
        samples = columns = None
        if metric.HasField("samples"):
            samples, columns = self._samples(metric.samples, unit, index, strict=strict)
        statistics = _statistics(metric.statistics, index) if metric.statistics.count else None
        better = _BETTER.get(metric.better, "")
        return MetricValue(name, unit, better, metric.primary, value, ci_low, ci_high, statistics, samples, columns)

    def _samples(
        self, samples: pb.Samples, unit: str, index: int, *, strict: bool
    ) -> tuple[bytes | None, bytes | None]:
        values, others = split_samples(samples)
        field = f"result.measurements[{index}].samples"
        if strict:
            values = checked_samples(values, unit, field)
        if unit == "ns":
            self._nanosecond_blocks.append(values)
        else:
            self._blocks.append(values)
        return values or None, packed_columns(samples, len(values) // 8, field) if others else None


def _arm(arm: str) -> str:
    if arm and arm not in ARMS:
        raise BadFieldError("result.arm", arm, f"none of {', '.join(ARMS)}, and not empty")
    return arm


_STATISTICS = (
    *("min", "p5", "q1", "q3", "p95", "p99", "max", "mean", "stdev", "mad"),
    *("effective_count", "autocorrelation", "drift"),
)


def _statistics(message: pb.Statistics, index: int) -> SampleStatistics:
    # Spelled out: a function call for each of the optional numbers doubles the time of the whole.
    has = message.HasField
    minimum, q1, q3, maximum, mean = message.min, message.q1, message.q3, message.max, message.mean
    stdev = message.stdev or (0.0 if has("stdev") else None)
    p5 = message.p5 or (0.0 if has("p5") else None)
    p95 = message.p95 or (0.0 if has("p95") else None)
    p99 = message.p99 or (0.0 if has("p99") else None)
    mad = message.mad or (0.0 if has("mad") else None)
    effective_count = message.effective_count or (0.0 if has("effective_count") else None)
    autocorrelation = message.autocorrelation or (0.0 if has("autocorrelation") else None)
    drift = message.drift or (0.0 if has("drift") else None)
    optional_sum = (stdev or 0.0) + (p5 or 0.0) + (p95 or 0.0) + (p99 or 0.0) + (mad or 0.0)
    optional_sum += (effective_count or 0.0) + (autocorrelation or 0.0) + (drift or 0.0)
    if not math.isfinite(minimum + q1 + q3 + maximum + mean + optional_sum):
        name_infinite(message, _STATISTICS, f"result.measurements[{index}].statistics")
    spread = (mad, effective_count, autocorrelation, drift)
    return SampleStatistics(message.count, minimum, q1, q3, maximum, mean, stdev, p5, p95, p99, *spread)


def _checked_identity(case: pb.Case) -> CaseIdentity:
    if not case.id:
        raise BadFieldError("result.case.id", None, "missing")
    parameters = dict(case.parameters)
    if len(parameters) > MOST_WORDS:
        raise BadFieldError("result.case.parameters", len(parameters), f"at most {MOST_WORDS} are taken")
    for name, text in parameters.items():
        check_text(name, "result.case.parameters (a name)", LONGEST_NAME)
        check_text(text, f"result.case.parameters[{name}]", _LONGEST_CASE)
    identity = {
        "id": check_text(case.id, "result.case.id", _LONGEST_CASE),
        "suite": check_text(case.suite, "result.case.suite", LONGEST_NAME),
        "benchmark": check_text(case.benchmark, "result.case.benchmark", LONGEST_NAME),
        "parameters": parameters,
    }
    return CaseIdentity(
        case_id=case.id,
        suite=case.suite,
        benchmark=case.benchmark,
        parameters=parameters,
        static_json='{"case":' + json.dumps(identity, separators=(",", ":")),
    )
