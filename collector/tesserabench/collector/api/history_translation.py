"""Histories as messages."""

import math
from collections.abc import Mapping
from typing import Any

from tesserabench.collector.api.enums import number
from tesserabench.collector.api.translation import timestamp
from tesserabench.collector.core.series_detection import fraction, value_of
from tesserabench.collector.core.series_history import History
from tesserabench.collector.store.history_pages import PointRow
from tesserabench.collector.store.history_tables import ChangePoint, SeriesWatch
from tesserabench.collector.store.tables import Series
from tesserabench.v1 import history_service_pb2 as pb
from tesserabench.v1 import measurement_pb2, run_pb2
from tesserabench.wire.names import baseline_name, regression_name, run_name, series_name


def series_message(series: Series, watch: SeriesWatch, project: str) -> pb.Series:
    """A series with where it stands."""
    message = pb.Series(
        name=series_name(series.id),
        project=project,
        suite=series.suite,
        benchmark=series.benchmark,
        case_id=series.case_id,
        parameters={str(name): str(value) for name, value in series.parameters.items()},
        mode=number(measurement_pb2.TimingMode, series.mode),
        metric=series.metric,
        unit=series.unit,
        better=number(measurement_pb2.Better, series.better),
        primary=series.primary,
        device=series.device_key,
        branch=watch.line,
        points=watch.points,
        last_time=timestamp(watch.last_at),
        noise_class=number(pb.NoiseClass, watch.noise),
        state=number(pb.SeriesState, watch.state),
    )
    if watch.level is not None:
        message.level = math.exp(watch.level)
    if watch.noise_spread is not None:
        message.noise = watch.noise_spread
    return message


def history_message(history: History, *, token: str) -> pb.History:
    """A part of a history."""
    project = history.project.name
    starts = history.starts or {}
    first = history.starts is not None
    return pb.History(
        series=series_message(history.series, history.watch, project),
        points=map(_point, history.points),
        segments=[_segment(row, starts) for row in history.watch.segments] if first else (),
        changes=[_change(*found, _baseline_of(found[0], history)) for found in history.changes],
        host_offsets={host: fraction(offset) for host, offset in history.watch.host_offsets.items()} if first else {},
        references=[
            pb.Reference(
                baseline=baseline_name(project, baseline.name),
                run=run_name(frozen.run_id),
                level=math.exp(frozen.level),
            )
            for frozen, baseline in history.references
        ],
        next_page_token=token,
    )


def _point(row: PointRow) -> pb.HistoryPoint:
    point, commit = row
    message = pb.HistoryPoint(
        run=run_name(point.run_id),
        time=timestamp(point.at),
        value=point.value,
        launches=point.launches,
        hosts=point.hosts,
        commit=commit,
        comparability=point.comparability,
        flagged=point.flagged,
    )
    if point.spread is not None:
        message.launch_noise = point.spread
    return message


def _segment(row: Mapping[str, Any], starts: Mapping[int, Any]) -> pb.Segment:
    run = row["run"]
    return pb.Segment(
        first_run=run_name(run) if run is not None else "",
        start_time=timestamp(starts.get(run)),
        points=row["end"] - row["start"],
        level=value_of(row),
        noise=row["spread"],
        correlation=row["correlation"],
        noise_class=number(pb.NoiseClass, row["noise"]),
        smallest_visible_change=fraction(row["visible_change"]),
    )


def _change(row: ChangePoint, commit: str, before_commit: str, baseline: str) -> pb.ChangePoint:
    return pb.ChangePoint(
        run=run_name(row.run_id),
        before_run=_optional_run(row.before_run_id),
        time=timestamp(row.at),
        earliest_run=_optional_run(row.earliest_run_id),
        latest_run=_optional_run(row.latest_run_id),
        kind=number(pb.ChangeKind, row.kind),
        state=number(pb.ChangeState, row.state),
        change=row.change,
        worse=row.worse,
        severity=number(run_pb2.Severity, row.severity),
        strength=row.strength,
        before_level=row.before_level,
        after_level=row.after_level,
        hosts=row.hosts,
        regression=regression_name(row.regression_id) if row.regression_id is not None else "",
        baseline=baseline,
        before_commit=before_commit,
        commit=commit,
    )


def _baseline_of(change: ChangePoint, history: History) -> str:
    names = {frozen.id: baseline.name for frozen, baseline in history.references}
    if change.reference_id is None or change.reference_id not in names:
        return ""
    return baseline_name(history.project.name, names[change.reference_id])


def _optional_run(run_id: int | None) -> str:
    return run_name(run_id) if run_id is not None else ""
