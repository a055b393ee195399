"""The disk log against a real disk: restarts, kills, damage, a full disk."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.waiting import wait_until
from tesserabench.agent.errors import DiskFull, SpoolError, SpoolFull
from tesserabench.agent.spool import AttemptKey, Spool, open_spool
from tesserabench.agent.spool.recovery import close_orphans, find_orphans
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1.ingest_service_pb2 import (
    AttemptFinished,
    CaseFinished,
    LogLines,
    Record,
    TrialFinished,
    TrialStarted,
)

A = AttemptKey(name="runs/1/attempts/1", epoch=1)
B = AttemptKey(name="runs/2/attempts/1", epoch=3)


def lines(text: str = "hello") -> Record:
    return Record(log_lines=LogLines(source="agent", lines=[text]))


def case() -> Record:
    return Record(case_finished=CaseFinished(trial=0, result=pb.CaseResult(outcome=pb.OUTCOME_OK)))


def closing(outcome: pb.Outcome.ValueType = pb.OUTCOME_OK) -> Record:
    return Record(attempt_finished=AttemptFinished(outcome=outcome))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    opened = open_spool(path, max_bytes=1 << 20).spool
    yield opened
    opened.close()


def bodies(spool: Spool, key: AttemptKey, after: int = 0) -> list[Record]:
    return [Record.FromString(item.body) for item in spool.read(key, after, max_bytes=1 << 30, max_records=10_000)]


def test_records_get_sequences_from_one_and_keep_their_order(spool: Spool) -> None:
    spool.begin(A)
    assert [spool.append(A, lines(str(number))) for number in range(3)] == [1, 2, 3]
    records = bodies(spool, A)
    assert [record.sequence for record in records] == [1, 2, 3]
    assert [record.log_lines.lines[0] for record in records] == ["0", "1", "2"]
    assert all(record.HasField("time") for record in records)


def test_reading_stops_at_the_limits_and_gives_at_least_one(spool: Spool) -> None:
    spool.begin(A)
    for _ in range(5):
        spool.append(A, lines("x" * 1000))
    assert len(spool.read(A, 0, max_bytes=2500, max_records=100)) == 2
    assert len(spool.read(A, 0, max_bytes=1, max_records=100)) == 1
    assert len(spool.read(A, 3, max_bytes=1 << 20, max_records=1)) == 1
    assert spool.read(A, 5, max_bytes=1 << 20, max_records=100) == ()


def test_committed_records_leave_and_the_rest_stays(spool: Spool) -> None:
    spool.begin(A)
    for _ in range(4):
        spool.append(A, case())
    assert spool.commit(A, 3) is False
    assert [record.sequence for record in bodies(spool, A)] == [4]
    attempt = spool.attempts()[0]
    assert (attempt.last_sequence, attempt.committed_sequence, attempt.pending) == (4, 3, 1)
    assert spool.append(A, lines()) == 5


def test_answer_that_comes_twice_or_late_changes_nothing(spool: Spool) -> None:
    spool.begin(A)
    for _ in range(4):
        spool.append(A, case())
    spool.commit(A, 3)
    spool.commit(A, 3)
    spool.commit(A, 1)
    entry = spool.journal()[0]
    assert (entry.records_committed, entry.cases_committed) == (3, 3)
    assert spool.commit(B, 5) is False


def test_attempt_leaves_only_when_closed_and_wholly_committed(spool: Spool) -> None:
    spool.begin(A)
    spool.append(A, case())
    assert spool.commit(A, 1) is False
    spool.append(A, closing())
    assert spool.attempts()[0].closed
    assert spool.commit(A, 2) is True
    assert spool.attempts() == ()
    entry = spool.journal()[0]
    assert (entry.records_written, entry.records_committed, entry.cases_written, entry.closed) == (2, 2, 1, True)
    assert entry.outcome == "OUTCOME_OK"


def test_nothing_follows_the_closing_record(spool: Spool) -> None:
    spool.begin(A)
    spool.append(A, closing())
    with pytest.raises(SpoolError, match="closed"):
        spool.append(A, lines())
    with pytest.raises(SpoolError, match="not held"):
        spool.append(B, lines())


def test_beginning_twice_is_beginning_once(spool: Spool) -> None:
    spool.begin(A)
    spool.append(A, lines())
    spool.begin(A)
    assert spool.attempts()[0].last_sequence == 1
    assert len(spool.journal()) == 1


def test_size_counts_what_waits(path: Path) -> None:
    now = [1000.0]
    spool = open_spool(path, max_bytes=64, clock=lambda: now[0]).spool
    try:
        assert spool.size().oldest_age_seconds is None
        spool.begin(A)
        spool.append(A, lines("x" * 60))
        now[0] = 1005.0
        size = spool.size()
        assert size.full
        assert size.pending_records == 1
        assert size.oldest_age_seconds == 5.0
        spool.commit(A, 1)
        assert spool.size().pending_bytes == 0
        assert not spool.size().full
    finally:
        spool.close()


def test_everything_survives_a_restart(path: Path) -> None:
    first = open_spool(path, max_bytes=1 << 20).spool
    first.begin(A)
    first.begin(B)
    first.append(A, lines("one"))
    first.append(B, case())
    first.commit(A, 1)
    before = first.size().pending_bytes
    first.close()
    second = open_spool(path, max_bytes=1 << 20).spool
    try:
        assert [item.key for item in second.attempts()] == [A, B]
        assert second.size().pending_bytes == before
        assert second.append(A, lines("two")) == 2
        assert len(second.journal()) == 2
    finally:
        second.close()


def test_orphans_are_closed_as_interrupted_with_the_end_of_their_trial(spool: Spool) -> None:
    spool.begin(A)
    spool.append(A, Record(trial_started=TrialStarted(trial=4)))
    spool.append(A, case())
    spool.begin(B)
    spool.append(B, closing(pb.OUTCOME_CANCELLED))
    assert find_orphans(spool) == (A,)
    close_orphans(spool, [A])
    *_, trial, last = bodies(spool, A)
    assert trial.trial_finished.trial == 4
    assert trial.trial_finished.outcome == pb.OUTCOME_INTERRUPTED
    assert last.attempt_finished.outcome == pb.OUTCOME_INTERRUPTED
    assert "trial 4" in last.attempt_finished.reason
    assert find_orphans(spool) == ()
    close_orphans(spool, [A, B])
    assert bodies(spool, A)[-1] == last
    assert len(bodies(spool, B)) == 1


def test_trial_that_ended_is_not_ended_again(spool: Spool) -> None:
    spool.begin(A)
    spool.append(A, Record(trial_started=TrialStarted(trial=0)))
    spool.append(A, Record(trial_finished=TrialFinished(trial=0)))
    close_orphans(spool, find_orphans(spool))
    assert [record.WhichOneof("event") for record in bodies(spool, A)] == [
        "trial_started",
        "trial_finished",
        "attempt_finished",
    ]


def test_attempt_that_began_after_the_start_is_no_orphan(spool: Spool) -> None:
    spool.begin(A)
    orphans = find_orphans(spool)
    spool.begin(B)
    close_orphans(spool, orphans)
    assert [(item.key, item.closed) for item in spool.attempts()] == [(A, True), (B, False)]


WRITER = """
import sys
import tempfile
from pathlib import Path
from tesserabench.agent.spool import AttemptKey, open_spool
from tesserabench.v1.ingest_service_pb2 import LogLines, Record
spool = open_spool(Path(sys.argv[1]), max_bytes=1 << 30).spool
key = AttemptKey(name="runs/1/attempts/1", epoch=1)
spool.begin(key)
number = 0
while True:
    number += 1
    spool.append(key, Record(log_lines=LogLines(source="agent", lines=[str(number)])))
    print(number, flush=True)
"""


def test_spool_survives_kill_between_write_and_ack(path: Path) -> None:
    acknowledged = 0
    for _ in range(3):
        path.unlink(missing_ok=True)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _line in range(50):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        told = 50 + len([line for line in writer.stdout.read().split(b"\n") if line.strip()])
        writer.wait(timeout=20)
        writer.stdout.close()
        opened = open_spool(path, max_bytes=1 << 30)
        try:
            assert opened.moved_aside is None
            found = [int(record.log_lines.lines[0]) for record in bodies(opened.spool, A)]
            # What was acknowledged is there without gaps; at most the one in flight is there beyond it.
            assert found == list(range(1, len(found) + 1))
            assert told <= len(found) <= told + 1
            acknowledged += told
        finally:
            opened.spool.close()
    assert acknowledged >= 150


@pytest.mark.parametrize("damage", ["garbage", "torn header", "torn page", "other version"])
def test_damaged_file_is_kept_beside_a_new_one(path: Path, damage: str) -> None:
    spool = open_spool(path, max_bytes=1 << 20).spool
    spool.begin(A)
    for _ in range(200):
        spool.append(A, lines("x" * 500))
    spool.close()
    if damage == "garbage":
        path.write_bytes(b"this is no database" * 1000)
    elif damage == "torn header":
        path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])
    elif damage == "torn page":
        whole = path.read_bytes()
        path.write_bytes(whole[:8192] + b"\xff" * 8192 + whole[16384:])
    else:
        with sqlite3.connect(path) as raw:
            raw.execute("PRAGMA user_version = 99")
        raw.close()
    before = path.read_bytes()
    opened = open_spool(path, max_bytes=1 << 20)
    try:
        assert opened.moved_aside is not None
        assert opened.moved_aside.read_bytes() == before
        assert opened.complaint
        opened.spool.begin(B)
        assert opened.spool.append(B, lines()) == 1
    finally:
        opened.spool.close()
    assert path.exists()


def test_two_damaged_files_are_both_kept(path: Path) -> None:
    kept: set[Path] = set()
    for _ in range(2):
        path.write_bytes(b"no database" * 100)
        opened = open_spool(path, max_bytes=1 << 20, clock=lambda: 1_000_000_000.0)
        assert opened.moved_aside is not None
        kept.add(opened.moved_aside)
        opened.spool.close()
        path.unlink()
    assert len(kept) == 2
    assert all(item.exists() for item in kept)


def fill(spool: Spool) -> None:
    """Let the file grow no further."""
    pages = spool._connection.execute("PRAGMA page_count").fetchone()[0]
    spool._connection.execute(f"PRAGMA max_page_count = {pages}")


def append_many(spool: Spool, size: int) -> None:
    """Append until something gives way, or what was meant to be full is not."""
    for _ in range(200):
        spool.append(A, lines("x" * size))


def test_full_disk_refuses_the_record_and_keeps_what_there_is(spool: Spool) -> None:
    spool.begin(A)
    spool.append(A, lines("kept"))
    fill(spool)
    with pytest.raises(DiskFull, match="free space"):
        append_many(spool, 4000)
    written = bodies(spool, A)
    assert written[0].log_lines.lines[0] == "kept"
    assert [record.sequence for record in written] == list(range(1, len(written) + 1))
    assert spool.attempts()[0].last_sequence == len(written)
    spool._connection.execute("PRAGMA max_page_count = 1000000")
    assert spool.append(A, lines()) == len(written) + 1


def test_reserve_is_there_and_is_given_up_for_closing_records(spool: Spool, path: Path) -> None:
    reserve = path.with_name("spool.db.reserve")
    assert reserve.stat().st_size == 1 << 20
    spool.begin(A)
    fill(spool)
    with pytest.raises(DiskFull):
        append_many(spool, 4000)
    assert reserve.exists()
    with pytest.raises(DiskFull):
        # The limit of this test is SQLite's, which no freed disk space lifts: both tries fail.
        spool.append(A, Record(attempt_finished=AttemptFinished(reason="y" * 8000)))
    assert not reserve.exists()


def test_closing_record_finds_room_where_the_disk_has_none() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root; run as root to see this")
    with small_file_system(8 << 20) as folder:
        spool = open_spool(folder / "spool.db", max_bytes=1 << 30).spool
        try:
            spool.begin(A)
            with pytest.raises(DiskFull):
                append_many(spool, 100_000)
            with pytest.raises(DiskFull):
                spool.append(A, lines("x" * 100_000))
            spool.append(A, closing(pb.OUTCOME_INTERRUPTED))
            records = bodies(spool, A)
            assert records[-1].HasField("attempt_finished")
            assert spool.commit(A, records[-1].sequence)
        finally:
            spool.close()


def test_what_was_committed_leaves_a_disk_that_others_have_filled() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root; run as root to see this")
    with small_file_system(8 << 20) as folder:
        spool = open_spool(folder / "spool.db", max_bytes=1 << 30).spool
        try:
            spool.begin(A)
            for _ in range(100):
                spool.append(A, lines("x" * 4000))
            with (folder / "somebody else's").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
                while filler.write(b"y" * 4096):
                    pass
            with pytest.raises(DiskFull):
                append_many(spool, 100_000)
            assert not spool.commit(A, 50)
            assert spool.attempts()[0].committed_sequence == 50
        finally:
            spool.close()


class small_file_system:  # noqa: N801 - reads as a function
    """A tmpfs of its own size, gone at the end."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> Path:

        self._folder = Path(tempfile.mkdtemp(prefix="tesserabench-small-"))
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self._folder)],
            check=False,
            capture_output=True,
            text=True,
        )
        if mounted.returncode != 0:
            self._folder.rmdir()
            pytest.skip(f"this machine lets root mount nothing: {mounted.stderr.strip()}")
        return self._folder

    def __exit__(self, *_: object) -> None:
        wait_until(
            lambda: subprocess.run(["umount", str(self._folder)], check=False, capture_output=True).returncode == 0,
            seconds=10,
            what="the small file system to be let go",
        )
        self._folder.rmdir()


def test_running_attempt_may_go_past_the_limit_but_not_without_end(path: Path) -> None:
    spool = open_spool(path, max_bytes=10_000).spool
    try:
        spool.begin(A)
        while not spool.size().full:
            spool.append(A, lines("x" * 1000))
        spool.append(A, lines("still allowed"))
        with pytest.raises(SpoolFull, match="spool_max_bytes = 10000"):
            append_many(spool, 1000)
        spool.append(A, closing())
    finally:
        spool.close()


def test_unreadable_folder_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="cannot be used"):
        open_spool(tmp_path / "absent" / "spool.db", max_bytes=1 << 20)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 1)),
        st.tuples(st.just("commit"), st.integers(0, 1)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.randoms(use_true_random=False))
def test_every_record_is_either_committed_or_there(
    tmp_path: Path, steps: list[tuple[str, int]], random: object
) -> None:
    folder = tmp_path / str(time.monotonic_ns())
    folder.mkdir()
    spool = open_spool(folder / "spool.db", max_bytes=1 << 20, fsync=False).spool
    keys = (A, B)
    written, committed = [0, 0], [0, 0]
    for key in keys:
        spool.begin(key)
    for step, which in steps:
        if step == "append":
            written[which] += 1
            assert spool.append(keys[which], case()) == written[which]
        elif step == "commit":
            committed[which] = max(committed[which], random.randint(0, written[which]))  # type: ignore[attr-defined]
            spool.commit(keys[which], committed[which])
        else:
            spool.close()
            spool = open_spool(folder / "spool.db", max_bytes=1 << 20, fsync=False).spool
        for index, key in enumerate(keys):
            present = [record.sequence for record in bodies(spool, key)]
            assert present == list(range(committed[index] + 1, written[index] + 1))
    assert [entry.records_committed for entry in spool.journal()] == committed
    assert [entry.records_written for entry in spool.journal()] == written
    spool.close()
