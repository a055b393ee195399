"""Waiting for a run while collectors die, connections freeze, and people lose patience."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from support.contract_values import a_comparison, a_result, a_run, an_entry
from support.fake_services import FakeCollector
from support.tbctl import PROCESS, Tbctl, home_variables
from support.waiting import wait_until
from tesserabench.wire.reasons import Reason

WATCH = ("run", "watch", "42", "--fail-on", "major")


@pytest.fixture
def running(collector: FakeCollector) -> FakeCollector:
    collector.runs["runs/42"] = a_run(state="running")
    collector.watch["runs/42"] = [a_run(state="queued"), a_run(state="running")]
    collector.results["runs/42"] = [a_result()]
    entry = an_entry(verdict="regressed", severity="critical")
    collector.comparisons["runs/42"] = a_comparison(entry, verdict="regressed", severity="critical")
    return collector


def finish(collector: FakeCollector) -> None:
    done = a_run(verdict="regressed", severity="critical")
    collector.put_watch("runs/42", [a_run(state="queued"), a_run(state="running"), done])


def test_watch_survives_a_collector_that_is_killed_and_comes_back(running: FakeCollector, tbctl: Tbctl) -> None:
    def kill_and_restart() -> None:
        wait_until(lambda: running.calls_of("WatchRun"), seconds=20, what="the watch")
        running.stop()
        finish(running)
        running.start()

    helper = threading.Thread(target=kill_and_restart)
    helper.start()
    said = tbctl(*WATCH, "--timeout", "60s")
    helper.join()
    assert said.status == 10, said.err
    assert "connection lost, trying again" in said.err
    assert "connected again" in said.err


def test_watch_goes_on_from_the_cursor_it_had(running: FakeCollector, tbctl: Tbctl) -> None:
    def cut() -> None:
        wait_until(lambda: running.calls_of("WatchRun"), seconds=20, what="the watch")
        # A state must have been seen, or there is no cursor to go on from; the third look at the log is seconds later.
        wait_until(lambda: len(running.calls_of("ListRunLogs")) > 2, seconds=20, what="the third look at the log")
        running.stop()
        finish(running)
        running.start()

    helper = threading.Thread(target=cut)
    helper.start()
    said = tbctl(*WATCH, "--timeout", "60s", "--follow-logs")
    helper.join()
    assert said.status == 10, said.err
    cursors = [call.request.cursor for call in running.calls_of("WatchRun")]
    assert cursors[0] == ""
    assert cursors[-1] in {"1", "2"}


def test_watch_ends_with_7_when_time_is_up_without_a_collector(running: FakeCollector, tbctl: Tbctl) -> None:
    def kill() -> None:
        wait_until(lambda: running.calls_of("WatchRun"), seconds=20, what="the watch")
        running.stop()

    helper = threading.Thread(target=kill)
    helper.start()
    said = tbctl(*WATCH, "--timeout", "5s")
    helper.join()
    assert said.status == 7, said.err
    assert "run 42 may go on: tbctl run watch 42" in said.last_line


def test_watch_gives_up_at_once_when_the_run_is_gone(running: FakeCollector, tbctl: Tbctl) -> None:
    running.fail("WatchRun", grpc.StatusCode.NOT_FOUND, "runs/42 does not exist", reason=Reason.RUN_NOT_FOUND)
    said = tbctl(*WATCH)
    assert said.status == 5
    assert len(running.calls_of("WatchRun")) == 1


def test_watch_gives_up_on_a_fault_that_stays(running: FakeCollector, tbctl: Tbctl) -> None:
    for _ in range(10):
        running.fail("WatchRun", grpc.StatusCode.INTERNAL, "a fault", reason=Reason.INTERNAL)
    said = tbctl(*WATCH, "--retries", "1")
    assert said.status == 1
    assert len(running.calls_of("WatchRun")) == 2


def test_watch_follows_the_logs_to_their_end(running: FakeCollector, tbctl: Tbctl) -> None:
    from tesserabench.v1.run_service_pb2 import LogEntry  # noqa: PLC0415 - one value

    running.logs = [LogEntry(host="gpu-07", trial=0, source="stdout", text=f"line {number}") for number in range(5)]
    finish(running)
    said = tbctl(*WATCH, "--follow-logs")
    assert said.status == 10
    assert [line for line in said.err.splitlines() if "| line" in line][-1].endswith("gpu-07 trial 0 stdout | line 4")
    assert "| line" not in said.out


class Process:
    """tbctl as a process, in a home of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TBCTL_", "GITHUB_"))}
        self.popen = subprocess.Popen(
            [*PROCESS, *arguments],
            cwd=folder,
            env={**environment, **home_variables(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        _, err = self.popen.communicate(timeout=60)
        return self.popen.returncode, err


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_with_130_and_says_that_the_run_goes_on(
    number: signal.Signals, running: FakeCollector, tmp_path: Path, processes: list[Process]
) -> None:
    process = Process(tmp_path, "--server", running.address, *WATCH)
    processes.append(process)
    wait_until(lambda: running.calls_of("WatchRun"), seconds=30, what="the watch")
    process.popen.send_signal(number)
    status, err = process.end()
    assert status == 130
    assert err.splitlines()[-1].startswith("exit 130: interrupted; run 42 goes on: tbctl run watch 42")
    assert "Traceback" not in err
    assert not running.calls_of("CancelRun")


def test_terminal_gets_a_bar_that_leaves_nothing_behind(running: FakeCollector, tmp_path: Path) -> None:
    finish(running)
    ours, theirs = os.openpty()
    environment = {**os.environ, **home_variables(tmp_path), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [*PROCESS, "--server", running.address, *WATCH],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    # Reading a terminal whose other end is closed is an error on Linux, and the end.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 65_536):
            seen += part
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 10
    assert b"run 42" in seen
    assert b"2/2" in seen
    assert seen.rstrip().splitlines()[-1].endswith(b"(--fail-on major)")
    assert b"REGRESSED" in out
    assert b"\x1b" not in out


def test_interrupt_cancels_when_that_was_asked_for(
    running: FakeCollector, tmp_path: Path, processes: list[Process]
) -> None:
    process = Process(tmp_path, "--server", running.address, *WATCH, "--cancel-on-interrupt")
    processes.append(process)
    wait_until(lambda: running.calls_of("WatchRun"), seconds=30, what="the watch")
    process.popen.send_signal(signal.SIGINT)
    status, err = process.end()
    assert status == 130
    assert "run 42 is being cancelled" in err
    assert running.calls_of("CancelRun")[0].request.name == "runs/42"
