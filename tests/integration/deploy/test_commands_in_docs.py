"""Every tbctl command that an alert, a runbook or the operator's guide names is one that tbctl has."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.prometheus_stack import REPOSITORY, SHIPPED_RULES

TBCTL = Path(sys.executable).parent / "tbctl"
PAGES = [
    *sorted((REPOSITORY / "docs" / "runbooks").glob("*.md")),
    REPOSITORY / "docs" / "guide" / "operate.md",
    *sorted(SHIPPED_RULES.glob("*.yaml")),
]
GLOBAL_OPTIONS = {"-o", "--project"}


def named_commands() -> Iterator[tuple[str, frozenset[str]]]:
    for page in PAGES:
        for group, verb, rest in re.findall(r"\btbctl ([a-z]+) ([a-z-]+)([^`\n]*)", page.read_text()):
            yield f"{group} {verb}", frozenset(re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest)) - GLOBAL_OPTIONS


@pytest.mark.parametrize("command", sorted({command for command, _ in named_commands()}))
def test_command_exists_with_the_options_that_are_named(command: str) -> None:
    done = subprocess.run([TBCTL, *command.split(), "--help"], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    options = {option for name, named in named_commands() if name == command for option in named}
    assert {option for option in options if option not in done.stdout} == set()


def test_a_command_that_does_not_exist_would_be_seen() -> None:
    done = subprocess.run([TBCTL, "run", "frobnicate", "--help"], check=False, capture_output=True, timeout=60)
    assert done.returncode != 0
