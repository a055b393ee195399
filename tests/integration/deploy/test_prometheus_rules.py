"""The shipped rules: valid, unit tested and documented."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.prometheus_stack import REPOSITORY, SHIPPED_RULES, skip_without_prometheus

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
SEVERITIES = {"critical", "warning", "info", "none"}


def rules() -> list[dict[str, Any]]:
    files = sorted(SHIPPED_RULES.glob("*.yaml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def alert_names() -> list[str]:
    return sorted({rule["alert"] for rule in alerts()})


def alert_checks() -> Iterator[tuple[str, list[Any]]]:
    for path in sorted((PROMETHEUS / "tests").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["tests"]:
            for check in group.get("alert_rule_test", ()):
                yield check["alertname"], check["exp_alerts"]


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, timeout=60, cwd=PROMETHEUS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_accepts_the_configuration_and_the_rules(tmp_path: Path) -> None:
    skip_without_prometheus()
    # A copy with the example in place, so that the file of targets is checked too.
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    targets = tmp_path / "prometheus" / "targets"
    (targets / "agents.yaml.example").rename(targets / "agents.yaml")
    said = run("promtool", "check", "config", tmp_path / "prometheus" / "prometheus.yml")
    assert "WARNING" not in said
    assert f"{len(list(SHIPPED_RULES.glob('*.yaml')))} rule files found" in said


@pytest.mark.parametrize("path", sorted((PROMETHEUS / "tests").glob("*.yaml")), ids=lambda path: path.stem)
def test_promtool_unit_tests_pass(path: Path) -> None:
    skip_without_prometheus()
    assert "SUCCESS" in run("promtool", "test", "rules", path)


@pytest.mark.parametrize("name", alert_names())
def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not(name: str) -> None:
    expectations = [expected for alert, expected in alert_checks() if alert == name]
    assert any(expectations), f"no test expects {name} to fire"
    if name != "TesserabenchWatchdog":  # it always fires
        assert not all(expectations), f"no test expects {name} to be silent"


def test_every_severity_of_an_alert_is_seen_firing() -> None:
    shipped = {(rule["alert"], rule["labels"]["severity"]) for rule in alerts()}
    tested = {(name, alert["exp_labels"]["severity"]) for name, expectation in alert_checks() for alert in expectation}
    assert tested == shipped


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_alert_is_labelled_and_annotated_as_people_need_it(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("Tesserabench")
    assert rule["labels"]["severity"] in SEVERITIES
    annotations = rule["annotations"]
    assert {"summary", "description", "runbook_url"} <= set(annotations)
    assert "$value" not in annotations["summary"]
    assert annotations["runbook_url"] == f"{{{{ $externalLabels.runbook_base }}}}docs/runbooks/{rule['alert']}.md"


def test_regressions_wait_for_nothing_since_the_detector_confirmed_them() -> None:
    waits = [rule.get("for") for rule in alerts() if rule["alert"] == "TesserabenchRegressionOpen"]
    assert waits == [None, None, None]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("Tesserabench*.md")}
    assert pages == set(alert_names())
    index = (RUNBOOKS / "README.md").read_text()
    assert set(re.findall(r"\((Tesserabench\w+)\.md\)", index)) == pages


@pytest.mark.parametrize("name", alert_names())
def test_runbook_says_when_the_alert_ends_and_links_to_pages_that_exist(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.search(r"^## (It ends|When it has stopped)$", text, re.MULTILINE)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (RUNBOOKS / link).exists(), link


def test_recorded_series_used_by_alerts_are_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for rule in alerts() for name in re.findall(r"\w+:tesserabench_\w+:\w+", rule["expr"])}
    assert used
    assert used <= recorded
