"""Collectives between real processes: sockets in NCCL's place, everything else as it is."""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.waiting import wait_until
from tesserabench.bench import CaseFailure, Outcome
from tesserabench.bench.collective.group import Group, Limits
from tesserabench.bench.collective.operation import Operation, shape_of
from tesserabench.bench.collective.share import Share
from tesserabench.bench.collective.supervision import Stage

TRANSPORT = "support.socket_collective"
LIMITS = Limits(answer=60.0, patience=60.0, leave=10.0)
IMPATIENT = Limits(answer=60.0, patience=3.0, leave=10.0)


@pytest.fixture(autouse=True)
def _ranks_find_the_transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    # The path of a socket may have 107 characters at most.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ranks-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield


@contextlib.contextmanager
def group_of(ranks: int, limits: Limits = LIMITS) -> Iterator[Group]:
    group = Group(tuple(range(ranks)), transport=TRANSPORT, limits=limits)
    try:
        yield group
    finally:
        group.close()


def launch_often(group: Group, share: Share) -> None:
    for _ in range(10):
        group.launch(share)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_operation_is_exact_on_every_rank_and_the_group_is_used_again(ranks: int) -> None:
    with group_of(ranks) as group:
        for operation in Operation:
            for dtype, size in (("float32", 8), ("int32", 1 << 16), ("float16", 3000)):
                shape = shape_of(operation, ranks, dtype, size)
                share = group.prepare(shape, size, seed=size)
                group.poison(share)
                poisoned = group.wrong(share)
                assert all(count == shape.receive_count for count in poisoned)
                for _ in range(3):
                    group.launch(share)
                assert group.wrong(share) == [0] * ranks
                group.release()
        pids = group.pids
    assert group.stage is Stage.CLOSED
    assert all(gone(pid) for pid in pids)


def test_launches_are_followed_without_an_order() -> None:
    with group_of(2) as group:
        share = group.prepare(shape_of("broadcast", 2, "float32", 64), 64, seed=1)
        for _ in range(500):
            group.launch(share)
        board = group._board
        wait_until(lambda: board.done(1) == 500, seconds=10, what="rank 1 to follow every launch")
        assert group.wrong(share) == [0, 0]


def test_a_wrong_element_on_another_rank_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_TEST_FAULT", "1:2:wrong")
    with group_of(2) as group:
        share = group.prepare(shape_of("all_reduce", 2, "float32", 4096), 4096, seed=1)
        group.launch(share)
        assert group.wrong(share) == [0, 0]
        group.launch(share)
        assert group.wrong(share) == [0, 1]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("1:3:exit", "rank 1 ended with status 3 after 2 launches: the fault exit was planted"),
        ("2:3:kill", "rank 2 ended by signal 9 after 2 launches"),
        ("1:3:hang", r"rank 1 has not followed launch 3 of \d+ for \d+ s \(limit 3 s\)"),
    ],
)
def test_a_lost_or_hung_rank_fails_the_case_and_frees_the_others(
    monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    monkeypatch.setenv("TESSERABENCH_TEST_FAULT", fault)
    with group_of(3, IMPATIENT if fault.endswith("hang") else LIMITS) as group:
        share = group.prepare(shape_of("all_reduce", 3, "float32", 1 << 20), 1 << 20, seed=1)
        started = time.monotonic()
        with pytest.raises(CaseFailure, match=reason) as failed:
            launch_often(group, share)
        assert failed.value.outcome is Outcome.DEVICE_ERROR
        assert not failed.value.fatal
        assert time.monotonic() - started < 50
        with pytest.raises(CaseFailure, match="the group of 3 ranks failed"):
            group.wrong(share)
        pids = group.pids
    assert all(gone(pid) for pid in pids)


def test_ranks_that_disagree_about_sizes_fail_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_TEST_FAULT", "1:1:short")
    with group_of(2) as group:
        share = group.prepare(shape_of("all_reduce", 2, "float32", 4096), 4096, seed=1)
        with pytest.raises(ValueError, match="broadcast"):
            group.launch(share)


def test_a_rank_without_its_device_is_told_before_anybody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_TEST_MISSING", "1")
    with pytest.raises(CaseFailure, match="rank 1: device 1 is missing") as refused:
        Group((0, 1), transport=TRANSPORT, limits=LIMITS)
    assert refused.value.outcome is Outcome.UNSUPPORTED


def test_a_rank_that_dies_while_the_group_forms_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_TEST_FAULT", "1:0:exit")
    monkeypatch.setenv("TESSERABENCH_TEST_JOIN_SECONDS", "3")
    with pytest.raises(CaseFailure, match="rank 1 ended with status 3 after 0 launches"):
        Group((0, 1), transport=TRANSPORT, limits=LIMITS)


def test_a_rank_that_never_joins_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_TEST_FAULT", "1:0:hang")
    monkeypatch.setenv("TESSERABENCH_TEST_JOIN_SECONDS", "2")
    with pytest.raises(TimeoutError):
        Group((0, 1), transport=TRANSPORT, limits=Limits(answer=5.0, patience=1.0, leave=1.0))


def test_a_case_that_does_not_fit_on_one_rank_is_refused_and_the_next_one_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TESSERABENCH_TEST_FREE", "100000")
    with group_of(2) as group:
        with pytest.raises(CaseFailure, match="free ones of its device") as refused:
            group.prepare(shape_of("all_reduce", 2, "float32", 1 << 20), 1 << 20, seed=1)
        assert refused.value.outcome is Outcome.OUT_OF_MEMORY
        share = group.prepare(shape_of("all_reduce", 2, "float32", 1024), 1024, seed=1)
        group.launch(share)
        assert group.wrong(share) == [0, 0]


def test_ranks_die_with_rank_0(tmp_path: Path) -> None:
    script = tmp_path / "zero.py"
    script.write_text(
        "from tesserabench.bench.collective.group import Group\n"
        f"group = Group((0, 1, 2), transport={TRANSPORT!r})\n"
        "print(*group.pids, flush=True)\n"
        "input()\n"
    )
    read_end, write_end = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, str(script)],
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, write_end, 1)],
    )
    os.close(write_end)
    with os.fdopen(read_end) as lines:
        pids = [int(word) for word in lines.readline().split()]
    assert len(pids) == 2
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_until(lambda: all(gone(item) for item in pids), seconds=10, what="the other ranks to end")


def test_no_descriptor_is_left_open() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with group_of(2) as group:
        share = group.prepare(shape_of("all_reduce", 2, "float32", 64), 64, seed=1)
        group.launch(share)
        assert np.sum(group.wrong(share)) == 0
    assert set(Path("/proc/self/fd").iterdir()) == before
