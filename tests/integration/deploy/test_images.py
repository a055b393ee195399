"""The image recipes: clean, unprivileged, and from locked and hashed packages alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.prometheus_stack import REPOSITORY

DOCKERFILES = ["Dockerfile.agent", "Dockerfile.collector"]
REQUIREMENTS = ["agent", "agent-cuda12", "agent-cuda13", "collector", "build"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_has_nothing_to_say(name: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [hadolint, REPOSITORY / name], check=False, capture_output=True, text=True, timeout=60, cwd=REPOSITORY
    )
    assert (done.returncode, done.stdout) == (0, "")


def instructions(name: str) -> list[str]:
    text = re.sub(r"^#.*\n", "", (REPOSITORY / name).read_text(), flags=re.MULTILINE)
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_image_runs_unprivileged_stops_in_order_and_says_whether_it_is_well(name: str) -> None:
    last_stage = instructions(name)[instructions(name).index("FROM ${BASE}") :]
    assert "USER 10001:10001" in last_stage
    assert "STOPSIGNAL SIGTERM" in last_stage
    assert any(line.startswith("HEALTHCHECK") for line in last_stage)
    assert not any(re.search(r"\b(curl|wget|pip)\b", line) for line in last_stage)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_base_can_be_chosen_and_every_package_is_checked_by_its_hash(name: str) -> None:
    lines = instructions(name)
    assert lines[0] == "ARG BASE=debian:bookworm-slim"
    assert {line for line in lines if line.startswith("FROM ")} == {"FROM ${BASE} AS build", "FROM ${BASE}"}
    installs = re.findall(r"pip install ([^&]+)", "\n".join(lines))
    assert installs
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)


def locked(name: str) -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for package, version in re.findall(
        r"^([\w.-]+)==(\S+)", (REPOSITORY / "requirements" / f"{name}.txt").read_text(), re.MULTILINE
    ):
        versions.setdefault(package, set()).add(version)
    return versions


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_locked_packages_carry_hashes_and_no_address(name: str) -> None:
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text()
    assert text.count("==") <= text.count("--hash=sha256:")
    assert "://" not in text


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_images_have_the_versions_that_the_tests_ran_with(name: str) -> None:
    tested = locked("dev")
    shipped = locked(name)
    assert shipped
    assert {
        package: versions for package, versions in shipped.items() if versions != tested.get(package, versions)
    } == {}
