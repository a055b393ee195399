"""The collector's shipped unit under a real systemd, with a PostgreSQL of its own inside the same walls."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nspawn import BootedTree, installation, tree_or_skip
from support.prometheus_stack import REPOSITORY
from support.waiting import wait_until

pytestmark = pytest.mark.system

SYSTEMD = REPOSITORY / "deploy" / "systemd"
UNIT = "tesserabench-collector.service"
STATE = "/var/lib/tesserabench-collector"
SETTINGS = """\
grpc_listen = "127.0.0.1:0"
web_listen = "127.0.0.1:0"
"""
# How the operator's guide says to run a command as the collector does.
AS_THE_COLLECTOR = (
    "runuser",
    "--user=tesserabench-collector",
    "--",
    "env",
    "XDG_STATE_HOME=/var/lib",
    "/opt/tesserabench/bin/tesserabench-collector",
)


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
        boot.run("systemd-sysusers")
        boot.run("systemd-tmpfiles", "--create", "tesserabench.conf")
        boot.write("/etc/tesserabench/collector.toml", SETTINGS)
        boot.run("systemctl", "daemon-reload")
        boot.start_unit(UNIT)
        yield boot


def get(boot: BootedTree, path: str) -> bytes:
    address = json.loads(boot.run("cat", f"{STATE}/addresses.json"))["web"]
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        body: bytes = answer.read()
        return body


def main_process(boot: BootedTree) -> int:
    return int(boot.show(UNIT, "MainPID"))


def test_collector_serves_as_its_own_user_with_a_database_of_its_own(boxed: BootedTree) -> None:
    assert boxed.show(UNIT, "StatusText")
    owner = boxed.run("stat", "--format=%U", f"/proc/{main_process(boxed)}").strip()
    assert owner == "tesserabench-collector"
    assert get(boxed, "/readyz")
    wait_until(
        lambda: b"tesserabench_database_up 1.0" in get(boxed, "/metrics"), seconds=30, what="the database to be up"
    )


def test_killed_collector_comes_back_with_what_it_knew(boxed: BootedTree) -> None:
    boxed.run("systemctl", "stop", UNIT)
    boxed.run(*AS_THE_COLLECTOR, "token", "create", "--name", "gpu-1", "--role", "agent:gpu-1")
    boxed.start_unit(UNIT)
    before = main_process(boxed)
    boxed.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", UNIT)
    wait_until(
        lambda: boxed.show(UNIT, "ActiveState") == "active" and main_process(boxed) not in {0, before},
        seconds=90,
        what="a new collector process",
    )
    assert get(boxed, "/readyz")
    boxed.run("systemctl", "stop", UNIT)
    assert "gpu-1" in boxed.run(*AS_THE_COLLECTOR, "token", "list")


def test_stopping_is_orderly_and_leaves_no_process_of_the_database(boxed: BootedTree) -> None:
    boxed.run("systemctl", "stop", UNIT)
    assert boxed.show(UNIT, "Result") == "success"
    assert boxed.show(UNIT, "ExecMainStatus") == "0"
    assert "killing" not in boxed.journal(UNIT).lower()
