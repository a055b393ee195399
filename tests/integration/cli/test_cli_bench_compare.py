"""`tbctl bench compare`: two arms on this machine, and how it ends."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from support.tbctl import Tbctl
from tesserabench.bench.duet import process

A, SLOWER, BROKEN, RESTLESS = 268435456, 268435457, 268435458, 268435459
SCENARIO = f"""
[[rules]]
spread = 0.01

[[rules]]
match = "memory/copy[n={SLOWER},dtype=float32]"
scale = 1.05

[[rules]]
match = "memory/copy[n={BROKEN},dtype=float32]"
fault = "wrong_result"

[[rules]]
match = "memory/copy[n={RESTLESS},dtype=float32]"
spread = 0.6
"""


@pytest.fixture
def tbctl(home: Path, capsys: pytest.CaptureFixture[str]) -> Tbctl:
    (home / "scenario.toml").write_text(SCENARIO)
    return Tbctl(capture=capsys)


def words(home: Path, n: int, *more: str) -> tuple[str, ...]:
    device = f"simulated:{home / 'scenario.toml'}"
    return ("bench", "compare", "memory/copy", "--set", f"n={A}", "--set-b", f"n={n}", "--device", device, *more)


@pytest.mark.parametrize(
    ("n", "more", "status", "says"),
    [
        (SLOWER, (), 0, ""),
        (SLOWER, ("--exit-code",), 10, "gate failed: 1 regression, the worst major"),
        (SLOWER, ("--fail-on", "critical"), 0, ""),
        (RESTLESS, ("--exit-code",), 0, ""),
        (RESTLESS, ("--fail-on-inconclusive",), 11, "gate inconclusive: 1 too_noisy"),
        (BROKEN, (), 12, "benchmarks failed: 1 incorrect"),
        (BROKEN, ("--no-fail-on-error",), 0, ""),
    ],
)
def test_it_ends_as_a_gate_does(
    tbctl: Tbctl, home: Path, n: int, more: tuple[str, ...], status: int, says: str
) -> None:
    said = tbctl(*words(home, n, "--workers", "3", "--no-null-control", *more))
    assert said.status == status, said.err
    assert says in said.err


def test_the_table_says_what_was_found_and_how_sure_it_is(tbctl: Tbctl, home: Path) -> None:
    said = tbctl(*words(home, SLOWER, "--workers", "3", "--out", str(home / "raw.json")))
    header, row, *notes, last = said.out.splitlines()
    assert header.split()[:4] == ["CASE", "AGAINST", "A", "B"]
    assert row.split()[-1] == "regressed"
    assert "+5." in row or "+4.9" in row
    assert any("null control (memory/copy" in note and "A against A" in note for note in notes)
    assert last.startswith(f"memory/copy n={A} -> memory/copy n={SLOWER}: REGRESSED in 3 workers on Simulated")
    raw = json.loads((home / "raw.json").read_text())
    assert raw["kind"] == "DuetResult"
    assert [worker["order"] for worker in raw["pairs"][0]["workers"]] == ["ab", "ba", "ba"]
    assert "worker 1 of at most 3" in said.err


def test_the_same_as_csv_and_json(tbctl: Tbctl, home: Path) -> None:
    said = tbctl(*words(home, SLOWER, "--workers", "2", "--no-null-control", "-o", "csv"))
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert float(row["median_b"]) / float(row["median_a"]) == pytest.approx(1.05, abs=0.01)
    told = json.loads(tbctl(*words(home, SLOWER, "--workers", "2", "--no-null-control", "-o", "json")).out)
    assert told["pairs"][0]["found"]["change"] == pytest.approx(0.05, abs=0.01)
    assert told["control"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("memory/coppy",), "did you mean 'memory/copy'"),
        (("memory/copy", "--set-b", "n"), "--set-b BENCH.PARAM=VALUE"),
        (("memory/copy", "--set-b", "m=1"), "has a parameter 'm'; known: dtype, n"),
        (("memory/copy", "./nothing"), "is no folder"),
        (("memory/copy", "--smallest-effect", "1"), "--smallest-effect"),
        (("memory/copy", "--workers", "1"), "--workers"),
        (("memory/copy", "--mode", "sustained"), "sustained"),
    ],
)
def test_what_cannot_be_meant_ends_with_2_and_a_remedy(tbctl: Tbctl, arguments: tuple[str, ...], says: str) -> None:
    said = tbctl("bench", "compare", *arguments, "--device", "simulated")
    assert said.status == 2
    assert says in said.err


def test_a_device_that_is_not_there_is_said(tbctl: Tbctl) -> None:
    said = tbctl("bench", "compare", "memory/copy", "--device", "cuda", "--workers", "2")
    assert said.status == 1
    assert "cuda" in said.err.lower()


def test_bundle_that_changes_while_it_is_compared_is_not_mixed(
    tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process.run_worker
    assert tbctl("bench", "new", "mine").status == 0

    def change_afterwards(*arguments: Any, **keywords: Any) -> Any:
        end = real(*arguments, **keywords)
        with (home / "mine" / "kernels" / "saxpy.cu").open("a") as source:
            source.write("// another version\n")
        return end

    monkeypatch.setattr("tesserabench.bench.duet.session.run_worker", change_afterwards)
    said = tbctl("bench", "compare", "./mine", "--device", "simulated", "--workers", "3")
    assert said.status == 12
    assert "worker 2: harness_error: bundle " in said.out
    assert "leave its files alone while it is measured" in said.out
    assert "worker 3" not in said.out
