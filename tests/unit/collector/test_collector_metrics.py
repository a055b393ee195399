"""The collector's metrics: names and labels are an interface."""

import pytest
from prometheus_client import Counter
from prometheus_client.exposition import generate_latest
from tesserabench.collector.core import metrics

NAMES_AND_LABELS = {
    "build_info": {"version"},
    "grpc_server_handled": {"method", "code"},
    "grpc_server_handling_seconds": {"method"},
    "http_request_duration_seconds": {"handler", "code"},
    "ingest_results": {"project", "outcome"},
    "ingest_batches": {"outcome"},
    "ingest_commit_seconds": set(),
    "ingest_delayed": set(),
    "ingest_lag_seconds": set(),
    "runs": {"project", "suite", "outcome"},
    "run_duration_seconds": {"suite"},
    "queue_depth": {"device_kind"},
    "queue_oldest_age_seconds": {"device_kind"},
    "agents": {"state"},
    "agent_last_seen_timestamp_seconds": {"host"},
    "detector_duration_seconds": set(),
    "detector_last_success_timestamp_seconds": set(),
    "detector_failures": set(),
    "regressions_open": {"project", "suite", "severity", "device_model", "state", "kind", "cause"},
    "regression_oldest_untriaged_age_seconds": {"project", "severity", "kind"},
    "device_deviation_ratio": {"device_model", "device", "test_class", "host"},
    "history_duration_seconds": set(),
    "history_runs": {"state"},
    "series_broken": set(),
    "series_stale": {"project", "suite", "device_model"},
    "slow_device_ratio": {"project", "device", "device_model", "regression_id", "severity"},
    "false_alarm_ratio": {"project", "device_model"},
    "identical_comparisons": {"project", "device_model"},
    "limit_factor": {"project", "device_model"},
    "detector_findings": {"project", "device_model", "kind", "feedback"},
    "regression_ratio": {
        "project",
        "suite",
        "benchmark",
        "metric",
        "device_model",
        "regression_id",
        "severity",
    },
    "schedule_last_success_timestamp_seconds": {"project", "schedule"},
    "schedule_interval_seconds": {"project", "schedule"},
    "db_pool_connections": {"state"},
    "metrics_dropped_series": set(),
    "database_up": set(),
}
UNBOUNDED = {"run", "run_id", "commit", "branch", "user", "actor", "error", "reason", "case", "case_id"}


def labels_by_name() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for collector in metrics.REGISTRY._collector_to_names:
        name = getattr(collector, "_name").removeprefix(metrics.PREFIX)  # noqa: B009 - private on purpose
        if isinstance(collector, metrics.SnapshotGauge):
            found[name] = set(collector._labels)
        else:
            found[name] = set(getattr(collector, "_labelnames"))  # noqa: B009 - private on purpose
    return found


def test_names_and_labels_are_the_ones_that_rules_and_dashboards_use() -> None:
    assert labels_by_name() == NAMES_AND_LABELS


def test_no_label_is_unbounded() -> None:
    for name, labels in labels_by_name().items():
        assert not labels & UNBOUNDED, name


def test_every_name_has_the_prefix_and_no_created_series_is_shown() -> None:
    metrics.GRPC_HANDLED.labels(method="RunService/GetRun", code="OK").inc()
    lines = [line for line in generate_latest(metrics.REGISTRY).decode().splitlines() if not line.startswith("#")]
    assert all(line.startswith("tesserabench_") for line in lines)
    assert not any("_created" in line for line in lines)


def test_new_label_sets_beyond_the_limit_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.LIMIT, "maximum", 3)
    counter = metrics.Labelled(Counter("things", "things", ["kind"], registry=None))
    before = metrics.DROPPED_SERIES._value.get()
    for number in range(5):
        counter.labels(kind=str(number)).inc()
    counter.labels(kind="0").inc()
    samples = {sample.labels["kind"]: sample.value for sample in next(iter(counter._metric.collect())).samples}
    assert samples == {"0": 2.0, "1": 1.0, "2": 1.0}
    assert metrics.DROPPED_SERIES._value.get() - before == 2


def test_a_snapshot_forgets_what_is_gone_and_keeps_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.LIMIT, "maximum", 2)
    metrics.QUEUE_DEPTH.replace({("cpu",): 1, ("cuda",): 2})
    metrics.QUEUE_DEPTH.replace({("cuda",): 5})
    assert _shown(metrics.QUEUE_DEPTH) == {"cuda": 5}
    metrics.QUEUE_DEPTH.replace({(name,): 1 for name in "cab"})
    assert _shown(metrics.QUEUE_DEPTH) == {"a": 1, "b": 1}
    metrics.QUEUE_DEPTH.replace({})
    assert _shown(metrics.QUEUE_DEPTH) == {}


def _shown(gauge: metrics.SnapshotGauge) -> dict[str, float]:
    return {sample.labels["device_kind"]: sample.value for family in gauge.collect() for sample in family.samples}
