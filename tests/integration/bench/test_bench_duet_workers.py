"""Comparisons in real worker processes, without any daemon."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until
from tesserabench.bench import (
    BundleError,
    CaseFailure,
    DeviceUnavailable,
    InvalidPlan,
    MeasureOptions,
    NothingSelected,
    Outcome,
    TrialResult,
    device_kind,
    plan_trial,
)
from tesserabench.bench.duet import Arm, Limits, WorkerEnd, WorkerOrder, compare_locally, plan_duet, run_worker
from tesserabench.bench.worker.frames import FrameDecoder, WorkerProtocolError, encode_frame

COPY = Arm(spec="memory/copy", overrides={"n": "268435456"})
OTHER = Arm(spec="memory/copy", overrides={"n": "268435457"})
B_ID = "memory/copy[n=268435457,dtype=float32]"
OPTIONS = replace(MeasureOptions.for_tier("smoke"), probe_ceilings=False)
QUICK = Limits(startup=60, between=20, shutdown=5, grace=0.2)


def scenario(*rules: Mapping[str, Any], **fields: Any) -> str:
    return "simulated:" + json.dumps({"rules": [{"spread": 0.01}, *rules], "process_spread": 0.01, **fields})


def order_of(device: str, **options: Any) -> WorkerOrder:
    """One arm A/B plan as a worker takes it."""
    plan = plan_duet(COPY, OTHER, device_kind=device_kind(device), options=replace(OPTIONS, **options)).plan
    return WorkerOrder(order={"duet": plan.to_dict(), "device": device}, limits=QUICK)


def run(order: WorkerOrder) -> tuple[WorkerEnd, list[Mapping[str, Any]]]:
    messages: list[Mapping[str, Any]] = []
    return run_worker(order, messages.append), messages


def kinds(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(message["kind"]) for message in messages if message["kind"] not in {"phase", "progress"}]


def test_a_slower_arm_is_found_and_an_equal_one_passes() -> None:
    device = scenario({"match": B_ID, "scale": 1.05})
    slower = compare_locally(COPY, OTHER, device=device, options=OPTIONS)
    assert slower.verdict == "regressed"
    (pair,) = slower.pairs
    assert pair.found.change == pytest.approx(0.05, abs=0.005)
    assert slower.workers == 5
    assert [worker.order.value for worker in pair.workers] == ["ab", "ba", "ba", "ab", "ab"]
    assert slower.control is not None
    assert not slower.control.failed

    equal = compare_locally(COPY, COPY, device=device, workers=2, options=OPTIONS)
    assert (equal.verdict, equal.workers, equal.control) == ("pass", 2, None)


def test_pairs_that_five_workers_leave_open_go_on_to_ten() -> None:
    device = scenario({"spread": 0.3})
    result = compare_locally(COPY, OTHER, device=device, options=OPTIONS, null_control=False)
    assert result.workers == 10
    assert len(result.pairs[0].workers) == 10


def test_a_comparison_is_json_from_end_to_end() -> None:
    result = compare_locally(COPY, OTHER, device="simulated", workers=2, options=OPTIONS)
    told = json.loads(json.dumps(result.to_dict()))
    assert told["verdict"] == result.verdict
    assert told["pairs"][0]["workers"][0]["a"]["arm"] == "a"
    assert told["pairs"][0]["workers"][0]["a"]["samples"]
    assert told["facts"] == {
        "a": "memory/copy", "a.set": "n=268435456", "b": "memory/copy", "b.set": "n=268435457",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "outcome", "text"),
    [
        ({"fault": "segfault"}, "device error", "SIGSEGV"),
        ({"fault": "exit"}, "harness error", "status 41"),
        ({"fault": "wrong_result"}, "incorrect", "is off by"),
        ({"fault": "raise"}, "harness error", "the scenario raises here"),
    ],
)
def test_an_arm_that_fails_is_an_outcome_and_no_other_worker_tries_it(
    rule: Mapping[str, Any], outcome: str, text: str
) -> None:
    result = compare_locally(COPY, OTHER, device=scenario({"match": B_ID, **rule}), options=OPTIONS, limits=QUICK)
    assert result.verdict == "inconclusive"
    (pair,) = result.pairs
    assert pair.found.reason == "case_failed"
    assert outcome in pair.found.explanation
    assert text in pair.found.explanation
    assert result.workers == 1


def test_a_pair_that_kills_its_worker_leaves_the_others_alone() -> None:
    a = Arm(spec="memory/copy", overrides={"n": "1048576,2097152"})
    device = scenario({"match": "memory/copy[n=2097152,dtype=float32]", "fault": "segfault"})
    result = compare_locally(a, a, device=device, workers=2, options=OPTIONS, limits=QUICK)
    assert {pair.a: pair.found.verdict for pair in result.pairs} == {
        "memory/copy[n=1048576,dtype=float32]": "pass",
        "memory/copy[n=2097152,dtype=float32]": "inconclusive",
    }
    assert "SIGSEGV" in result.troubles[0]


def test_a_hanging_worker_is_ended_with_everything_it_started() -> None:
    end, messages = run(order_of(scenario({"fault": "hang", "fault_phase": "verify"}), setup_budget_seconds=1.0))
    assert end.outcome is Outcome.TIMEOUT
    assert "took longer than its 1 s" in end.reason
    assert end.case is not None
    assert end.exit_status is not None
    assert end.exit_status < 0
    assert kinds(messages) == ["opened", "header"]


def test_what_cannot_be_opened_or_paired_is_said_at_once() -> None:
    with pytest.raises(DeviceUnavailable):
        compare_locally(COPY, OTHER, device="cuda", workers=2, options=OPTIONS)
    with pytest.raises(NothingSelected, match="changes none"):
        compare_locally(
            COPY, Arm(spec="memory/copy", overrides={"n": "268435456", "dtype": "float32"}), device="simulated"
        )
    with pytest.raises(InvalidPlan, match="workers is 1"):
        compare_locally(COPY, OTHER, device="simulated", workers=1)
    with pytest.raises(InvalidPlan, match="smallest_effect is 2"):
        compare_locally(COPY, OTHER, device="simulated", smallest_effect=2)
    with pytest.raises(BundleError, match="no folder"):
        compare_locally(Arm(spec="./nothing-here"), COPY, device="simulated")


def test_a_comparison_can_be_cancelled() -> None:
    with pytest.raises(CaseFailure, match="cancelled"):
        compare_locally(COPY, OTHER, device=scenario({"fault": "hang"}), options=OPTIONS, cancelled=lambda: True)


def test_a_worker_dies_with_its_parent(tmp_path: Path) -> None:
    order = order_of(scenario({"fault": "hang"})).order
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from tesserabench.bench.duet import WorkerOrder, run_worker\n"
        "def take(message):\n"
        "    if message['kind'] == 'opened': Path(sys.argv[2]).write_text('open')\n"
        "run_worker(WorkerOrder(order=json.loads(sys.argv[1])), take)\n"
    )
    mark = tmp_path / "opened"
    parent = subprocess.Popen([sys.executable, "-c", script, json.dumps(order), str(mark)])
    try:
        wait_until(mark.exists, seconds=60, what="the worker to open its device")
        (child,) = _children(parent.pid)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not _alive(child), seconds=20, what="the worker to die with its parent")


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_whole_trial_runs_in_a_fresh_worker_too() -> None:
    plan = plan_trial("memory", tier="smoke", device_kind="simulated", include=r"memory/copy\[", options=OPTIONS)
    end, messages = run(WorkerOrder(order={"plan": plan.to_dict(), "device": "simulated"}, limits=QUICK))
    assert (end.outcome, end.exit_status) == (Outcome.OK, 0)
    assert kinds(messages) == ["opened", "header", *["measurement"] * len(plan.cases), "result"]
    assert end.result is not None
    assert TrialResult.from_dict(end.result).outcome is Outcome.OK


def test_what_a_worker_prints_is_no_message_and_its_last_lines_are_kept(tmp_path: Path) -> None:
    folder = a_bundle(tmp_path / "loud", factor=1, prints=True)
    plan = plan_duet(Arm(spec=str(folder)), Arm(spec=str(folder)), device_kind="simulated", options=OPTIONS).plan
    end, _ = run(WorkerOrder(order={"duet": plan.to_dict(), "device": "simulated"}, limits=QUICK))
    assert end.outcome is Outcome.OK
    assert "loud and clear" in end.printed


def a_bundle(folder: Path, *, factor: int, prints: bool = False) -> Path:
    """A bundle whose only benchmark moves `factor` times as many bytes as the simulated device is told of."""
    folder.mkdir()
    (folder / "tesserabench.toml").write_text(
        'schema = 1\nname = "own"\nsummary = "two versions"\nversion = "1"\nmodules = ["work"]\n'
    )
    (folder / "work.py").write_text(
        "from tesserabench.bench import benchmark\n"
        + ("print('loud and clear')\n" if prints else "")
        + "@benchmark(name='move', suite='own', summary='moves', parameters={'n': [1 << 28]},\n"
        f"           bytes=lambda params: {factor} * params.integer('n'))\n"
        "def prepare(device, params, seed):\n"
        "    raise AssertionError('the simulated device prepares its own work')\n"
    )
    return folder


def test_two_versions_of_a_bundle_stand_side_by_side(tmp_path: Path) -> None:
    old, new = a_bundle(tmp_path / "old", factor=10), a_bundle(tmp_path / "new", factor=11)
    result = compare_locally(Arm(spec=str(old)), Arm(spec=str(new)), device="simulated", workers=3, options=OPTIONS)
    (pair,) = result.pairs
    assert (pair.a, pair.b) == ("own/move[n=268435456]", "own/move[n=268435456]")
    assert pair.found.change == pytest.approx(0.1, abs=0.01)
    assert result.facts["a.bundle"] == str(old)
    assert result.environment is not None
    assert result.environment.facts["bundle.digest"] != result.environment.facts["arm_b.bundle.digest"]


def test_equal_arms_are_called_equal_on_the_cpu() -> None:
    arm = Arm(spec="memory/copy", overrides={"n": "65536"})
    result = compare_locally(
        arm, arm, device="cpu", workers=3, smallest_effect=0.9, options=OPTIONS, threads=1, limits=QUICK
    )
    # A shared machine can be very restless; only that it is measured, and that both arms are alike, is asked for.
    assert {worker.failure for worker in result.pairs[0].workers} == {None}
    assert result.verdict in {"pass", "inconclusive"}


def test_frames_come_apart_and_together_at_any_byte() -> None:
    messages: list[Mapping[str, Any]] = [{"kind": "phase", "case": None}, {"kind": "result", "text": "ü" * 300}]
    data = b"".join(encode_frame(message) for message in messages)
    decoder = FrameDecoder()
    assert [found for byte in data for found in decoder.feed(bytes([byte]))] == messages
    with pytest.raises(WorkerProtocolError, match="no JSON"):
        list(FrameDecoder().feed(b"\x00\x00\x00\x02{]"))
    with pytest.raises(WorkerProtocolError, match="claims"):
        list(FrameDecoder().feed(b"\xff\xff\xff\xff"))
    with pytest.raises(WorkerProtocolError, match="no text field 'kind'"):
        list(FrameDecoder().feed(b"\x00\x00\x00\x02[]"))
