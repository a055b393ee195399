"""A real agent process: killed, drained, doubled, watched by systemd."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest
from support.agent_process import AgentProcess
from support.fake_collector import FakeCollector, Key
from support.waiting import wait_until, wait_until_async
from tesserabench.agent.spool import open_spool
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1 import run_pb2
from tesserabench.v1.run_pb2 import RunSpec

Start = Callable[..., AgentProcess]
Write = Callable[[str], str]


def smoke(**changes: object) -> RunSpec:
    given: dict[str, object] = {"suite": "core", "tier": run_pb2.TIER_SMOKE, "device": "simulated", "seed": 5}
    return RunSpec(**(given | changes))  # type: ignore[arg-type]


@pytest.fixture
def start_agent(tmp_path: Path, collector: FakeCollector) -> Iterator[Start]:
    started: list[AgentProcess] = []

    def start(settings: Mapping[str, str] | None = None) -> AgentProcess:
        agent = AgentProcess(tmp_path, collector.address, {"min_free_bytes": "0", **(settings or {})})
        started.append(agent)
        return agent.start()

    yield start
    for agent in started:
        agent.stop()


@pytest.fixture
def slow(scenario: Write) -> str:
    """A script with which a case takes about a second."""
    return scenario("real_time_factor = 10.0\n")


async def exit_of(agent: AgentProcess, seconds: float = 60) -> int:
    return await asyncio.to_thread(agent.wait, seconds=seconds)


def worker_of(collector: FakeCollector, key: Key) -> int:
    started = [record.trial_started for record in collector.of(key).records if record.HasField("trial_started")]
    return started[-1].pid


async def test_kill_in_a_run_loses_nothing_and_closes_as_interrupted(
    collector: FakeCollector, start_agent: Start, slow: str, scenario: Write
) -> None:
    agent = start_agent({"simulated_scenario": slow})
    key = await collector.assign(1, smoke(trials=3))
    await collector.until(lambda: len(collector.of(key).results) >= 2, what="two results")
    worker = worker_of(collector, key)
    assert psutil.pid_exists(worker)
    agent.kill()
    await wait_until_async(lambda: _gone(worker), seconds=10, what="the worker to die with its agent")
    scenario("")
    agent.start()
    closing = await collector.until_closed(key)
    await collector.until(lambda: not collector.held, what="the attempt to leave the host")
    assert closing.outcome == pb.OUTCOME_INTERRUPTED
    assert "restarted while trial" in closing.reason
    records = collector.of(key).records
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))
    ends = [record.trial_finished for record in records if record.HasField("trial_finished")]
    assert ends[-1].outcome == pb.OUTCOME_INTERRUPTED
    following = await collector.assign(2, smoke(suite="gemm"))
    assert (await collector.until_closed(following)).outcome == pb.OUTCOME_OK
    agent.stop()
    spool = open_spool(agent.spool_path, max_bytes=1 << 20).spool
    try:
        journal = {(item.key.name, item.key.epoch): item for item in spool.journal()}
        assert journal[key].records_written == journal[key].records_committed == len(records)
        assert journal[key].cases_committed == len(collector.of(key).results)
    finally:
        spool.close()


async def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_kill_while_the_collector_is_away_delivers_after_the_restart(
    collector: FakeCollector, start_agent: Start, slow: str
) -> None:
    agent = start_agent({"simulated_scenario": slow})
    key = await collector.assign(1, smoke(trials=2))
    await collector.until(lambda: len(collector.of(key).results) >= 1, what="a first result")
    known = len(collector.of(key).results)
    await collector.stop()
    await asyncio.to_thread(wait_until, lambda: agent.journal()[0][4] > known, seconds=60, what="a result on disk")
    agent.kill()
    agent.start()
    agent.wait_for_log("attempt.recovered")
    await collector.restart()
    assert (await collector.until_closed(key)).outcome == pb.OUTCOME_INTERRUPTED
    assert len(collector.of(key).results) > known
    ids = Counter((item.trial, item.result.case.id) for item in collector.of(key).results)
    assert set(ids.values()) == {1}


async def test_drain_lets_the_running_attempt_finish_and_takes_no_new_one(
    collector: FakeCollector, start_agent: Start, scenario: Write
) -> None:
    agent = start_agent({"simulated_scenario": scenario("real_time_factor = 5.0\n")})
    key = await collector.assign(1, smoke())
    await collector.until(lambda: len(collector.of(key).results) >= 1, what="a first result")
    agent.signal(signal.SIGTERM)
    await collector.until(lambda: collector.questions[-1].draining, what="the agent to say that it drains")
    refused = await collector.assign(2, smoke())
    assert await exit_of(agent) == 0
    closing = collector.of(key).closing
    assert closing is not None
    assert closing.outcome == pb.OUTCOME_OK
    assert len(collector.of(key).results) == 5
    assert collector.of(refused).records == []
    draining = [question for question in collector.questions if question.draining]
    assert len(draining) >= 2, "heartbeats go on during the drain"
    assert not draining[-1].held, "the last heartbeat says that nothing is held"


async def test_drain_that_takes_too_long_interrupts(collector: FakeCollector, start_agent: Start, slow: str) -> None:
    agent = start_agent({"simulated_scenario": slow, "drain_seconds": "0.5"})
    key = await collector.assign(1, smoke(trials=5))
    await collector.until(lambda: len(collector.of(key).results) >= 1, what="a first result")
    agent.signal(signal.SIGTERM)
    assert await exit_of(agent, seconds=60) == 0
    closing = collector.of(key).closing
    assert closing is not None
    assert closing.outcome == pb.OUTCOME_INTERRUPTED
    assert "the agent was stopped" in closing.reason


async def test_second_signal_stops_at_once_and_keeps_what_is_unsent(
    collector: FakeCollector, start_agent: Start, slow: str
) -> None:
    agent = start_agent({"simulated_scenario": slow})
    key = await collector.assign(1, smoke(trials=5))
    await collector.until(lambda: len(collector.of(key).results) >= 1, what="a first result")
    await collector.stop()
    agent.signal(signal.SIGTERM)
    agent.wait_for_log("agent.draining")
    agent.signal(signal.SIGTERM)
    assert await exit_of(agent, seconds=60) == 0
    spool = open_spool(agent.spool_path, max_bytes=1 << 20).spool
    try:
        attempt = spool.attempts()[0]
        assert attempt.closed
        assert attempt.pending >= 1
    finally:
        spool.close()
    await collector.restart()
    agent.start()
    assert (await collector.until_closed(key)).outcome == pb.OUTCOME_INTERRUPTED


async def test_superseded_agent_ends_with_its_own_exit_code(collector: FakeCollector, start_agent: Start) -> None:
    agent = start_agent()
    await collector.until(lambda: bool(collector.questions), what="the first question")
    collector.superseded = True
    await collector.wake()
    assert await exit_of(agent) == 3
    assert "a newer agent has registered as host" in agent.log
    assert "Traceback" not in agent.log


async def test_two_agents_do_not_share_a_state_folder(collector: FakeCollector, start_agent: Start) -> None:
    first = start_agent()
    await collector.until(lambda: bool(collector.questions), what="the first question")
    second = start_agent()
    assert await exit_of(second) == 4
    assert first.process is not None
    assert f"in use by another agent (process {first.process.pid})" in second.log
    assert "Traceback" not in second.log
    assert first.process.poll() is None


async def test_damaged_spool_is_moved_aside_and_the_agent_goes_on(collector: FakeCollector, start_agent: Start) -> None:
    agent = start_agent()
    await collector.until(lambda: bool(collector.questions), what="the first question")
    agent.stop()
    agent.spool_path.write_bytes(b"this is no database" * 500)
    agent.start()
    key = await collector.assign(1, smoke(suite="gemm"))
    assert (await collector.until_closed(key)).outcome == pb.OUTCOME_OK
    kept = list(agent.state_dir.glob("spool.db.corrupt-*"))
    assert len(kept) == 1
    assert "spool.moved_aside" in agent.log
    assert str(kept[0]) in agent.log


async def test_metrics_are_served_where_the_state_folder_says(collector: FakeCollector, start_agent: Start) -> None:
    agent = start_agent()
    key = await collector.assign(1, smoke(suite="gemm"))
    await collector.until_closed(key)
    await collector.until(lambda: not collector.held, what="the attempt to leave the host")
    address = agent.metrics_address()
    text = (await asyncio.to_thread(_read, f"http://{address}/metrics")).splitlines()
    assert 'tesserabench_agent_jobs_total{outcome="ok"} 1.0' in text
    assert 'tesserabench_agent_jobs_total{outcome="timeout"} 0.0' in text
    for name in (
        "connected 1.0",
        "job_running 0.0",
        "spool_records 0.0",
        "spool_full 0.0",
        "stream_reconnects_total 0.0",
    ):
        assert f"tesserabench_agent_{name}" in text
    assert any(line.startswith("tesserabench_agent_info{") for line in text)
    assert any(line.startswith("tesserabench_agent_clock_offset_seconds ") for line in text)
    agent.stop()
    assert not (agent.state_dir / "metrics.addr").exists()


def _read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as response:
        return str(response.read().decode())


async def test_service_manager_hears_ready_watchdog_and_stopping(
    collector: FakeCollector, start_agent: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        agent = start_agent()
        loop = asyncio.get_running_loop()
        heard: list[str] = []

        async def hear(word: str, times: int = 1) -> None:
            async with asyncio.timeout(30):
                while sum(item.startswith(word) for item in heard) < times:
                    heard.append((await loop.sock_recv(channel, 4096)).decode())

        await hear("READY=1")
        await hear("STATUS=connected to")
        await hear("WATCHDOG=1", times=3)
        agent.signal(signal.SIGTERM)
        await hear("STOPPING=1")
        assert await exit_of(agent) == 0


async def test_worker_leaves_no_process_behind(collector: FakeCollector, start_agent: Start, slow: str) -> None:
    agent = start_agent({"simulated_scenario": slow})
    key = await collector.assign(1, smoke())
    await collector.until(lambda: len(collector.of(key).results) >= 1, what="a first result")
    await collector.cancel(key)
    await collector.until_closed(key, seconds=60)
    assert agent.process is not None
    assert psutil.Process(agent.process.pid).children(recursive=True) == []


def run_command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TESSERABENCH_")}
    return subprocess.run(
        [sys.executable, "-m", "tesserabench.agent.main", *arguments],
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_check_shows_settings_inventory_and_a_working_connection(
    collector: FakeCollector, tmp_path: Path
) -> None:
    result = await asyncio.to_thread(
        run_command,
        "check",
        TESSERABENCH_AGENT_COLLECTOR=collector.address,
        TESSERABENCH_AGENT_STATE_DIR=str(tmp_path / "state"),
        TESSERABENCH_AGENT_TOKEN="very-secret",
    )
    assert result.returncode == 0, result.stderr
    assert "variable TESSERABENCH_AGENT_COLLECTOR" in result.stdout
    assert "device cpu:0" in result.stdout
    assert "suite core:" in result.stdout
    assert "ok: collector" in result.stdout
    assert "very-secret" not in result.stdout + result.stderr
    assert not (tmp_path / "state").exists(), "a check changes nothing"
    assert collector.registrations == []


def test_check_fails_when_nobody_answers(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = run_command(
        "check",
        TESSERABENCH_AGENT_COLLECTOR=f"127.0.0.1:{port}",
        TESSERABENCH_AGENT_STATE_DIR=str(tmp_path / "state"),
    )
    assert result.returncode == 1
    assert "FAILED: collector 127.0.0.1" in result.stdout
    assert "UNAVAILABLE" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["run", "check"])
def test_broken_settings_file_is_one_clear_line_and_exit_code_two(tmp_path: Path, command: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[budgets]\nprepare = -1\n", encoding="utf-8")
    result = run_command(command, "--config", str(file))
    assert result.returncode == 2
    assert result.stderr.strip().splitlines() == [
        f"tesserabench-agent: file {file}: key budgets.prepare is -1: input should be greater than 0"
    ]


def test_metrics_address_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = run_command(
            "run",
            TESSERABENCH_AGENT_METRICS_LISTEN=address,
            TESSERABENCH_AGENT_STATE_DIR=str(tmp_path / "state"),
        )
    assert result.returncode == 1
    assert f"metrics_listen {address} cannot be opened" in result.stderr
    assert "Traceback" not in result.stderr


def test_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    result = run_command("run", TESSERABENCH_AGENT_STATE_DIR=str(blocked / "state"))
    assert result.returncode == 4
    assert "set another state_dir" in result.stderr


def test_version_and_help_are_quick_and_name_the_commands() -> None:
    assert run_command("version").stdout.startswith("tesserabench-agent ")
    shown = run_command("--help").stdout
    assert all(word in shown for word in ("run", "check", "version", "Examples:"))
