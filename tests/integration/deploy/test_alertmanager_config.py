"""The shipped Alertmanager configuration: valid, routed as the table says, readable at the other end."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.prometheus_stack import REPOSITORY, skip_without_prometheus
from support.waiting import wait_until
from support.webhook import WebhookReceiver

ALERTMANAGER = REPOSITORY / "deploy" / "alertmanager"
CONFIG = ALERTMANAGER / "alertmanager.yml"

ROUTES = [
    ("alertname=TesserabenchWatchdog severity=none", "heartbeat"),
    ("alertname=TesserabenchRegressionOpen severity=critical project=p suite=s", "chat"),
    ("alertname=TesserabenchRegressionOpen severity=warning project=p suite=s", "chat"),
    ("alertname=TesserabenchRegressionOpen severity=info project=p suite=s", "digest"),
    ("alertname=TesserabenchRegressionUntriaged severity=warning project=p", "chat"),
    (
        "alertname=TesserabenchRegressionUntriaged severity=warning project=p kind=slow_device audience=operators",
        "operators",
    ),
    ("alertname=TesserabenchDeviceSlow severity=warning audience=operators device=d", "operators"),
    ("alertname=TesserabenchFalseAlarmsMany severity=warning audience=operators", "operators"),
    ("alertname=TesserabenchSeriesStale severity=warning project=p", "operators"),
    ("alertname=TesserabenchScheduleMissed severity=warning project=p schedule=nightly", "chat"),
    ("alertname=TesserabenchCollectorDown severity=critical", "pager"),
    ("alertname=TesserabenchCollectorDown severity=warning instance=a:7711", "chat"),
    ("alertname=TesserabenchDatabaseDown severity=critical instance=a:7711", "pager"),
    ("alertname=TesserabenchDetectorStalled severity=critical", "pager"),
    ("alertname=TesserabenchAgentSpoolFull severity=critical host=gpu-1", "pager"),
    ("alertname=TesserabenchIngestErrors severity=warning", "chat"),
    ("alertname=TesserabenchAgentMissing severity=warning host=gpu-1", "chat"),
    ("alertname=TesserabenchAgentPreflightFailing severity=warning host=gpu-1", "chat"),
    ("alertname=SomebodyElses severity=critical", "pager"),
    ("alertname=SomebodyElses severity=warning", "chat"),
]


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    skip_without_prometheus()
    return subprocess.run(["amtool", *arguments], check=False, capture_output=True, text=True, timeout=60)


def test_amtool_accepts_the_configuration_and_its_templates() -> None:
    done = amtool("check-config", str(CONFIG))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 templates" in done.stdout


@pytest.mark.parametrize(("labels", "receiver"), ROUTES)
def test_alert_reaches_its_receiver(labels: str, receiver: str) -> None:
    done = amtool(
        "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}", *labels.split()
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_stands_in_the_configuration() -> None:
    text = CONFIG.read_text()
    keys = {line.split(":")[0].strip(" -#") for line in text.splitlines() if ":" in line}
    assert not keys & {"api_url", "slack_api_url", "smtp_auth_password", "credentials", "bearer_token", "password"}
    assert {"api_url_file", "credentials_file", "smtp_auth_password_file"} <= keys


class ShippedAlertmanager:
    """Alertmanager with the shipped configuration, its receivers on loopback and its waits cut to a second."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, *alerts: Mapping[str, Any]) -> None:
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts",
            data=json.dumps(alerts).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == 200

    def suppressed(self) -> list[str]:
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            held = json.load(answer)
        return sorted(alert["labels"]["alertname"] for alert in held if alert["status"]["inhibitedBy"])


def without_waits(route: dict[str, Any]) -> dict[str, Any]:
    children = [without_waits(child) for child in route.get("routes", ())]
    return {**route, "group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h", "routes": children}


def prepared_config(folder: Path, webhook: str) -> Path:
    shutil.copytree(ALERTMANAGER, folder)
    config = yaml.safe_load(CONFIG.read_text())
    config["route"] = without_waits(config["route"])
    secret = folder / "secret"
    secret.write_text(webhook)
    for receiver in config["receivers"]:
        for slack in receiver.get("slack_configs", ()):
            slack["api_url_file"] = str(secret)
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = webhook
            hook["http_config"]["authorization"]["credentials_file"] = str(secret)
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def webhook() -> Iterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.fixture
def shipped(tmp_path: Path, webhook: WebhookReceiver) -> Iterator[ShippedAlertmanager]:
    skip_without_prometheus()
    config = prepared_config(tmp_path / "alertmanager", webhook.url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus-alertmanager",
                f"--config.file={config}",
                f"--storage.path={tmp_path / 'storage'}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: _ready(f"http://{address}/-/ready"), seconds=20, what="Alertmanager")
        yield ShippedAlertmanager(f"http://{address}")
    finally:
        process.terminate()
        process.wait(10)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def regression(**labels: str) -> dict[str, Any]:
    return {
        "labels": {
            "alertname": "TesserabenchRegressionOpen",
            "severity": "critical",
            "project": "default",
            "suite": "gemm",
            "regression_id": "4f2a",
            **labels,
        },
        "annotations": {
            "summary": "gemm became worse on gpu-1",
            "description": "gemm is 12% worse.",
            "look": "tbctl regression get 4f2a",
            "acknowledge": 'tbctl regression ack 4f2a --comment "..."',
            "runbook_url": "docs/runbooks/TesserabenchRegressionOpen.md",
        },
    }


def fault(name: str, **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, **labels}, "annotations": {"summary": name, "description": "text"}}


def test_chat_message_says_what_happened_and_what_to_type(
    shipped: ShippedAlertmanager, webhook: WebhookReceiver
) -> None:
    shipped.post(regression())
    wait_until(lambda: webhook.payloads, seconds=20, what="a chat message")
    message = webhook.payloads[0]["attachments"][0]
    assert message["title"] == "1 firing: TesserabenchRegressionOpen, project default, suite gemm"
    assert message["color"] == "danger"
    assert message["text"].strip().splitlines() == [
        "gemm became worse on gpu-1. gemm is 12% worse.",
        "  look: tbctl regression get 4f2a",
        '  acknowledge: tbctl regression ack 4f2a --comment "..."',
        "  what to do: docs/runbooks/TesserabenchRegressionOpen.md",
    ]


def test_end_of_a_regression_is_told_in_chat(shipped: ShippedAlertmanager, webhook: WebhookReceiver) -> None:
    shipped.post(regression())
    wait_until(lambda: webhook.payloads, seconds=20, what="a chat message")
    ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))
    shipped.post({**regression(), "startsAt": "2020-01-01T00:00:00Z", "endsAt": ended})
    wait_until(lambda: len(webhook.payloads) > 1, seconds=20, what="a second chat message")
    message = webhook.payloads[1]["attachments"][0]
    assert message["title"].startswith("resolved: TesserabenchRegressionOpen")
    assert message["color"] == "good"


def test_dead_collector_silences_what_follows_from_it_and_nothing_else(
    shipped: ShippedAlertmanager, webhook: WebhookReceiver
) -> None:
    shipped.post(
        fault("TesserabenchCollectorDown", severity="critical"),
        fault("TesserabenchCollectorDown", severity="warning", instance="a:7711"),
        fault("TesserabenchAgentMissing", severity="warning", host="gpu-1"),
        fault("TesserabenchIngestLagHigh", severity="warning"),
        fault("TesserabenchAgentSpoolFull", severity="critical", host="gpu-1"),
    )
    paged = webhook.wait_for(lambda alert: alert.name == "TesserabenchCollectorDown", seconds=20)
    assert paged.receiver == "pager"
    suppressed = ["TesserabenchAgentMissing", "TesserabenchCollectorDown", "TesserabenchIngestLagHigh"]
    wait_until(lambda: shipped.suppressed() == suppressed, seconds=10, what=f"exactly {suppressed} being inhibited")


def test_silent_host_silences_only_its_own_spool(shipped: ShippedAlertmanager, webhook: WebhookReceiver) -> None:
    shipped.post(
        fault("TesserabenchAgentMissing", severity="warning", host="gpu-1"),
        fault("TesserabenchAgentSpoolGrowing", severity="warning", host="gpu-1"),
        fault("TesserabenchAgentSpoolGrowing", severity="warning", host="gpu-2"),
    )
    wait_until(lambda: webhook.payloads, seconds=20, what="a chat message")
    suppressed = ["TesserabenchAgentSpoolGrowing"]
    wait_until(lambda: shipped.suppressed() == suppressed, seconds=10, what=f"exactly {suppressed} being inhibited")


def test_critical_regression_speaks_for_the_milder_ones_of_its_suite(
    shipped: ShippedAlertmanager, webhook: WebhookReceiver
) -> None:
    shipped.post(
        regression(),
        regression(severity="warning", regression_id="1"),
        regression(severity="warning", regression_id="2", suite="memory"),
    )
    wait_until(lambda: len(webhook.payloads) > 1, seconds=20, what="a chat message for each suite")
    titles = sorted(payload["attachments"][0]["title"] for payload in webhook.payloads[:2])
    assert titles == [
        "1 firing: TesserabenchRegressionOpen, project default, suite gemm",
        "1 firing: TesserabenchRegressionOpen, project default, suite memory",
    ]
