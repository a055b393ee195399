"""The shipped rules in a real Prometheus: an open regression reaches the receiver, survives a restart, and ends."""

from pathlib import Path

from support.fake_exporter import FakeExporter
from support.prometheus_stack import COLLECTOR_JOB, PrometheusStack, ScrapeTarget, skip_without_prometheus
from support.waiting import wait_until
from support.webhook import ReceivedAlert

ALERT = "TesserabenchRegressionOpen"
OPEN = (
    'tesserabench_regression_ratio{project="default",suite="core",benchmark="gemm",metric="duration",'
    'device_model="gpu-1",regression_id="4f2a",severity="major"} 0.071\n'
)


def is_open(alert: ReceivedAlert) -> bool:
    return alert.name == ALERT and alert.status == "firing"


def is_ended(alert: ReceivedAlert) -> bool:
    return alert.name == ALERT and alert.status == "resolved"


def test_regression_fires_stands_while_the_collector_is_away_and_ends_when_acknowledged(tmp_path: Path) -> None:
    skip_without_prometheus()
    with FakeExporter(OPEN) as collector:
        target = ScrapeTarget(job=COLLECTOR_JOB, address=collector.address)
        labels = {"runbook_base": "https://wiki.example/"}
        with PrometheusStack(tmp_path, scrape_targets=[target], external_labels=labels) as stack:
            fired = stack.webhook.wait_for(is_open, seconds=30)
            assert fired.labels["severity"] == "warning"
            assert fired.labels["regression_id"] == "4f2a"
            assert "instance" not in fired.labels
            assert "runbook_base" not in fired.labels
            assert "7.1% worse" in fired.annotations["description"]
            assert fired.annotations["acknowledge"].startswith("tbctl regression ack 4f2a")
            assert fired.annotations["runbook_url"] == f"https://wiki.example/docs/runbooks/{ALERT}.md"

            collector.answers = False
            wait_until(lambda: stack.query("up == 0"), seconds=30, what="the scrape to fail")
            assert stack.query(f'ALERTS{{alertname="{ALERT}",alertstate="firing"}}')
            assert not any(is_ended(alert) for alert in stack.webhook.alerts)

            collector.text, collector.answers = "", True
            stack.webhook.wait_for(is_ended, seconds=30)
