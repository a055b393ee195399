"""`tbctl detect`: series from files and streams, answers for people and programs."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tbctl import Tbctl

STEP = [round(100 + 0.3 * ((7 * place) % 5 - 2) + (8 if place >= 30 else 0), 2) for place in range(60)]


@pytest.fixture
def tbctl(capsys: pytest.CaptureFixture[str], home: Path) -> Tbctl:
    """tbctl without a collector."""
    del home
    return Tbctl(capture=capsys)


def test_a_stream_gets_an_answer_for_every_line(tbctl: Tbctl, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"values": STEP, "meta": {"id": "x"}},
        {"values": [*STEP[:20], None, *STEP[20:]]},
        {"values": [5.0, 5.0], "meta": {"hosts": ["a"]}},
        {"values": [1, "fast"]},
        [1, 2, 3],
    ]
    text = "\n".join([*map(json.dumps, lines), "", "{oops", json.dumps({"values": []}), f"[{'9' * 5000}]", "[1]"])
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    said = tbctl("detect", "--json-lines")
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert said.status == 0
    assert answers[:2] == [[30], [31]]
    assert answers[2] == {"error": "hosts: 1 names for 2 values; give one for each"}
    assert answers[3] == {"error": 'values[1]: "fast" is no number'}
    assert answers[4] == []
    assert "not JSON" in answers[5]["error"]
    assert answers[6] == []
    assert "5000 digits" in answers[7]["error"]
    assert answers[8] == []


def test_people_see_a_chart_and_the_changes(tbctl: Tbctl, tmp_path: Path) -> None:
    file = tmp_path / "times.csv"
    file.write_text("commit,median\n" + "".join(f"c{place},{value}\n" for place, value in enumerate(STEP)))
    said = tbctl("detect", str(file), "--column", "median")
    assert said.status == 0
    assert "+8.0 %" in said.out
    assert "confirmed" in said.out
    assert "1 change in 60 points" in said.out
    assert len(tbctl("detect", str(file), "--column", "median", "--no-plot").out) < len(said.out)


def test_programs_get_the_whole_analysis(tbctl: Tbctl, tmp_path: Path) -> None:
    file = tmp_path / "series.json"
    file.write_text(json.dumps({"values": STEP, "hosts": ["a", "b"] * 30}))
    told = json.loads(tbctl("detect", str(file), "-o", "json").out)
    assert [(change["index"], change["state"]) for change in told["changes"]] == [(30, "confirmed")]
    assert [segment["end"] for segment in told["segments"]] == [30, 60]
    assert set(told["hostOffsets"]) == {"a", "b"}
    rows = tbctl("detect", str(file), "-o", "csv").out.splitlines()
    assert rows[0] == "index,between,change,before,after,state,strength"
    assert rows[1].startswith("30,")


def test_a_list_of_objects_has_columns(tbctl: Tbctl, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    rows = [{"median": value, "where": "ab"[place % 2], "n": 1} for place, value in enumerate(STEP)]
    file.write_text(json.dumps([*rows, {"median": None}]))
    told = json.loads(tbctl("detect", str(file), "--column", "median", "--host-column", "where", "-o", "json").out)
    assert [change["index"] for change in told["changes"]] == [30]
    assert told["points"] == 61
    assert {"a", "b"} <= set(told["hostOffsets"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "0 changes in 0 points: no point has a value"),
        ([1], "nothing can be told from 1 point with a value: changes need 6 points"),
        ([1, 2, None], "nothing can be told from 2 points with a value"),
        ([1, 2, 1, 2, 1, 2], "0 changes in 6 points; level"),
    ],
)
def test_too_few_points_are_said_to_be_too_few(tbctl: Tbctl, tmp_path: Path, values: list[float], words: str) -> None:
    file = tmp_path / "series.json"
    file.write_text(json.dumps(values))
    said = tbctl("detect", str(file), "--no-plot")
    assert (said.status, words in said.out) == (0, True)
    assert "would show" not in said.out or len(values) >= 6


def test_a_host_that_moves_alone_is_named(tbctl: Tbctl, tmp_path: Path) -> None:
    file = tmp_path / "series.json"
    values = [100 + 0.3 * (7 * place % 5) + (6 if place % 3 == 1 and place >= 60 else 0) for place in range(120)]
    file.write_text(json.dumps({"values": values, "hosts": ["one", "two", "three"] * 40}))
    assert "0 changes in 120 points" in (said := tbctl("detect", str(file)).out)
    assert "moved alone, which is no change of the series: two +" in said
    assert {move["host"] for move in json.loads(tbctl("detect", str(file), "-o", "json").out)["hostMoves"]} == {"two"}


def test_smaller_steps_can_be_left_out(tbctl: Tbctl, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text("\n".join(map(str, STEP)))
    assert "0 changes" in tbctl("detect", str(file), "--smallest-change", "0.2").out


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("a,b\n1,2\n", (), "which column? there are a, b"),
        ("a,b\n1,2\n", ("--column", "c"), "column 'c': there is none"),
        ("value\n1\nfast\n", (), 'line 3, value: "fast" is no number'),
        ("", (), "nothing to read"),
        ('{"numbers": []}', (), "give a list of numbers"),
        ("[1, 2", (), "not JSON"),
        ("[1, 2]", ("--column", "median"), "column 'median': a JSON list of numbers has no columns"),
        ('{"values": [1]}', ("--column", "median"), "column 'median': a JSON list of numbers has no columns"),
        ('[{"a": 1, "b": 2}]', (), "which column? there are a, b"),
        ('[{"a": "fast"}]', (), 'a[0]: "fast" is no number'),
        ('[{"a": 1}, 2]', (), "holds nothing but objects"),
        ("[" + "9" * 5000 + "]", (), "not JSON that can be read"),
    ],
)
def test_what_cannot_be_read_is_named(
    tbctl: Tbctl, tmp_path: Path, text: str, words: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "series"
    file.write_text(text)
    said = tbctl("detect", str(file), *words)
    assert said.status == 2
    assert message in said.err


def test_values_of_any_size_and_limits_that_are_none(tbctl: Tbctl, tmp_path: Path) -> None:
    file = tmp_path / "series.json"
    file.write_text("[1e400, 1e308, 1e-320, 1, 1, 1, 1, 1, 1, 1]")
    assert "in 10 points" in tbctl("detect", str(file)).out
    said = tbctl("detect", str(file), "--strictness", "nan")
    assert (said.status, "strictness must be from 0.1 to 10, not nan" in said.err) == (2, True)


def test_a_line_that_is_no_text_is_answered() -> None:
    lines = b'{"values": [1, 2]}\n\xff\n{"values": [1, 2]}\n'
    command = [sys.executable, "-m", "tesserabench.cli", "detect", "--json-lines"]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, input=lines, env=environment, capture_output=True, check=True, timeout=60)
    first, error, last = map(json.loads, done.stdout.splitlines())
    assert (first, list(error), last) == ([], ["error"], [])


def test_a_file_is_wanted_and_must_be_there(tbctl: Tbctl, tmp_path: Path) -> None:
    assert "detect wants a file" in tbctl("detect").err
    assert "cannot be read" in tbctl("detect", str(tmp_path / "none.csv")).err
    assert "--json-lines reads stdin" in tbctl("detect", "--json-lines", "x.json").err
