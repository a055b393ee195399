"""Results, regressions and baselines as messages."""

from collections.abc import Sequence

from tesserabench.collector.api.enums import number
from tesserabench.collector.api.translation import from_json, revision_message, timestamp
from tesserabench.collector.store.results import ResultRow
from tesserabench.collector.store.samples import decode_columns, decode_samples
from tesserabench.collector.store.tables import Baseline, Measurement, Run, Series
from tesserabench.v1 import (
    baseline_service_pb2,
    ingest_service_pb2,
    measurement_pb2,
    result_service_pb2,
    run_pb2,
)
from tesserabench.wire.names import baseline_name, run_name

_OPTIONAL_STATISTICS = (
    "effective_count",
    "p5",
    "p95",
    "p99",
    "stdev",
    "mad",
    "ci_low",
    "ci_high",
    "autocorrelation",
    "drift",
)


def result_message(
    row: ResultRow, measurements: Sequence[tuple[Measurement, Series]], *, with_samples: bool
) -> result_service_pb2.Result:
    """What one case gave in one trial on one host."""
    result, host, device, comparability, context, telemetry = row
    told = device or {}
    case_result = from_json(result.detail, measurement_pb2.CaseResult())
    more = {item.metric: item.statistics for item in case_result.measurements}
    case_result.ClearField("measurements")
    case_result.mode = number(measurement_pb2.TimingMode, result.mode)
    case_result.outcome = number(measurement_pb2.Outcome, result.outcome)
    case_result.stop_reason = number(measurement_pb2.StopReason, result.stop_reason)
    case_result.reason = result.reason
    case_result.end_time.FromDatetime(result.measured_at)
    case_result.measurements.extend(
        _measurement(measurement, series, with_samples=with_samples) for measurement, series in measurements
    )
    for item in case_result.measurements:
        if item.metric in more:
            item.statistics.MergeFrom(more[item.metric])
    return result_service_pb2.Result(
        run=run_name(result.run_id),
        host=host or "",
        device_uuid=told.get("uuid", ""),
        device_model=told.get("model", ""),
        trial=result.trial,
        epoch=result.epoch,
        late=result.late,
        result=case_result,
        comparability=comparability or "",
        trial_started=from_json(context, ingest_service_pb2.TrialStarted()) if context else None,
        trial_finished=from_json(telemetry, ingest_service_pb2.TrialFinished()) if telemetry else None,
    )


def _measurement(row: Measurement, series: Series, *, with_samples: bool) -> measurement_pb2.Measurement:
    return measurement_pb2.Measurement(
        metric=series.metric,
        unit=series.unit,
        better=number(measurement_pb2.Better, series.better),
        primary=series.primary,
        value=row.value,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
        statistics=_statistics(row),
        samples=_samples(row) if with_samples else None,
    )


def _statistics(row: Measurement) -> measurement_pb2.Statistics | None:
    if not row.count or row.minimum is None or row.q1 is None or row.q3 is None:
        return None
    assert row.maximum is not None
    assert row.mean is not None
    message = measurement_pb2.Statistics(
        count=row.count, min=row.minimum, q1=row.q1, median=row.value, q3=row.q3, max=row.maximum, mean=row.mean
    )
    for name in _OPTIONAL_STATISTICS:
        value = getattr(row, name)
        if value is not None:
            setattr(message, name, value)
    return message


def _samples(row: Measurement) -> measurement_pb2.Samples | None:
    values = decode_samples(row.codec, row.samples)
    if values is None:
        return None
    message = measurement_pb2.Samples(values=values.tolist())
    for name, column in decode_columns(row.columns, len(values)).items():
        getattr(message, name).extend(column.tolist())
    return message


def baseline_message(row: Baseline, run: Run, project: str) -> baseline_service_pb2.Baseline:
    """A baseline with the run that it points to."""
    return baseline_service_pb2.Baseline(
        name=baseline_name(project, row.name),
        suite=row.suite,
        run=run_name(row.run_id),
        revision=revision_message(run),
        pinned=row.pinned,
        automatic=row.automatic,
        comment=row.comment,
        update_time=timestamp(row.updated_at),
        updated_by=run_pb2.Actor(name=row.updated_by),
    )
