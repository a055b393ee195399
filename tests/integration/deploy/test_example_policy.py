"""The example policy is one that people can start from: good, without warnings, and about suites that there are."""

import pytest
from support.prometheus_stack import REPOSITORY
from support.tbctl import Tbctl
from tesserabench.analysis.rules import RuleSet, Subject
from tesserabench.bench import INSTALLED

EXAMPLE = REPOSITORY / "deploy" / "config" / "policy.yaml"


def test_tbctl_finds_nothing_to_say_against_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = Tbctl(capture=capsys)("policy", "validate", "--strict", str(EXAMPLE))
    assert (said.status, said.err) == (0, "")
    assert said.out.endswith("good, 9 rules\n")


def test_its_rules_are_about_benchmarks_that_are_installed() -> None:
    rules = RuleSet.parse(EXAMPLE.read_text(), source=EXAMPLE.name)
    suites = {suite.name for suite in INSTALLED.suites()}
    names = {benchmark.name for suite in INSTALLED.suites() for benchmark in suite.benchmarks}
    for clause in rules.clauses:
        texts = clause.match.texts
        assert set(texts["suite"].texts() if "suite" in texts else ()) <= suites
        assert set(texts["benchmark"].texts() if "benchmark" in texts else ()) <= names


def test_it_says_of_a_large_product_what_the_guide_says() -> None:
    rules = RuleSet.parse(EXAMPLE.read_text())
    product = {"suite": "gemm", "benchmark": "matmul", "device": "NVIDIA H100", "metric": "time"}
    sizes = {"m": "8192", "n": "8192"}
    quiet = rules.for_subject(Subject(**product, parameters=sizes, hosts=("lab-01",)))  # type: ignore[arg-type]
    restless = rules.for_subject(Subject(**product, parameters=sizes, hosts=("ci-07",)))  # type: ignore[arg-type]
    assert (quiet.minimum_effect, quiet.owner) == (0.01, "@gemm")
    assert (restless.minimum_effect, restless.owner, restless.name) == (0.05, "@gemm", "shared hosts")
