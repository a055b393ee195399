"""Absolute limits on the command line: their own words, and the exit codes that a pipeline reads."""

import json
from pathlib import Path
from typing import Any

from support.contract_values import a_comparison, a_run, an_entry
from support.fake_services import FakeCollector
from support.tbctl import Tbctl
from tesserabench.v1.comparison_pb2 import Comparison, QualityAnswer, QualityLine


def _limited(answer: str, verdict: str, severity: str = "", **limits: float) -> Comparison:
    entry = an_entry(verdict="pass")
    entry.unit, entry.metric = "B/s", "bandwidth"
    entry.quality.append(
        QualityLine(answer=QualityAnswer.Value(f"QUALITY_ANSWER_{answer.upper()}"), weight=1, rule="promise", **limits)
    )
    comparison = a_comparison(entry, verdict=verdict, severity=severity)
    comparison.quality_score = 0.25
    comparison.policy = "projects/default/policies/3"
    return comparison


def test_a_value_beyond_a_limit_fails_the_gate_and_says_which(tbctl: Tbctl, collector: FakeCollector) -> None:
    collector.runs["runs/42"] = a_run(verdict="regressed", severity="critical")
    collector.comparisons["runs/42"] = _limited("fail", "regressed", "critical", minimum=2.6e12, value=2.41e12)
    said = tbctl("gate", "--run", "42")
    assert (said.status, said.last_line) == (
        10,
        "exit 10: gate failed: 1 value beyond an absolute limit (--fail-on minor)",
    )
    assert " bandwidth 2.410 TB/s, at least 2.600 TB/s (rule 'promise')" in said.out
    assert "  beyond a limit: " in said.out
    assert "  limits that hold: 25 % by weight" in said.out
    assert "  policy: revision 3 (tbctl policy get 3)" in said.out


def test_a_limit_that_could_not_be_checked_is_no_pass(tbctl: Tbctl, collector: FakeCollector) -> None:
    collector.compared.CopyFrom(_limited("unknown", "inconclusive", minimum=2.6e12, maximum=4e12))
    said = tbctl("compare", "main", "topic", "--exit-code", "--fail-on-inconclusive")
    assert (said.status, said.last_line) == (11, "exit 11: gate inconclusive: 1 absolute limit not checked")
    assert " bandwidth not measured, at least 2.600 TB/s and at most 4.000 TB/s (rule 'promise')" in said.out
    assert "  limit not checked: " in said.out


def test_limits_that_hold_need_no_line_each(tbctl: Tbctl, collector: FakeCollector) -> None:
    collector.compared.CopyFrom(_limited("pass", "pass", minimum=1.0, value=2.0))
    said = tbctl("compare", "main", "topic", "--exit-code")
    assert said.status == 0
    assert "limit: " not in said.out
    assert "limits that hold: 25 %" in said.out


def _file(path: Path, level: float) -> str:
    """What `tbctl bench run --out` writes of three processes."""
    trials: list[dict[str, Any]] = []
    for value in (0.999 * level, level, 1.001 * level):
        time = {"name": "time", "unit": "ns", "better": "lower", "primary": True, "value": value}
        measured = {
            "case": {"benchmark": "gemm/matmul", "params": {"m": 64}},
            "case_id": "gemm/matmul[m=64]",
            "mode": "cold",
            "outcome": "ok",
            "reason": "",
            "statistics": {"n": 30},
            "metrics": [time | {"ci_low": value * 0.999, "ci_high": value * 1.001}],
        }
        header = {
            "suite": "gemm",
            "device": {"kind": "cuda", "model": "H100", "uuid": "GPU-1"},
            "environment": {"comparability": "a", "facts": {}},
        }
        trials.append({"outcome": "ok", "header": header, "measurements": [measured]})
    path.write_text(json.dumps({"apiVersion": "tesserabench/v1", "kind": "TrialResultList", "items": trials}))
    return str(path)


def test_two_files_are_judged_by_a_policy_file(tbctl: Tbctl, home: Path) -> None:
    files = _file(home / "a.json", 100), _file(home / "b.json", 108)
    assert tbctl("compare", *files, "--exit-code").status == 10
    rules = "rules: [{name: wide, match: {benchmark: matmul, parameters: {m: '>=64'}}, minimum-effect: 15 %}]"
    (home / "policy.yaml").write_text(f"apiVersion: tesserabench/v1\nkind: Policy\n{rules}\n")
    said = tbctl("compare", *files, "--exit-code", "--policy", "policy.yaml")
    assert (said.status, "  policy: policy.yaml" in said.out) == (0, True)
    (entry,) = json.loads(tbctl("compare", *files, "--policy", "policy.yaml", "-o", "json").out)["entries"]
    assert (entry["rule"], entry["minimum_effect"]) == ("wide", 0.15)
    (home / "policy.yaml").write_text("kind: Policy")
    said = tbctl("compare", *files, "--policy", "policy.yaml")
    assert (said.status, "apiVersion: it is missing" in said.last_line) == (2, True)
    said = tbctl("compare", "41", "42", "--policy", "policy.yaml")
    assert (said.status, "--policy goes with two files" in said.last_line) == (2, True)
