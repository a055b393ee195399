"""What Prometheus reads from this agent. Labels are bounded: outcomes, checks and this host's own devices."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server
from tesserabench.agent import VERSION
from tesserabench.agent.settings import split_address
from tesserabench.agent.spool import SpoolSize
from tesserabench.v1.measurement_pb2 import Outcome

_PREFIX = "tesserabench_agent_"
GPU_STATES = ("healthy", "degraded", "unhealthy", "busy")


class AgentMetrics:
    """The metrics of one agent, in a registry of their own."""

    def __init__(self, host: str) -> None:
        self.registry = CollectorRegistry()
        self._info = self._gauge("info", "The agent; always 1.", "version", "host")
        self._info.labels(version=VERSION, host=host).set(1)
        self._connected = self._gauge("connected", "Whether the collector answered the last call.")
        self._job_running = self._gauge("job_running", "Whether an attempt is being measured.")
        self._jobs = self._counter("jobs", "Attempts that ended.", "outcome")
        for outcome in Outcome.keys()[1:]:
            self._jobs.labels(outcome=outcome.removeprefix("OUTCOME_").lower())
        self._preflight = self._counter("preflight_failures", "Checks that found the host not ready.", "check")
        self._spool_bytes = self._gauge("spool_bytes", "Bytes in the disk log that are not committed.")
        self._spool_records = self._gauge("spool_records", "Records in the disk log that are not committed.")
        self._spool_age = self._gauge("spool_oldest_age_seconds", "Age of the oldest record that is not committed.")
        self._spool_full = self._gauge("spool_full", "Whether the disk log takes no new work.")
        self._reconnects = self._counter("stream_reconnects", "Times that the connection was lost.")
        self._clock_offset: Gauge | None = None
        self._gpu_state = self._gauge("gpu_state", "State of a GPU; one state is 1.", "gpu_uuid", "state")

    def connected(self, *, yes: bool) -> None:
        """The collector answered, or did not."""
        self._connected.set(yes)

    def reconnecting(self) -> None:
        """The connection was lost."""
        self._reconnects.inc()

    def clock_offset(self, seconds: float) -> None:
        """This host's clock minus the collector's; absent until it is known."""
        if self._clock_offset is None:
            self._clock_offset = self._gauge("clock_offset_seconds", "This host's clock minus the collector's.")
        self._clock_offset.set(seconds)

    def job_running(self, *, yes: bool) -> None:
        """An attempt is being measured, or none is."""
        self._job_running.set(yes)

    def job_finished(self, outcome: str) -> None:
        """An attempt ended."""
        self._jobs.labels(outcome=outcome).inc()

    def preflight_failed(self, check: str) -> None:
        """A check found the host not ready."""
        self._preflight.labels(check=check).inc()

    def watch_spool(self, size: Callable[[], SpoolSize]) -> None:
        """Read the disk log's size from now on whenever somebody asks."""
        self._spool_bytes.set_function(lambda: size().pending_bytes)
        self._spool_records.set_function(lambda: size().pending_records)
        self._spool_age.set_function(lambda: size().oldest_age_seconds or 0.0)
        self._spool_full.set_function(lambda: float(size().full))

    def gpu_state(self, uuid: str, state: str) -> None:
        """The state of a GPU, one of `GPU_STATES`."""
        for name in GPU_STATES:
            self._gpu_state.labels(gpu_uuid=uuid, state=name).set(name == state)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(_PREFIX + name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, text, labels, registry=self.registry)


class MetricsServer:
    """Serves /metrics from a thread of its own."""

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        host, port = split_address(listen)
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
