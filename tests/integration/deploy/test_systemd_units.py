"""The shipped units: understood by systemd, without a warning, and closed as far as the daemons allow."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.prometheus_stack import REPOSITORY

SYSTEMD = REPOSITORY / "deploy" / "systemd"
UNITS = sorted(path.name for path in SYSTEMD.glob("*.service"))
# Tenths of systemd-analyze's exposure level, 0 to 100. Measured with systemd 252: agent 21, collector 15.
EXPOSURE_LIMITS = {"tesserabench-agent.service": 25, "tesserabench-collector.service": 20}


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; remedy: apt-get install systemd")
    return found


def verified(folder: Path, text: str, name: str) -> str:
    """What `systemd-analyze verify` has to say about a unit whose programs are replaced by one that exists."""
    unit = folder / name
    unit.write_text(re.sub(r"^(Exec\w+=[-+@!:]*)/\S+", r"\1/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", "--recursive-errors=no", str(unit)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return f"{done.stdout}{done.stderr}" + (f"exit status {done.returncode}" if done.returncode else "")


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_line(name: str, tmp_path: Path) -> None:
    assert verified(tmp_path, (SYSTEMD / name).read_text(), name) == ""


@pytest.mark.parametrize("mistake", ["Restrat=always", "WatchdogSec=soon", "SystemCallFilter=@no-such-set"])
def test_a_mistake_in_a_unit_would_be_seen(mistake: str, tmp_path: Path) -> None:
    text = (SYSTEMD / "tesserabench-agent.service").read_text().replace("[Install]", f"{mistake}\n\n[Install]")
    said = verified(tmp_path, text, "tesserabench-agent.service")
    assert "ignoring" in said
    assert mistake.split("=", maxsplit=1)[0] in said or mistake.split("=")[1] in said


@pytest.mark.parametrize(("name", "limit"), EXPOSURE_LIMITS.items())
def test_exposure_stays_below_its_limit(name: str, limit: int) -> None:
    done = subprocess.run(
        [
            tool("systemd-analyze"),
            "security",
            "--offline=true",
            "--no-pager",
            f"--threshold={limit}",
            str(SYSTEMD / name),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout[-400:] + done.stderr


def service(name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys of units are case sensitive
    parser.read(SYSTEMD / name)
    return dict(parser["Service"])


def test_agent_reaches_gpus_and_outlives_its_benchmarks() -> None:
    unit = service("tesserabench-agent.service")
    assert unit["DeviceAllow"] == "char-nvidia* rw"
    assert "PrivateDevices" not in unit
    assert unit["OOMPolicy"] == "continue"
    assert unit["KillMode"] == "mixed"


@pytest.mark.parametrize("name", EXPOSURE_LIMITS)
def test_daemons_tell_systemd_when_they_are_ready_and_alive(name: str) -> None:
    unit = service(name)
    assert unit["Type"] == "notify"
    assert int(unit["WatchdogSec"]) > 0
    assert unit["Restart"] == "on-failure"


@pytest.mark.skipif(os.geteuid() != 0, reason="giving folders to users needs root; run as root to see this")
def test_users_and_folders_are_created_in_a_fresh_system(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "etc" / "group").write_text("root:x:0:\n")
    for command, file in (
        (["systemd-sysusers"], "sysusers.d/tesserabench.conf"),
        (["systemd-tmpfiles", "--create"], "tmpfiles.d/tesserabench.conf"),
    ):
        done = subprocess.run(
            [tool(command[0]), *command[1:], f"--root={tmp_path}", str(SYSTEMD / file)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    users = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    assert {service(name)["User"] for name in EXPOSURE_LIMITS} <= users
    assert (tmp_path / "etc" / "tesserabench").is_dir()
