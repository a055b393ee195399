"""What tbctl does when nobody reads it, when the disk behind a stream is full, and with names that try to steer."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.tbctl import PROCESS, Tbctl, clean_environment
from tesserabench.cli.errors import CliError
from tesserabench.cli.output.streams import tell, write_through
from tesserabench.cli.output.table import clean, clean_lines

SERIES = '{"values": [1, 2, 3], "meta": {"hosts": ["a", "b", "a\\u001b[2J\\u202eb"]}}'
PAIR = '{"base": [[1.0, 2.0]], "new": [[1.0, 2.0]]}'


@pytest.fixture
def tbctl(capsys: pytest.CaptureFixture[str], home: Path) -> Tbctl:
    """tbctl without a collector."""
    del home
    return Tbctl(capture=capsys)


def test_a_full_disk_behind_stdout_is_named_and_what_follows_goes_nowhere() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        with pytest.raises(CliError, match="/dev/full: cannot be written"):
            write_through(full, "result\n")
        assert write_through(full, "more\n")


def test_a_full_disk_behind_stderr_changes_nothing() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        tell(full, "progress\n")


@pytest.mark.parametrize(("words", "line"), [(("detect", "--json-lines"), SERIES), (("-h",), "")])
def test_a_full_disk_is_an_error_of_the_tool(tmp_path: Path, words: Sequence[str], line: str) -> None:
    with clean_environment(tmp_path), open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [*PROCESS, *words], input=line, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert done.returncode == 1
    assert "cannot be written (No space left on device)" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_stream_whose_reader_went_away_ends_well(tmp_path: Path) -> None:
    reader = "import sys; sys.stdin.readline()"
    with (
        clean_environment(tmp_path),
        subprocess.Popen(
            [*PROCESS, "gate", "--json-lines"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as answering,
    ):
        assert answering.stdout is not None
        with subprocess.Popen([sys.executable, "-c", reader], stdin=answering.stdout):
            answering.stdout.close()
            answering.stdout = None
            _, said = answering.communicate(f"{PAIR}\n" * 3000, timeout=60)
    assert (answering.returncode, said) == (0, "")


def test_what_a_name_holds_cannot_steer_the_terminal_or_pass_for_a_line_of_ours(tbctl: Tbctl, tmp_path: Path) -> None:
    assert clean("a\x1b[2Jb\u202ec") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c"
    assert clean("two\r\n\tlines") == "two lines"
    assert clean_lines("a\x07\nb") == "a\N{REPLACEMENT CHARACTER}\nb"
    file = tmp_path / "series.json"
    file.write_text(json.dumps({"values": [1.0] * 8 + [2.0] * 8, "hosts": ["a\x1b[2J\nexit 0: passed", "b"] * 8}))
    said = tbctl("detect", str(file))
    assert "\x1b" not in said.out
    assert "\nexit 0" not in said.out
    assert "\x1b" not in tbctl("detect", "no\x1b[2Jsuch").err


def test_a_path_is_a_file_whatever_its_name(tbctl: Tbctl) -> None:
    said = tbctl("compare", "/dev/null", "/dev/null")
    assert said.status == 2
    assert "/dev/null is no JSON" in said.err
