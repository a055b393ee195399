"""Pages that are written from the code say what the code says; the guide explains every word that can occur."""

import re
from pathlib import Path

import pytest
from support.reference_pages import REPOSITORY, pages
from tesserabench.bench import METRICS
from tesserabench.cli.commands.bench_explain import words
from tesserabench.cli.measuring_words import FLAGS

PAGES = pages()
_LITERAL_FLAG = re.compile(r"""(?:\.flag\(|flags\.append\()\s*["']([a-z_]+)["']""")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == PAGES[path], f"{path} is behind the code: make docs"


def test_guide_explains_every_word_of_a_result() -> None:
    text = (REPOSITORY / "docs" / "guide" / "measuring.md").read_text()
    for word in words():
        assert f"| `{word.word}` | {word.meaning} |" in text


def test_flags_that_other_rooms_write_are_explained_too() -> None:
    rooms = [REPOSITORY / "agent" / "tesserabench" / room for room in ("agent", "bench")]
    written = {
        flag for room in rooms for path in room.rglob("*.py") for flag in _LITERAL_FLAG.findall(path.read_text())
    }
    assert {"worker_restarted", "samples_dropped"} <= written
    assert written - set(FLAGS) == set()


def test_every_metric_has_a_sentence() -> None:
    text = PAGES[REPOSITORY / "docs" / "reference" / "metrics.md"]
    for metric in METRICS:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{metric.name}` |")]
        assert len(row.split(" | ")[4]) > 10, row
