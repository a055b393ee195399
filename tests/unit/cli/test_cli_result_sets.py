import math
import re
from pathlib import Path
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
        ({"kind": "TrialResultList", "items": [3]}, r"items\[0\] is 3; it must be an object"),
        ({"kind": "TrialResultList", "items": "x"}, "items is 'x'; it must be a list"),
        ({"kind": "TrialResultList"}, "items is missing"),
        ({"kind": "TrialResult", "apiVersion": "tesserabench/v9"}, "this tbctl reads tesserabench/v1"),
        ({"kind": "TrialResult", "apiVersion": 9}, "apiVersion is 9"),
    ],
)
def test_a_document_that_holds_something_else_is_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        result_set(wrong, label="x")


def _holding(*path: str | int, value: object) -> dict[str, Any]:
    """A document with another value at one place."""
    changed = document(trial(1.0), trial(2.0))
    place: Any = changed["items"][1]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


METRIC = ("measurements", 0, "metrics", 0)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ((*METRIC, "value"), "abc", r"items[1].measurements[0].metrics[0].value is 'abc'; it must be a number"),
        ((*METRIC, "value"), True, "metrics[0].value is True; it must be a number"),
        ((*METRIC, "value"), [1], "metrics[0].value is [1]; it must be a number"),
        ((*METRIC, "value"), 10**400, "it must be a number below 1.8e308"),
        ((*METRIC, "ci_low"), "x", "metrics[0].ci_low is 'x'"),
        ((*METRIC, "unit"), 5, "metrics[0].unit is 5; it must be a text"),
        ((*METRIC, "primary"), "no", "metrics[0].primary is 'no'; it must be true or false"),
        ((*METRIC, "name"), None, "metrics[0].name is missing"),
        (("measurements", 0, "case_id"), 7, "measurements[0].case_id is 7; it must be a text"),
        (("measurements", 0, "outcome"), {}, "measurements[0].outcome is {}; it must be a text"),
        (("measurements", 0, "case", "params"), [1], "case.params is [1]; it must be an object"),
        (("measurements", 0, "statistics", "n"), -3, "statistics.n is -3; it must be a whole number"),
        (("measurements", 0, "statistics", "n"), math.nan, "statistics.n is nan; it must be a whole number"),
        (("measurements",), "x" * 99, f"measurements is '{'x' * 39}...; it must be a list"),
        (("header", "device"), None, "items[1].header.device is missing"),
        (("header", "environment", "comparability"), "", "environment.comparability is missing"),
    ],
)
def test_a_field_that_is_not_as_it_must_be_is_named_with_what_it_holds(
    path: tuple[str | int, ...], value: object, said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        result_set(_holding(*path, value=value), label="x")


def test_what_is_in_a_file_twice_does_not_count_twice() -> None:
    with pytest.raises(ValueError, match=r"items\[2\] is the same as items\[0\]"):
        result_set(document(trial(1.0), trial(2.0), trial(1.0)), label="x")
    again = trial(1.0)
    again["measurements"] *= 2
    with pytest.raises(ValueError, match=r"measurements\[1\] is gemm/matmul.* again, as items\[0\].meas"):
        result_set(document(again), label="x")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x81", "is no text but holds other bytes"),
        (b'{"kind": "TrialRes', "is no JSON, or not all of it"),
        (b"", "is no JSON, or not all of it"),
        (b"[" * 100_000, "is no JSON, or not all of it"),
        (b"[1]", "holds no document"),
    ],
)
def test_a_file_that_is_no_document_is_named_with_what_writes_one(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "new.json"
    path.write_bytes(content)
    with pytest.raises(UsageProblem, match=said) as refused:
        compare_files(str(path), str(path))
    assert str(path) in str(refused.value)
    assert "tbctl bench run --out" in str(refused.value)


@pytest.mark.parametrize(("base", "head"), [("old.json", "42"), ("41", "new.json")])
def test_a_file_is_compared_with_a_file_only(base: str, head: str) -> None:
    with pytest.raises(UsageProblem, match="compare two files"):
        compare_files(base, head)
