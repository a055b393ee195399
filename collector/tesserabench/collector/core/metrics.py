"""Every Prometheus metric of the collector, on a registry of its own.

Labels are bounded by what people name (projects, suites, hosts, schedules) and by open regressions; never a commit, a
run or a text. Beyond `LIMIT.maximum` label sets of one metric, new ones are dropped and counted.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

# A `_created` series beside each counter doubles what is scraped, and nobody reads it.
disable_created_metrics()  # type: ignore[no-untyped-call] # the library leaves it untyped

PREFIX = "tesserabench_"
REGISTRY = CollectorRegistry()

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0)
_LAG_SECONDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)


class SeriesLimit:
    """The largest number of label sets that one metric may have."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum


LIMIT = SeriesLimit(5000)
"""Set from the settings when the collector starts."""

DROPPED_SERIES = Counter(
    f"{PREFIX}metrics_dropped_series_total",
    "Label sets that were left out because a metric had too many.",
    registry=REGISTRY,
)

_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


class Labelled(Generic[_Metric]):
    """A metric with labels that gives up new label sets beyond the limit."""

    def __init__(self, metric: _Metric) -> None:
        self._metric = metric
        self._overflow: _Metric | None = None
        self._seen: set[tuple[str, ...]] = set()

    def labels(self, **values: str) -> _Metric:
        """The child for these label values, or one that nobody reads when there are too many."""
        key = tuple(values[name] for name in self._metric._labelnames)  # noqa: SLF001 - the library has no accessor
        if key not in self._seen:
            if len(self._seen) >= LIMIT.maximum:
                DROPPED_SERIES.inc()
                return self._nobody_reads()
            self._seen.add(key)
        return self._metric.labels(*key)

    def _nobody_reads(self) -> _Metric:
        if self._overflow is None:
            self._overflow = type(self._metric)("overflow", "overflow", registry=None)
        return self._overflow


class SnapshotGauge(Collector):
    """A gauge whose whole set of labelled values is replaced at once, so that what is gone disappears."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...] = ()) -> None:
        self._name = PREFIX + name
        self._documentation = documentation
        self._labels = labels
        self._values: Mapping[tuple[str, ...], float] = {}
        REGISTRY.register(self)

    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Show exactly these values from now on; keys follow the order of the labels."""
        excess = len(values) - LIMIT.maximum
        if excess > 0:
            DROPPED_SERIES.inc(excess)
            values = {key: values[key] for key in sorted(values)[: LIMIT.maximum]}
        self._values = dict(values)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The family without values, so that registering it collects nothing."""
        return [GaugeMetricFamily(self._name, self._documentation, labels=self._labels)]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The family with the values of the last `replace`."""
        family = GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
        for key, value in self._values.items():
            family.add_metric(key, value)
        yield family


def _counter(name: str, documentation: str, *labels: str) -> Labelled[Counter]:
    return Labelled(Counter(PREFIX + name, documentation, labels, registry=REGISTRY))


def _histogram(
    name: str, documentation: str, *labels: str, buckets: tuple[float, ...] = _SECONDS
) -> Labelled[Histogram]:
    return Labelled(Histogram(PREFIX + name, documentation, labels, registry=REGISTRY, buckets=buckets))


BUILD_INFO = Gauge(f"{PREFIX}build_info", "1, labelled with the version.", ["version"], registry=REGISTRY)

GRPC_HANDLED = _counter("grpc_server_handled_total", "Calls by method and status code.", "method", "code")
GRPC_SECONDS = _histogram(
    "grpc_server_handling_seconds", "Time that a call took; streams and long polls apart.", "method"
)
HTTP_SECONDS = _histogram("http_request_duration_seconds", "Time that an HTTP request took.", "handler", "code")

INGEST_RESULTS = _counter("ingest_results_total", "Case results committed.", "project", "outcome")
INGEST_BATCHES = _counter("ingest_batches_total", "Batches by what became of them.", "outcome")
INGEST_COMMIT_SECONDS = Histogram(
    f"{PREFIX}ingest_commit_seconds", "Time of one group commit.", registry=REGISTRY, buckets=_SECONDS
)
INGEST_DELAYED = Gauge(
    f"{PREFIX}ingest_delayed", "1 while results wait because PostgreSQL does not take them, else 0.", registry=REGISTRY
)
INGEST_LAG_SECONDS = Histogram(
    f"{PREFIX}ingest_lag_seconds",
    "Time from a record's writing on its host to its commit.",
    registry=REGISTRY,
    buckets=_LAG_SECONDS,
)

RUNS = _counter("runs_total", "Runs finished.", "project", "suite", "outcome")
RUN_SECONDS = _histogram("run_duration_seconds", "Time from request to end of a run.", "suite", buckets=_LONG_SECONDS)
QUEUE_DEPTH = SnapshotGauge("queue_depth", "Attempts that wait for a host.", ("device_kind",))
QUEUE_OLDEST_AGE_SECONDS = SnapshotGauge(
    "queue_oldest_age_seconds", "Age of the attempt that has waited longest.", ("device_kind",)
)
AGENTS = SnapshotGauge("agents", "Hosts by state.", ("state",))
AGENT_LAST_SEEN = SnapshotGauge("agent_last_seen_timestamp_seconds", "When a host was last heard of.", ("host",))
DEVICE_DEVIATION = SnapshotGauge(
    "device_deviation_ratio",
    "How much slower than others of its model a device is: 0.1 is 10 %; only on the replica that compares.",
    ("host", "device", "device_model", "test_class"),
)

DETECTOR_SECONDS = Histogram(
    f"{PREFIX}detector_duration_seconds", "Time of judging one run.", registry=REGISTRY, buckets=_SECONDS
)
DETECTOR_LAST_SUCCESS = Gauge(
    f"{PREFIX}detector_last_success_timestamp_seconds",
    "When the detector last looked for work without an error.",
    registry=REGISTRY,
)
DETECTOR_FAILURES = Counter(
    f"{PREFIX}detector_failures_total", "Judgements that failed with an error of ours.", registry=REGISTRY
)

HISTORY_SECONDS = Histogram(
    f"{PREFIX}history_duration_seconds",
    "Time of taking a batch of ended runs into the histories.",
    registry=REGISTRY,
    buckets=_SECONDS,
)
HISTORY_RUNS = SnapshotGauge(
    "history_runs", "Ended runs that are not in the histories yet: they wait, or failed to be taken in.", ("state",)
)
SERIES_BROKEN = SnapshotGauge(
    "series_broken", "Series that could not be analysed when they got their last points; they are tried again.", ()
)
SERIES_STALE = SnapshotGauge(
    "series_stale", "Series that give no results any more.", ("project", "suite", "device_model")
)

REGRESSIONS_OPEN = SnapshotGauge(
    "regressions_open",
    "Open findings by kind (regression, slow_device, missing_data) and cause, which is empty until it is looked for.",
    ("project", "suite", "severity", "device_model", "state", "kind", "cause"),
)
REGRESSION_OLDEST_UNTRIAGED_AGE_SECONDS = SnapshotGauge(
    "regression_oldest_untriaged_age_seconds",
    "Age of the confirmed finding that nobody has answered for longest.",
    ("project", "severity", "kind"),
)
REGRESSION_RATIO = SnapshotGauge(
    "regression_ratio",
    "How much worse than its baseline a confirmed, unacknowledged regression is: 0.1 is 10 %.",
    ("project", "suite", "benchmark", "metric", "device_model", "regression_id", "severity"),
)
SLOW_DEVICE_RATIO = SnapshotGauge(
    "slow_device_ratio",
    "How much slower than its siblings a device is whose finding is confirmed and unanswered: 0.1 is 10 %.",
    ("project", "device", "device_model", "regression_id", "severity"),
)
FALSE_ALARM_RATIO = SnapshotGauge(
    "false_alarm_ratio",
    "Share of identical code that the gate called different in the last 90 days: 0.01 is 1 %.",
    ("project", "device_model"),
)
IDENTICAL_COMPARISONS = SnapshotGauge(
    "identical_comparisons",
    "Results that were compared with another measurement of the same code in the last 90 days.",
    ("project", "device_model"),
)
LIMIT_FACTOR = SnapshotGauge(
    "limit_factor",
    "What the smallest change that matters is multiplied by, because identical code differs too often.",
    ("project", "device_model"),
)
DETECTOR_FINDINGS = SnapshotGauge(
    "detector_findings",
    "Confirmed findings of the last 90 days by what people say of the detector: right, wrong, or nothing yet.",
    ("project", "device_model", "kind", "feedback"),
)
SCHEDULE_LAST_SUCCESS = SnapshotGauge(
    "schedule_last_success_timestamp_seconds", "When a run of a schedule last ended well.", ("project", "schedule")
)
SCHEDULE_INTERVAL_SECONDS = SnapshotGauge(
    "schedule_interval_seconds", "Time between two runs of a schedule that is not paused.", ("project", "schedule")
)

DB_POOL_CONNECTIONS = SnapshotGauge("db_pool_connections", "Connections to PostgreSQL by state.", ("state",))
DATABASE_UP = Gauge(f"{PREFIX}database_up", "1 while PostgreSQL answers, else 0.", registry=REGISTRY)
