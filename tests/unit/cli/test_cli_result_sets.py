from typing import Any

import pytest
from tesserabench.analysis.compare import compare
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.words import Reason, Verdict
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.file_comparison import compare_files
from tesserabench.report.result_sets import result_set


def trial(value: float, *, comparability: str = "a", outcome: str = "ok", threads: int = 1) -> dict[str, Any]:
    """What `tbctl bench run --out` writes of one process."""
    time = {"name": "time", "unit": "ns", "better": "lower", "primary": True, "value": value}
    fact = {"name": "flags", "unit": "1", "better": None, "primary": False, "value": 3.0}
    measured = [time | {"ci_low": value * 0.999, "ci_high": value * 1.001}, fact] if outcome == "ok" else []
    return {
        "outcome": "ok",
        "header": {
            "suite": "gemm",
            "device": {"kind": "cuda", "model": "H100", "uuid": "GPU-1"},
            "environment": {"comparability": comparability, "facts": {"cpu.threads": threads}},
        },
        "measurements": [
            {
                "case": {"benchmark": "gemm/matmul", "params": {"m": 64}},
                "case_id": "gemm/matmul[m=64]",
                "mode": "cold",
                "outcome": outcome,
                "reason": "" if outcome == "ok" else "error 3 over 1e-3",
                "statistics": {"n": 30} if measured else None,
                "metrics": measured,
            }
        ],
    }


def document(*trials: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "tesserabench/v1", "kind": "TrialResultList", "items": list(trials)}


STEPS = (0.999, 1.0, 1.001)


def test_trials_of_a_file_are_launches_on_their_device() -> None:
    found = result_set(document(*(trial(100 * step) for step in STEPS)), label="a.json")
    (series,) = found.series
    assert (series.suite, series.benchmark, series.primary, series.unit) == ("gemm", "gemm/matmul", True, "ns")
    assert series.parameters == {"m": "64"}
    assert (series.key.case_id, series.key.mode, series.key.device) == ("gemm/matmul[m=64]", "cold", "H100")
    assert [launch.value for launch in series.side.launches] == [100 * step for step in STEPS]
    assert {launch.samples for launch in series.side.launches} == {30}
    assert series.side.launches[0].log_error == pytest.approx(0.00051, rel=0.01)


def test_two_files_are_judged_by_the_gate() -> None:
    base = result_set(document(*(trial(100 * step) for step in STEPS)), label="a.json")
    slower = compare(base, result_set(document(*(trial(108 * step) for step in STEPS)), label="b.json"), Policy())
    assert (slower.verdict, slower.base, slower.head) == (Verdict.REGRESSED, "a.json", "b.json")
    other = document(*(trial(108 * step, comparability="b", threads=8) for step in STEPS))
    (entry,) = compare(base, result_set(other, label="c.json"), Policy()).entries
    assert entry.judgement.reason is Reason.ENVIRONMENT_MISMATCH
    assert "cpu.threads 1 against 8" in entry.judgement.explanation
    (entry,) = compare(
        base, result_set(trial(1.0, outcome="incorrect") | {"kind": "TrialResult"}, label="d"), Policy()
    ).entries
    assert entry.judgement.reason is Reason.CASE_FAILED
    assert "error 3 over 1e-3" in entry.judgement.explanation


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "Run"}, "kind is 'Run'"),
        ({}, "kind is None"),
        ({"kind": "TrialResult"}, "header"),
        ({"kind": "ResultList", "items": [{"run": "runs/1"}]}, "result"),
        ({"kind": "TrialResultList", "items": [3]}, "TrialResultList that lacks"),
    ],
)
def test_a_document_that_holds_something_else_is_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        result_set(wrong, label="x")


@pytest.mark.parametrize(("base", "head"), [("old.json", "42"), ("41", "new.json")])
def test_a_file_is_compared_with_a_file_only(base: str, head: str) -> None:
    with pytest.raises(UsageProblem, match="compare two files"):
        compare_files(base, head)
