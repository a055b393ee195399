"""The driver of the check on a GPU host, with sections that end in every way."""

import json
from pathlib import Path

import pytest
from support.gpu_check import SECTIONS, Section, run_all

NINE_MINUTES = 540
WRITE = "import json, sys; open(sys.argv[-1], 'w').write(json.dumps({}) + '\\n'); {}"


def section(name: str, *, holds: bool | None = None, then: str = "pass", limit_seconds: float = 30) -> Section:
    line = {"section": name, "name": "reading", "value": 1.5, "unit": "us", "goal": "", "holds": holds, "remark": ""}
    return Section(name=name, arguments=("-c", WRITE.format(line, then)), limit_seconds=limit_seconds)


def test_limits_of_all_sections_fit_in_nine_minutes() -> None:
    assert sum(item.limit_seconds for item in SECTIONS) < NINE_MINUTES


def test_every_section_program_exists() -> None:
    for item in SECTIONS:
        assert Path(item.arguments[0]).is_file(), item.name


@pytest.mark.parametrize(
    ("held", "status"),
    [pytest.param(True, 0, id="held"), pytest.param(None, 0, id="reading"), pytest.param(False, 1, id="missed")],
)
def test_exit_status_tells_whether_goals_were_missed(held: bool | None, status: int, tmp_path: Path) -> None:
    assert run_all([section("one", holds=held)], tmp_path) == status


def test_crash_and_hang_end_their_section_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sections = [
        section("crash", then="import os; os.kill(os.getpid(), 11)"),
        section("hang", then="sys.stdout.flush(); import threading; threading.Event().wait()", limit_seconds=3),
        section("fine", holds=True),
    ]
    assert run_all(sections, tmp_path) == 1
    found = json.loads((tmp_path / "check.json").read_text())["lines"]
    assert [(line["section"], line["name"], line["holds"]) for line in found] == [
        ("crash", "reading", None),
        ("crash", "section", False),
        ("hang", "reading", None),
        ("hang", "section", False),
        ("fine", "reading", True),
    ]
    table = capsys.readouterr().out
    assert "exit status -11" in table
    assert "ended at its limit of 3 s" in table
    assert table.rstrip().splitlines()[-1].startswith("2 of 3 goals missed")
