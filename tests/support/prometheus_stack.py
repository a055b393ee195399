"""A real Prometheus and a real Alertmanager on free ports of loopback, with a webhook receiver behind them.

    with PrometheusStack(tmp_path, scrape_targets=[ScrapeTarget(job=COLLECTOR_JOB, address="127.0.0.1:7711")]) as stack:
        alert = stack.webhook.wait_for(lambda alert: alert.name == "TesserabenchRegressionOpen", seconds=20)

Everything is scraped and evaluated each second and sent on at once. `stop()` ends exactly what `start()` started.
"""

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml
from support.webhook import WebhookReceiver

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED_RULES = REPOSITORY / "deploy" / "prometheus" / "rules"
COLLECTOR_JOB = "tesserabench-collector"
AGENT_JOB = "tesserabench-agent"

_PROGRAMS = ("prometheus", "prometheus-alertmanager")
_REMEDY = "apt-get install -y --no-install-recommends prometheus prometheus-alertmanager"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeTarget:
    """Something that serves /metrics at `address` (host:port), known to the rules as `job`."""

    job: str
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One value of an instant query, with its labels."""

    labels: Mapping[str, str]
    value: float


def missing_programs() -> list[str]:
    """Return the programs that the stack needs and this machine lacks."""
    return [program for program in _PROGRAMS if shutil.which(program) is None]


def skip_without_prometheus() -> None:
    """Skip the calling test, naming what is missing and the remedy, where the stack cannot be started."""
    if missing := missing_programs():
        pytest.skip(f"not installed: {', '.join(missing)}; remedy: {_REMEDY}")


class PrometheusStack:
    """Prometheus, Alertmanager and a webhook receiver, all of one test.

    `rules` are rule files; None means those shipped in deploy/prometheus/rules. `external_labels` are Prometheus' own.
    Call `start()` from a thread that outlives the stack: the servers end with the thread that started them, so that
    a killed test run leaves nothing behind.
    """

    def __init__(
        self,
        directory: Path,
        *,
        scrape_targets: Sequence[ScrapeTarget],
        rules: Sequence[Path] | None = None,
        external_labels: Mapping[str, str] | None = None,
    ) -> None:
        self.webhook = WebhookReceiver()
        self._directory = directory
        self._targets = list(scrape_targets)
        self._rules = sorted(SHIPPED_RULES.glob("*.yaml")) if rules is None else list(rules)
        self._external_labels = dict(external_labels or {})
        self._running: list[subprocess.Popen[bytes]] = []
        self._prometheus_port = 0
        self._alertmanager_port = 0

    @property
    def prometheus_url(self) -> str:
        """Address of Prometheus."""
        return f"http://127.0.0.1:{self._prometheus_port}"

    @property
    def alertmanager_url(self) -> str:
        """Address of Alertmanager."""
        return f"http://127.0.0.1:{self._alertmanager_port}"

    def start(self) -> Self:
        """Start all three and return once both servers say that they are ready."""
        if missing := missing_programs():
            message = f"cannot start: {', '.join(missing)} not installed; remedy: {_REMEDY}"
            raise RuntimeError(message)
        self._directory.mkdir(parents=True, exist_ok=True)
        self.webhook.start()
        try:
            self._start_alertmanager()
            self._start_prometheus()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all three; harmless when called again."""
        while self._running:
            _end(self._running.pop())
        self.webhook.stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def query(self, expression: str) -> list[Sample]:
        """Return the result of an instant query, a vector."""
        query = urllib.parse.urlencode({"query": expression})
        result = _get_json(f"{self.prometheus_url}/api/v1/query?{query}")["data"]["result"]
        return [Sample(labels=row["metric"], value=float(row["value"][1])) for row in result]

    def active_alerts(self) -> list[Mapping[str, str]]:
        """Return the labels of the alerts that Alertmanager holds as active."""
        return [alert["labels"] for alert in _get_json(f"{self.alertmanager_url}/api/v2/alerts?active=true")]

    def _start_alertmanager(self) -> None:
        config = self._write("alertmanager.yml", _alertmanager_config(self.webhook.url))
        self._alertmanager_port = _free_port()
        self._launch(
            "prometheus-alertmanager",
            f"--config.file={config}",
            f"--storage.path={self._directory / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{self._alertmanager_port}",
            "--cluster.listen-address=",  # empty: no gossip port
            "--log.level=warn",
            ready=f"{self.alertmanager_url}/-/ready",
        )

    def _start_prometheus(self) -> None:
        config = self._write("prometheus.yml", self._prometheus_config())
        self._prometheus_port = _free_port()
        self._launch(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self._directory / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{self._prometheus_port}",
            "--storage.tsdb.retention.time=1d",
            "--web.enable-lifecycle",
            "--log.level=warn",
            ready=f"{self.prometheus_url}/-/ready",
        )

    def _prometheus_config(self) -> dict[str, Any]:
        return {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
                "external_labels": self._external_labels,
            },
            "rule_files": [str(path) for path in self._rules],
            "alerting": {
                "alert_relabel_configs": [{"action": "labeldrop", "regex": "runbook_base|collector_url"}],
                "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{self._alertmanager_port}"]}]}],
            },
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [
                        {"targets": [target.address], "labels": dict(target.labels)}
                        for target in self._targets
                        if target.job == job
                    ],
                }
                for job in sorted({target.job for target in self._targets})
            ],
        }

    def _write(self, name: str, content: Mapping[str, Any]) -> Path:
        path = self._directory / name
        path.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
        return path

    def _launch(self, program: str, *arguments: str, ready: str) -> None:
        log = self._directory / f"{program}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*ends_with_parent(), program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                message = f"{program} did not become ready (exit status {process.poll()}): {log.read_text()[-2000:]}"
                raise AssertionError(message)
            time.sleep(0.05)


def _alertmanager_config(webhook_url: str) -> dict[str, Any]:
    return {
        "route": {
            "receiver": "webhook",
            "group_by": ["..."],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [
            {"name": "webhook", "webhook_configs": [{"url": webhook_url, "send_resolved": True, "max_alerts": 0}]}
        ],
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ends_with_parent() -> list[str]:
    """Return the prefix (setpriv, from util-linux) that ends a child when its starter dies."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)
