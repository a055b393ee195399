"""Measuring on this machine without a collector."""

import builtins
import csv
import io
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.tbctl import Tbctl
from tesserabench.bench.duet import process

TINY = ("--set", "matmul.m=16", "--set", "matmul.n=16", "--set", "matmul.k=16")


@pytest.fixture
def tbctl(home: Path, capsys: pytest.CaptureFixture[str]) -> Tbctl:
    return Tbctl(capture=capsys)


def test_installed_benchmarks_are_listed_with_their_parameters(tbctl: Tbctl) -> None:
    said = tbctl("bench", "list", "-o", "json")
    found = {(item["suite"], item["benchmark"]): item for item in json.loads(said.out)["items"]}
    assert "cpu" in found["gemm", "gemm/matmul"]["devices"]
    assert "float32" in found["gemm", "gemm/matmul"]["parameters"]["dtype"]
    assert "gemm/matmul" in tbctl("bench", "list").out


def test_suite_is_measured_on_the_cpu(tbctl: Tbctl, home: Path) -> None:
    said = tbctl(
        "bench", "run", "gemm", "--benchmark", "matmul", "--device", "cpu", *TINY, "--out", str(home / "raw.json")
    )
    assert said.status == 0, said.err
    header, row, *flags, last = said.out.splitlines()
    assert header.split()[:2] == ["BENCHMARK", "MEDIAN"]
    assert row.startswith("matmul m=16,n=16,k=16,float32 ")
    # Which of the two ceilings limits so small a product depends on the machine.
    assert " GFLOP/s " in row or " GB/s " in row or " MB/s " in row
    assert row.endswith("ok")
    assert all(line.startswith("  flag ") and "tbctl bench explain " in line for line in flags)
    assert last.startswith("trial ok in ")
    raw = json.loads((home / "raw.json").read_text())
    assert raw["kind"] == "TrialResult"
    assert len(raw["measurements"][0]["samples"]) >= 10


def test_simulated_device_gives_the_same_table_as_csv(tbctl: Tbctl) -> None:
    said = tbctl("bench", "run", "core", "--device", "simulated", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert said.status == 0
    assert {row["outcome"] for row in rows} == {"ok"}
    limits = {row["benchmark"]: (row["ceiling"], row["rate_unit"]) for row in rows}
    assert limits["memory/triad"] == ("bandwidth", "B/s")
    assert limits["gemm/matmul"][1] == "FLOP/s"
    assert all(float(row["ci_low"]) <= float(row["median"]) <= float(row["ci_high"]) for row in rows)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("gem",), 2, "gemm"),
        (("gemm", "--set", "matmul.q=1"), 2, "q"),
        (("gemm", "--benchmark", "nothing-like-this"), 2, "nothing-like-this"),
        (("gemm", "--drill", "nothing=2"), 2, "nothing"),
        (("gemm", "--device", "abacus"), 2, "abacus"),
    ],
)
def test_request_that_cannot_be_met_is_one_clear_error(
    words: tuple[str, ...], status: int, says: str, tbctl: Tbctl
) -> None:
    said = tbctl("bench", "run", *words)
    assert said.status == status
    assert says in said.last_line
    assert "unexpected" not in said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--out", "gone/raw.json"), "--out gone/raw.json: there is no folder 'gone'; create it first"),
        (("--export", "nvbench=gone/nv.json"), "--export nvbench gone/nv.json: there is no folder 'gone'"),
        (("--export", "google-benchmark=."), "--export google-benchmark .: is a folder"),
    ],
)
def test_place_that_cannot_be_written_is_told_before_anything_is_measured(
    words: tuple[str, ...], says: str, tbctl: Tbctl
) -> None:
    said = tbctl("bench", "run", "core", "--device", "simulated", *words)
    assert (said.status, said.out) == (1, "")
    assert says in said.last_line
    assert "Simulated" not in said.err


def test_full_disk_takes_away_the_file_and_not_the_table(tbctl: Tbctl) -> None:
    said = tbctl("bench", "run", "core", "--device", "simulated", "--benchmark", "copy", "--out", "/dev/full")
    assert said.status == 1
    assert said.out.splitlines()[1].endswith("ok")
    assert "No space left on device" in said.last_line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_trials_give_what_was_measured(
    number: signal.Signals, tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, trials = process.run_worker, iter(range(2))

    def run_one_trial_and_half(order: Any, take: Callable[[Any], None]) -> Any:
        if next(trials) == 0:
            return real(order, take)

        def take_until_measured(message: Any) -> None:
            take(message)
            if message["kind"] == "measurement":
                signal.raise_signal(number)

        return real(order, take_until_measured)

    monkeypatch.setattr(process, "run_worker", run_one_trial_and_half)
    kept = home / "raw.json"
    said = tbctl("bench", "run", "core", "--device", "simulated", "--trials", "9", "--out", str(kept))
    assert (said.status, said.last_line) == (130, "exit 130: interrupted")
    first, second = json.loads(kept.read_text())["items"]
    assert (first["outcome"], len(first["measurements"])) == ("ok", 5)
    assert (second["outcome"], len(second["measurements"]), len(second["not_run"])) == ("interrupted", 1, 4)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_bundle_that_changes_between_two_trials_is_not_mixed(
    tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process.run_worker
    assert tbctl("bench", "new", "mine").status == 0

    def change_afterwards(order: Any, take: Callable[[Any], None]) -> Any:
        end = real(order, take)
        with (home / "mine" / "kernels" / "saxpy.cu").open("a") as source:
            source.write("// another version\n")
        return end

    monkeypatch.setattr(process, "run_worker", change_afterwards)
    said = tbctl("bench", "run", "./mine", "--device", "simulated", "--trials", "2", "-o", "json")
    assert said.status == 12, said.err
    first, second = json.loads(said.out)["items"]
    assert first["outcome"] == "ok"
    assert (second["outcome"], second["measurements"]) == ("harness_error", [])
    assert "leave its files alone while it is measured" in second["reason"]


def test_interrupted_trial_keeps_what_was_measured(tbctl: Tbctl, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Any, done: int, total: int) -> None:
        if 0 < done < total:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("tesserabench.cli.commands.bench_run._Progress.progress", interrupted)
    kept = home / "raw.json"
    said = tbctl("bench", "run", "core", "--device", "simulated", "--out", str(kept))
    assert (said.status, said.last_line) == (130, "exit 130: interrupted")
    found = json.loads(kept.read_text())
    assert (found["outcome"], len(found["measurements"]), len(found["not_run"])) == ("interrupted", 1, 4)


@pytest.mark.parametrize("fault", ["segfault", "exit"])
def test_crash_of_what_is_measured_is_an_outcome_and_takes_no_other_result_with_it(
    tbctl: Tbctl, home: Path, fault: str
) -> None:
    (home / "crash.toml").write_text(f'rules = [{{match = "memory/triad", fault = "{fault}"}}]', encoding="utf-8")
    said = tbctl("bench", "run", "core", "--device", "simulated:crash.toml", "-o", "json")
    assert said.status == 12, said.err
    found = json.loads(said.out)
    assert found["outcome"] != "ok"
    assert found["reason"]
    measured = {item["case_id"] for item in found["measurements"]}
    assert not any("triad" in case for case in measured)
    assert len(measured) + len(found["not_run"]) == 5


def test_missing_numpy_is_answered_with_what_to_install(tbctl: Tbctl, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_numpy(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "numpy":
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_numpy)
    said = tbctl("bench", "run", "gemm")
    assert said.status == 1
    assert said.last_line == "exit 1: measuring here needs numpy; install it with: pip install 'tesserabench[agent]'"
