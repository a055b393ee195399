"""Help: fast, complete, and with examples that are true."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support.tbctl import PROCESS, Tbctl
from tesserabench.cli.catalogue import ENTRIES
from tesserabench.cli.grammar import LazyGroup, Noun, TesseraCommand, group_of
from tesserabench.cli.main import root

SLOW = (
    "numpy",
    "scipy",
    "grpc",
    "google.protobuf",
    "rich",
    "yaml",
    "sqlalchemy",
    "tesserabench.bench",
    "tesserabench.v1",
)

LINES = [
    (name, *([verb] if verb else []))
    for name, entry in ENTRIES.items()
    for verb in (entry.verbs if isinstance(entry, Noun) else ("",))
]


def imported_by(*words: str) -> tuple[set[str], int]:
    """The modules of a fresh process after a command, and its status."""
    code = (
        "import json, sys\n"
        "from tesserabench.cli.main import run\n"
        f"status = run({list(words)!r})\n"
        "print(json.dumps([status, sorted(sys.modules)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    return set(modules), status


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("completion", "bash"), ("run", "lst")])
def test_help_imports_nothing_slow(words: tuple[str, ...], home: Path) -> None:
    modules, _ = imported_by(*words)
    assert not modules & set(SLOW)
    assert "click" in modules


def test_list_of_runs_imports_no_numbers_library(home: Path) -> None:
    modules, status = imported_by("run", "list", "--server", "127.0.0.1:1", "--retries", "0")
    assert status == 7
    assert not modules & {"numpy", "scipy", "rich", "sqlalchemy", "tesserabench.bench"}
    assert "grpc" in modules


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_help_of_every_command_ends_with_examples(line: tuple[str, ...], tbctl: Tbctl) -> None:
    said = tbctl(*line, "--help")
    assert said.status == 0, said.err
    _, found, examples = said.out.partition("\nExamples:\n")
    assert found
    assert f"tbctl {' '.join(line)}" in examples
    assert max(map(len, said.out.splitlines())) <= 120


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if isinstance(entry, Noun)])
def test_help_of_every_noun_ends_with_examples(name: str, tbctl: Tbctl) -> None:
    assert "\nExamples:\n" in tbctl(name, "--help").out


def find(line: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = root
    words = list(line)
    while isinstance(command, LazyGroup):
        name = words.pop(0)
        entry = command.entries[name]
        context = click.Context(command)
        found = group_of(name, entry) if isinstance(entry, Noun) else command.get_command(context, name)
        assert found is not None
        command = found
    return command, words


def all_examples() -> list[str]:
    examples = [*root.examples]
    for entry in ENTRIES.values():
        if isinstance(entry, Noun):
            examples += entry.examples
    for line in LINES:
        command, _ = find(list(line))
        assert isinstance(command, TesseraCommand)
        examples += command.examples
    return sorted({example.line for example in examples})


@pytest.mark.parametrize("line", all_examples())
def test_every_example_can_be_parsed(line: str) -> None:
    words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
    assert words[0] == "tbctl"
    command, rest = find(words[1:])
    command.make_context(words[-1], rest)


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_line_in_the_list_says_what_the_command_says(line: tuple[str, ...]) -> None:
    command, _ = find(list(line))
    assert command.help
    assert command.name == line[-1]


@pytest.mark.parametrize(("typed", "meant"), [("rn", "run"), ("regresion", "regression"), ("benhc", "bench")])
def test_mistyped_command_is_answered_with_the_nearest(typed: str, meant: str, tbctl: Tbctl) -> None:
    said = tbctl(typed, "list")
    assert said.status == 2
    assert f"did you mean {meant!r}?" in said.last_line


def test_word_that_is_near_to_nothing_is_answered_with_the_list(tbctl: Tbctl) -> None:
    assert "there are: run, result" in tbctl("zzzzzz").err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, tbctl: Tbctl) -> None:
    said = tbctl("completion", shell)
    assert said.status == 0
    assert "_TBCTL_COMPLETE" in said.out
    assert tbctl("completion", "tcsh").status == 2


def test_completion_knows_the_commands(home: Path) -> None:
    done = subprocess.run(
        PROCESS,
        env={"_TBCTL_COMPLETE": "bash_complete", "COMP_WORDS": "tbctl run wa", "COMP_CWORD": "2", "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "watch" in done.stdout, done.stderr


def test_explain_knows_every_word_in_any_case(tbctl: Tbctl) -> None:
    assert "130" in tbctl("explain", "130").out
    assert "unpin" in tbctl("explain", "baseline_pinned").out
    said = tbctl("explain", "throtled")
    assert said.status == 2
    assert "did you mean 'throttled'?" in said.err


def test_version_is_shown(tbctl: Tbctl) -> None:
    assert tbctl("--version").out.startswith("tbctl ")


def test_reader_that_goes_away_changes_no_status(home: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shlex.join(PROCESS)} explain -o json | head -c 1 > /dev/null"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
