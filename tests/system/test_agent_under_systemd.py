"""The agent's shipped unit under a real systemd: readiness, the watchdog, restarts, its own user, an orderly end."""

import asyncio
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_collector import running_collector
from support.nspawn import BootedTree, installation, tree_or_skip
from support.prometheus_stack import REPOSITORY
from support.waiting import wait_until
from tesserabench.v1.measurement_pb2 import OUTCOME_OK
from tesserabench.v1.run_pb2 import TIER_SMOKE, RunSpec

pytestmark = pytest.mark.system

SYSTEMD = REPOSITORY / "deploy" / "systemd"
UNIT = "tesserabench-agent.service"
STATE = "/var/lib/tesserabench-agent"
SETTINGS = """\
collector = "127.0.0.1:9"
host = "boxed"
devices = ["cpu"]
metrics_listen = "127.0.0.1:0"
drain_seconds = 2
flush_seconds = 1
"""
# A shorter leash, so that the test need not wait for a minute.
SHORT_LEASH = "[Service]\nWatchdogSec=8\nTimeoutAbortSec=2\n"


def started(boot: BootedTree) -> BootedTree:
    """Do what the operator's guide says, and start the agent."""
    boot.run("systemd-sysusers")
    boot.run("systemd-tmpfiles", "--create", "tesserabench.conf")
    boot.write("/etc/tesserabench/agent.toml", SETTINGS)
    boot.run("systemctl", "daemon-reload")
    boot.start_unit(UNIT)
    return boot


@pytest.fixture
def boxed(tmp_path: Path) -> Iterator[BootedTree]:
    tree = tree_or_skip()
    mounts = {
        **installation(tmp_path / "opt"),
        **{str(path): f"/etc/systemd/system/{path.name}" for path in SYSTEMD.glob("*.service")},
        str(SYSTEMD / "sysusers.d" / "tesserabench.conf"): "/etc/sysusers.d/tesserabench.conf",
        str(SYSTEMD / "tmpfiles.d" / "tesserabench.conf"): "/etc/tmpfiles.d/tesserabench.conf",
    }
    with BootedTree(tree, tmp_path / "boot.log", mounts) as boot:
        yield started(boot)


def main_process(boot: BootedTree) -> int:
    return int(boot.show(UNIT, "MainPID"))


def is_restarted(boot: BootedTree, before: int) -> bool:
    return boot.show(UNIT, "ActiveState") == "active" and main_process(boot) not in {0, before}


def test_agent_says_that_it_is_ready_and_runs_as_its_own_user(boxed: BootedTree) -> None:
    assert boxed.show(UNIT, "ActiveState") == "active"
    assert boxed.show(UNIT, "StatusText")
    uid = boxed.run("stat", "--format=%U", f"/proc/{main_process(boxed)}").strip()
    assert uid == "tesserabench-agent"
    assert boxed.run("stat", "--format=%U %a", STATE).split() == ["tesserabench-agent", "700"]
    address = boxed.run("cat", f"{STATE}/metrics.addr").strip()
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        assert b'tesserabench_agent_info{host="boxed"' in answer.read()
    assert "boxed" in boxed.journal(UNIT)


async def test_walls_of_the_unit_leave_room_for_a_measurement(boxed: BootedTree) -> None:
    async with running_collector() as collector:
        settings = SETTINGS.replace("127.0.0.1:9", collector.address)
        await asyncio.to_thread(boxed.write, "/etc/tesserabench/agent.toml", settings)
        await asyncio.to_thread(boxed.run, "systemctl", "restart", UNIT)
        key = await collector.assign(1, RunSpec(suite="core", tier=TIER_SMOKE, device="cpu", trials=1))
        closing = await collector.until_closed(key, seconds=120)
        outcomes = {finished.result.outcome for finished in collector.of(key).results}
        journal = await asyncio.to_thread(boxed.journal, UNIT)
    assert closing.outcome == OUTCOME_OK, journal
    assert outcomes == {OUTCOME_OK}


def test_killed_agent_is_started_again(boxed: BootedTree) -> None:
    before = main_process(boxed)
    boxed.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", UNIT)
    wait_until(lambda: is_restarted(boxed, before), seconds=60, what="a new agent process")
    assert boxed.show(UNIT, "NRestarts") == "1"


def test_frozen_agent_is_found_by_the_watchdog_and_started_again(boxed: BootedTree) -> None:
    boxed.write(f"/etc/systemd/system/{UNIT}.d/leash.conf", SHORT_LEASH)
    boxed.run("systemctl", "daemon-reload")
    boxed.run("systemctl", "restart", UNIT)
    before = main_process(boxed)
    boxed.run("systemctl", "kill", "--signal=STOP", "--kill-who=main", UNIT)
    wait_until(lambda: is_restarted(boxed, before), seconds=60, what="a new agent process")
    assert "watchdog" in boxed.run("journalctl", "--no-pager", "--output=cat", f"--unit={UNIT}").lower()


def test_stopping_is_orderly(boxed: BootedTree) -> None:
    boxed.run("systemctl", "stop", UNIT)
    assert boxed.show(UNIT, "ActiveState") == "inactive"
    assert boxed.show(UNIT, "Result") == "success"
    assert boxed.show(UNIT, "ExecMainStatus") == "0"


def test_wrong_settings_are_named_and_not_tried_again(boxed: BootedTree) -> None:
    boxed.run("systemctl", "stop", UNIT)
    boxed.write("/etc/tesserabench/agent.toml", 'collectr = "127.0.0.1:9"\n')
    with pytest.raises(AssertionError, match="collectr"):
        boxed.start_unit(UNIT)
    assert boxed.show(UNIT, "ActiveState") == "failed"
    assert boxed.show(UNIT, "ExecMainStatus") == "2"
    assert boxed.show(UNIT, "NRestarts") == "0"


def test_unit_hides_homes_and_other_devices_from_the_agent(boxed: BootedTree) -> None:
    inside = ["nsenter", f"--target={main_process(boxed)}", "--mount", "--"]
    assert boxed.run(*inside, "ls", "-A", "/home") == ""
    with pytest.raises(AssertionError, match="Read-only file system"):
        boxed.run(*inside, "touch", "/usr/lib/probe")
