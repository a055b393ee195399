"""Faults that end or block the process, and what importing the library costs: each in a process of its own."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tesserabench.bench.device.script import EXIT_CODE

MEASURE = """
import json, sys
from tesserabench.bench import SilentObserver, run_locally

class Printing(SilentObserver):
    def phase(self, case, phase, budget_seconds):
        print(json.dumps([case and case.benchmark, phase.value]), flush=True)

run_locally("core", include="gemm", device=sys.argv[1], observer=Printing())
print(json.dumps("done"), flush=True)
"""


def start(scenario: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", MEASURE, f"simulated:{scenario}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize(
    ("scenario", "status"), [("exit", EXIT_CODE), ("segfault", -signal.SIGSEGV)], ids=["exit", "segfault"]
)
def test_crash_ends_the_process_in_the_phase_it_was_scripted_for(scenario: str, status: int) -> None:
    process = start(scenario)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert json.loads(output.splitlines()[-1]) == ["gemm/matmul", "measure"]


@pytest.mark.parametrize("phase", ["prepare", "verify", "warmup", "measure"])
def test_hang_blocks_in_its_phase_until_the_process_is_killed(tmp_path: Path, phase: str) -> None:
    script = tmp_path / "hang.toml"
    script.write_text(f'rules = [{{fault = "hang", fault_phase = "{phase}"}}]', encoding="utf-8")
    process = start(str(script))
    # A hang that is not where it was scripted must not block the test for ever.
    deadline = threading.Timer(60, process.kill)
    deadline.start()
    try:
        assert process.stdout is not None
        assert ["gemm/matmul", phase] in (json.loads(line) for line in process.stdout)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
    finally:
        deadline.cancel()
        process.kill()
        rest, _ = process.communicate(timeout=30)
    assert rest == ""
    assert process.returncode == -signal.SIGKILL


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_listing_suites_and_planning_import_no_numerical_library() -> None:
    loaded = modules_after(
        "from tesserabench.bench import suites, plan_trial\n"
        "assert len(suites()) >= 4\n"
        "plan_trial('core', tier='full', device_kind='cuda')"
    )
    assert loaded.isdisjoint({"numpy", "cupy", "scipy", "grpc", "google.protobuf", "click", "pynvml"})


def test_measuring_on_a_cpu_imports_neither_cupy_nor_scipy() -> None:
    loaded = modules_after("from tesserabench.bench import run_locally\nrun_locally('gemm', device='simulated')")
    assert "numpy" in loaded
    assert loaded.isdisjoint({"cupy", "scipy", "grpc", "google.protobuf", "click", "pynvml"})
