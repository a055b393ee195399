"""The whole product with real processes: tbctl, collector, PostgreSQL, agent, Prometheus, Alertmanager, a webhook."""

import json
from pathlib import Path

import pytest
from support.fleet import Fleet
from support.prometheus_stack import COLLECTOR_JOB, PrometheusStack, ScrapeTarget, skip_without_prometheus
from support.waiting import wait_until

pytestmark = pytest.mark.system

ALERT = "TesserabenchRegressionOpen"
TRIGGER = ("run", "trigger", "--suite", "core", "--tier", "smoke", "--repeat", "5", "--device", "simulated", "--wait")
SETTINGS = {"TESSERABENCH_COLLECTOR_METRICS_REFRESH_SECONDS": "0.5"}


def test_a_planted_slow_down_is_confirmed_reaches_the_webhook_and_ends_with_an_acknowledgement(tmp_path: Path) -> None:
    skip_without_prometheus()
    with Fleet(tmp_path, collector_settings=SETTINGS) as fleet:
        fleet.start_collector()
        fleet.start_agent("alpha")
        fleet.wait_for_hosts("alpha")
        target = ScrapeTarget(job=COLLECTOR_JOB, address=fleet.addresses.web)
        with PrometheusStack(tmp_path / "prometheus", scrape_targets=[target]) as stack:
            baseline = fleet.tbctl(*TRIGGER, "--branch", "main", "--commit", "aaaaaaa1")
            assert baseline.returncode == 0, baseline.stdout + baseline.stderr

            slowed = fleet.tbctl(
                *TRIGGER,
                "--branch",
                "main",
                "--commit",
                "bbbbbbb2",
                "--drill",
                "memory/triad=1.10",
                "--fail-on",
                "minor",
            )
            assert slowed.returncode == 10, slowed.stdout + slowed.stderr
            assert "exit 10" in slowed.stderr

            regressions = fleet.tbctl_json("regression", "list")["items"]
            assert {item["evidence"]["case"]["benchmark"] for item in regressions} == {"triad"}
            assert {item["state"] for item in regressions} == {"confirmed"}
            regression = fleet.tbctl_json("regression", "get", regressions[0]["name"])
            states = [event["state"] for event in regression["events"]]
            assert states == ["suspected", "confirmed"]
            confirming = fleet.tbctl_json("run", "get", regression["events"][-1]["run"])
            assert confirming["trigger"] == "confirmation"

            fired = stack.webhook.wait_for(lambda alert: alert.name == ALERT and alert.status == "firing", seconds=30)
            assert fired.labels["benchmark"] == "triad"
            assert "tbctl regression ack" in json.dumps(dict(fired.annotations))

            for item in regressions:
                done = fleet.tbctl("regression", "ack", item["name"], "--comment", "known: it was a drill")
                assert done.returncode == 0, done.stderr
            stack.webhook.wait_for(lambda alert: alert.name == ALERT and alert.status == "resolved", seconds=30)
            wait_until(
                lambda: all(labels["alertname"] != ALERT for labels in stack.active_alerts()),
                seconds=30,
                what="no open regression in Alertmanager",
            )
