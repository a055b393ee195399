"""Bundles, exports and explanations from the command line, without a GPU."""

import json
import os
from pathlib import Path

import click
import pytest
from support.tbctl import Tbctl
from tesserabench import bench
from tesserabench.bench.device.cuda.profile import Profile, ProfiledKernel
from tesserabench.bench.metric import OCCUPANCY_ACHIEVED
from tesserabench.cli.profiling import profiled
from tesserabench.cli.suite_names import complete_benchmarks, complete_suites, complete_words


@pytest.fixture
def tbctl(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tbctl:
    monkeypatch.chdir(home)
    return Tbctl(capture=capsys)


def test_bundle_is_begun_validated_listed_and_measured(tbctl: Tbctl, home: Path) -> None:
    begun = tbctl("bench", "new", "mine", "--template", "python")
    assert begun.status == 0, begun.err
    assert begun.out.splitlines() == ["mine/softmax.py", "mine/tesserabench.toml"]
    assert "next: tbctl bench validate ./mine" in begun.err
    valid = tbctl("bench", "validate", "./mine")
    assert valid.status == 0, valid.out
    assert "mine/softmax[rows=1024,columns=512,dtype=float32] on cpu  passed" in valid.out
    assert "mine/softmax" in tbctl("bench", "list", "./mine").out
    said = tbctl("bench", "run", "./mine", "--out", "raw.json", "-o", "wide")
    assert said.status == 0, said.err
    assert "softmax" in said.out
    assert "ceiling copy: " in said.out
    raw = json.loads((home / "raw.json").read_text())
    assert len(raw["header"]["environment"]["facts"]["bundle.digest"]) == 64


def test_bundle_says_how_it_wants_to_be_measured(tbctl: Tbctl, home: Path) -> None:
    tbctl("bench", "new", "mine")
    manifest = home / "mine" / "tesserabench.toml"
    defaults = '[defaults]\ntier = "regression"\ntarget = 0.07\nbudget_seconds = 1\n\n[[benchmark]]'
    manifest.write_text(manifest.read_text().replace("[[benchmark]]", defaults, 1))
    words = ("bench", "run", "./mine", "--device", "simulated", "-o", "json")
    by_bundle, typed = (
        json.loads(tbctl(*words).out),
        json.loads(tbctl(*words, "--tier", "smoke", "--target", "0.2").out),
    )
    assert (by_bundle["header"]["tier"], by_bundle["measurements"][0]["sampling"]["target"]) == ("regression", 0.07)
    assert (typed["header"]["tier"], typed["measurements"][0]["sampling"]["target"]) == ("smoke", 0.2)


def test_suites_and_benchmarks_are_completed(tbctl: Tbctl, home: Path) -> None:
    tbctl("bench", "new", "mine")
    context, option = click.Context(click.Command("run")), click.Option(["--x"])
    found = [item.value for item in complete_suites(context, option, "m")]
    assert "memory" in found
    assert [item.value for item in complete_suites(context, option, "")][-1] == "./mine"
    context.params["suite"] = "./mine"
    assert [item.value for item in complete_benchmarks(context, option, "")] == ["saxpy"]
    context.params["suite"] = "./nowhere"
    assert complete_benchmarks(context, option, "") == []
    assert [item.value for item in complete_words(context, option, "low")] == ["low_clock"]


def test_invalid_bundle_ends_with_12_and_says_where(tbctl: Tbctl, home: Path) -> None:
    tbctl("bench", "new", "mine")
    manifest = home / "mine" / "tesserabench.toml"
    manifest.write_text(manifest.read_text().replace('flops = "2 * n"', 'flops = "2 * m"'))
    said = tbctl("bench", "validate", "mine", "-o", "json")
    assert said.status == 12
    assert said.last_line == "exit 12: 1 of 7 checks failed; the first: mine/saxpy: cases and formulas"
    failed = [check for check in json.loads(said.out)["checks"] if check["status"] == "failed"]
    assert "benchmark[0].flops names 'm', which is unknown here; known: dtype, n, threads" in failed[0]["message"]
    people = tbctl("bench", "validate", "mine").out
    assert "tesserabench.toml:26: benchmark[0].flops names 'm'" in people
    assert tbctl("bench", "run", "./nowhere").last_line.startswith("exit 2: bundle 'nowhere' is no folder")
    assert tbctl("bench", "new", "mine").status == 2


@pytest.mark.parametrize("command", ["list ./mine", "run ./mine", "compare ./mine ./mine"])
def test_bundle_that_ends_its_process_does_not_end_tbctl(tbctl: Tbctl, home: Path, command: str) -> None:
    assert tbctl("bench", "new", "mine", "--template", "python").status == 0
    module = home / "mine" / "softmax.py"
    module.write_text("import os\nos._exit(0)\n" + module.read_text(encoding="utf-8"), encoding="utf-8")
    said = tbctl("bench", *command.split())
    assert said.status == 2
    assert "ended with status 0 while the bundle was loaded" in said.last_line


def test_options_of_timing_reach_the_engine(tbctl: Tbctl) -> None:
    words = ("--device", "simulated", "--benchmark", "memory/copy", "-o", "json")
    said = tbctl(
        "bench",
        "run",
        "memory",
        *words,
        "--target",
        "0.1",
        "--budget",
        "2s",
        "--no-ceilings",
        "--flush",
        "write",
        "--mode",
        "cold",
    )
    result = json.loads(said.out)
    assert result["header"]["ceilings"] == {"bandwidth": None, "flops": {}}
    (measured, *_) = result["measurements"]
    assert measured["sampling"]["target"] == 0.1
    assert measured["sampling"]["cache"]["kind"] == "write_sweep"
    refused = tbctl("bench", "run", "memory", "--target", "0")
    assert (refused.status, "target" in refused.err) == (2, True)


def test_several_trials_are_several_processes_and_one_table(tbctl: Tbctl, home: Path) -> None:
    words = ("--device", "simulated", "--benchmark", "^memory/triad", "--trials", "3")
    said = tbctl(
        "bench", "run", "core", *words, "--export", "google-benchmark=gb.json", "--out", "raw.json", "-o", "wide"
    )
    assert said.status == 0, said.err
    assert [line for line in said.out.splitlines() if line.startswith("trial ")][2].startswith("trial 3 ok in ")
    raw = json.loads((home / "raw.json").read_text())
    assert raw["kind"] == "TrialResultList"
    assert [item["header"]["seed"] for item in raw["items"]] == [0, 1, 2]
    rows = json.loads((home / "gb.json").read_text())["benchmarks"]
    assert [row["repetition_index"] for row in rows if row["run_type"] == "iteration"] == [0, 1, 2]


def test_what_cannot_be_measured_here_says_why(tbctl: Tbctl) -> None:
    said = tbctl("bench", "run", "memory", "--device", "simulated", "--backend", "graph", "--benchmark", "memory/copy")
    assert said.status == 0, said.err
    assert "  unsupported (1 of 1): " in said.out
    wrong = tbctl("bench", "run", "memory", "--device", "simulated:{}x", "--trials", "2")
    assert (wrong.status, "unexpected" in wrong.err) == (1, False)


def test_trial_whose_process_dies_is_told_as_such(tbctl: Tbctl) -> None:
    scenario = 'simulated:{"rules": [{"match": "memory/triad", "fault": "segfault"}]}'
    said = tbctl("bench", "run", "core", "--device", scenario, "--benchmark", "triad", "--trials", "2")
    assert said.status == 12, said.err
    assert "SIGSEGV" in said.out
    assert "not run: memory/triad" in said.out


def test_saved_result_is_exported(tbctl: Tbctl, home: Path) -> None:
    tbctl("bench", "run", "memory", "--device", "simulated", "--benchmark", "memory/copy", "--out", "raw.json")
    said = tbctl("bench", "export", "raw.json", "--format", "nvbench", "--out", "nv.json")
    assert said.status == 0, said.err
    assert said.out.startswith("wrote nv.json and ")
    assert (home / "nv.json-bin" / "0.bin").stat().st_size % 4 == 0
    assert json.loads((home / "nv.json").read_text())["benchmarks"][0]["name"] == "memory/copy"
    assert tbctl("bench", "export", "nv.json", "--format", "nvbench", "--out", "x").status == 2
    assert tbctl("bench", "export", "gone.json", "--format", "nvbench", "--out", "x").status == 1
    astray = tbctl("bench", "export", "raw.json", "--format", "nvbench", "--out", "gone/x")
    assert astray.last_line == "exit 1: --out gone/x: there is no folder 'gone'; create it first"
    assert not (home / "gone").exists()
    unknown = tbctl("bench", "run", "memory", "--export", "nvbnch=x.json")
    assert "did you mean 'nvbench'?" in unknown.last_line


def test_words_of_a_result_are_explained(tbctl: Tbctl) -> None:
    said = tbctl("bench", "explain", "drifting").out
    assert said.startswith("flag drifting: ")
    assert "stop reason drifting: " in said
    assert "did you mean 'low_clock'?" in tbctl("bench", "explain", "low-clok").err
    assert len(json.loads(tbctl("bench", "explain", "-o", "json").out)["items"]) > 50
    assert "flag low_clock" in tbctl("explain", "low_clock").out


def test_doctor_says_what_can_be_measured_here(tbctl: Tbctl) -> None:
    checks = {item["name"]: item for item in json.loads(tbctl("bench", "doctor", "-o", "json").out)["items"]}
    assert checks["device cpu"]["status"] == "ok"
    assert set(checks) == {"device cpu", "device cuda", "compiler", "nccl", "profiler"}
    assert "tesserabench[collectives]" in checks["nccl"]["remedy"] or checks["nccl"]["status"] == "ok"


def test_profile_is_refused_where_there_is_nothing_to_profile(tbctl: Tbctl) -> None:
    tbctl("bench", "new", "mine")
    refused = tbctl("bench", "run", "memory", "--profile", "reports")
    assert refused.last_line == "exit 2: --profile needs a CUDA device, not cpu; add --device cuda"
    assert (
        "installed benchmarks only" in tbctl("bench", "run", "./mine", "--device", "cuda", "--profile", "r").last_line
    )
    many = tbctl("bench", "run", "memory", "--device", "cuda", "--trials", "2", "--profile", "r")
    assert "leave --trials 2 out" in many.last_line


def test_profiled_case_gets_what_was_counted_and_another_keeps_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ncu = tmp_path / "ncu"
    ncu.write_text("#!/bin/sh\nexit 3\n")
    ncu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = bench.run_locally("memory", device="simulated", include="memory/copy")
    told: list[str] = []
    kept = profiled(bench, result, tmp_path / "reports", device="cuda", tell=told.append)
    assert kept.measurements == result.measurements
    assert "memory/copy[n=268435456,dtype=float32] was not profiled: " in told[0]
    counted = bench.MetricValue.of(OCCUPANCY_ACHIEVED, 0.5, None, None)
    profile = Profile(kernels=(ProfiledKernel(name="copy", duration_ns=10.0, occupancy=0.5),), artifact=tmp_path / "x")
    monkeypatch.setattr("tesserabench.bench.device.cuda.profile.profile_case", lambda *_, **__: profile)
    found = profiled(bench, result, tmp_path, device="cuda", tell=told.append)
    assert found.measurements[0].metrics[-1] == counted


def test_bundle_is_found_again_by_processes_of_their_own(tbctl: Tbctl) -> None:
    tbctl("bench", "new", "mine")
    said = tbctl("bench", "run", "./mine", "--device", "simulated", "--trials", "2", "-o", "json")
    assert said.status == 0, said.err
    digests = {item["header"]["environment"]["facts"]["bundle.digest"] for item in json.loads(said.out)["items"]}
    assert len(digests) == 1
    other = tbctl("bench", "run", "./mine:gone", "--device", "simulated")
    assert (other.status, "suite 'gone' is unknown" in other.last_line) == (2, True)
