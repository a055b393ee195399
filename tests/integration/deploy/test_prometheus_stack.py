"""The test double of the alarm chain is itself real: a gauge becomes a notification and ends as one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.fake_exporter import FakeExporter
from support.prometheus_stack import PrometheusStack, ScrapeTarget, skip_without_prometheus
from support.waiting import wait_until

RULE = {
    "groups": [
        {
            "name": "probe",
            "rules": [
                {"alert": "ProbeHigh", "expr": "probe_level > 1", "annotations": {"summary": "level {{ $value }}"}}
            ],
        }
    ]
}


@pytest.fixture
def stack_and_exporter(tmp_path: Path) -> Iterator[tuple[PrometheusStack, FakeExporter]]:
    skip_without_prometheus()
    rules = tmp_path / "probe.yaml"
    rules.write_text(yaml.safe_dump(RULE))
    with FakeExporter("probe_level 0\n") as exporter:
        target = ScrapeTarget(job="probe", address=exporter.address, labels={"site": "here"})
        with PrometheusStack(tmp_path / "stack", scrape_targets=[target], rules=[rules]) as stack:
            yield stack, exporter


def test_gauge_becomes_a_notification_and_its_fall_resolves_it(
    stack_and_exporter: tuple[PrometheusStack, FakeExporter],
) -> None:
    stack, exporter = stack_and_exporter
    wait_until(lambda: stack.query("probe_level == 0"), seconds=20, what="the first scrape")
    exporter.text = "probe_level 7\n"
    fired = stack.webhook.wait_for(lambda alert: alert.status == "firing", seconds=20)
    assert (fired.name, fired.labels["site"], fired.annotations["summary"]) == ("ProbeHigh", "here", "level 7")
    assert [labels["alertname"] for labels in stack.active_alerts()] == ["ProbeHigh"]
    exporter.text = "probe_level 0\n"
    resolved = stack.webhook.wait_for(lambda alert: alert.status == "resolved", seconds=20)
    assert resolved.received_at > fired.received_at


def test_waiting_in_vain_tells_what_was_received(stack_and_exporter: tuple[PrometheusStack, FakeExporter]) -> None:
    stack, exporter = stack_and_exporter
    exporter.text = "probe_level 7\n"
    stack.webhook.wait_for(lambda alert: alert.name == "ProbeHigh", seconds=20)
    with pytest.raises(AssertionError, match="ProbeHigh"):
        stack.webhook.wait_for(lambda alert: alert.name == "Other", seconds=0.1)


def test_stop_ends_the_servers_and_may_be_called_again(
    stack_and_exporter: tuple[PrometheusStack, FakeExporter],
) -> None:
    stack, _ = stack_and_exporter
    stack.stop()
    stack.stop()
    with pytest.raises(OSError, match="refused"):
        stack.query("up")
