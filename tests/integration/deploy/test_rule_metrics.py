"""What the rules and their unit tests say about metrics is true of the daemons that serve them."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from support.prometheus_stack import REPOSITORY, SHIPPED_RULES
from tesserabench.agent.metrics import AgentMetrics
from tesserabench.collector.core.metrics import REGISTRY, SnapshotGauge

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
PAGES = [*sorted((REPOSITORY / "docs" / "runbooks").glob("*.md")), REPOSITORY / "docs" / "guide" / "operate.md"]


def served_metrics() -> dict[str, set[str]]:
    """Label names by metric name, as Prometheus stores them, of the collector and the agent."""
    agent = AgentMetrics("host")
    agent.clock_offset(0.0)  # appears once it is known
    known: dict[str, set[str]] = {}
    for metric in [*REGISTRY._collector_to_names, *agent.registry._collector_to_names]:
        if isinstance(metric, MetricWrapperBase):
            labels = set(metric._labelnames)
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(str(metric._type), [""])
            for suffix in suffixes:
                known[metric._name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
        elif isinstance(metric, SnapshotGauge):
            known[metric._name] = set(metric._labels)
    return known


def selectors(text: str) -> Iterator[tuple[str, set[str]]]:
    """Names of ours in `text`, each with the labels that its selector names."""
    for name, labels in re.findall(r"(?<![:\w])(tesserabench_\w+)(?:\{([^}]*)\})?", text):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))


def expressions() -> list[str]:
    files = [yaml.safe_load(path.read_text()) for path in sorted(SHIPPED_RULES.glob("*.yaml"))]
    return [rule["expr"] for content in files for group in content["groups"] for rule in group["rules"]]


def series_of_the_unit_tests() -> list[str]:
    paths = sorted((PROMETHEUS / "tests").glob("*.yaml"))
    tests = [test for path in paths for test in yaml.safe_load(path.read_text())["tests"]]
    return [series["series"] for test in tests for series in test["input_series"]]


def wrong_in(texts: list[str], *, also: Collection[str] = ()) -> list[tuple[str, set[str]]]:
    """Names that no daemon serves, and labels that a metric does not have."""
    known = served_metrics() | {name: set() for name in also}
    return [
        (name, labels - known.get(name, set()))
        for text in texts
        for name, labels in selectors(text)
        if name not in known or not labels <= known[name] | {"job", "instance"}
    ]


def test_rules_and_their_tests_name_metrics_and_labels_that_the_daemons_have() -> None:
    assert wrong_in(expressions() + series_of_the_unit_tests()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_names_metrics_and_labels_that_the_daemons_have(page: Path) -> None:
    text = page.read_text().replace('__name__=~"tesserabench_.+"', "")
    quoted = re.findall(r"`([^`]*tesserabench_[^`]*)`", text)
    # People write a histogram's plain name.
    histograms = [name.removesuffix("_bucket") for name in served_metrics() if name.endswith("_bucket")]
    assert wrong_in(quoted, also=histograms) == []


def test_pages_are_found() -> None:
    assert any("tesserabench_" in page.read_text() for page in PAGES)


def test_a_misspelt_metric_or_label_would_be_seen() -> None:
    assert wrong_in(["tesserabench_database_upp == 0"]) == [("tesserabench_database_upp", set())]
    assert wrong_in(['tesserabench_agents{stat="ready"}']) == [("tesserabench_agents", {"stat"})]
