"""The page that explains verdicts has a section for every word that can be answered, and pictures that still hold."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.cause_pictures import causes
from support.gate_pictures import quality, reasons, verdicts
from support.history_pictures import noises, shapes
from support.verdict_pictures import FOLDER, pictures
from tesserabench.analysis.attribution import Cause
from tesserabench.analysis.changepoints import NoiseClass, SeriesAnalysis, Status
from tesserabench.analysis.quality import QualityAnswer
from tesserabench.analysis.words import Reason, Severity, Verdict
from tesserabench.collector.store.history_words import ChangeState, SeriesState
from tesserabench.collector.store.words import FindingKind, RegressionState

PAGE = FOLDER.parent / "verdicts.md"
TEXT = PAGE.read_text(encoding="utf-8")
PARTS: Mapping[str, Iterable[type[StrEnum]]] = {
    "Verdicts": (Verdict,),
    "Severities": (Severity,),
    "Reasons": (Reason,),
    "Causes": (Cause,),
    "Noise": (NoiseClass,),
    "States of a change": (Status, ChangeState, SeriesState),
    "Kinds of finding": (FindingKind,),
    "States of a finding": (RegressionState,),
}
WITH_PICTURES = ("Verdicts", "Reasons", "Causes", "Histories", "Noise")
DRAWN = dict(pictures())


def part(title: str) -> str:
    """What stands below a heading of the second level."""
    _, _, rest = TEXT.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def sections(title: str) -> dict[str, str]:
    """The sections of a part by the last word of their heading."""
    found = re.split(r"^### (.+)$", part(title), flags=re.MULTILINE)
    return {name.split()[-1].strip("`"): text for name, text in zip(found[1::2], found[2::2], strict=True)}


@pytest.mark.parametrize("title", PARTS)
def test_every_word_has_its_section_and_no_other(title: str) -> None:
    words = {member.value for words in PARTS[title] for member in words}
    told = sections(title)
    assert set(told) == words
    assert all(len(text.strip()) > 15 for text in told.values())


@pytest.mark.parametrize("title", WITH_PICTURES)
def test_every_section_has_a_picture(title: str) -> None:
    assert sections(title)
    for word, text in sections(title).items():
        assert re.search(r"!\[[^\]]+\]\(pictures/[a-z_-]+\.svg\)", text), word


def test_pictures_are_those_that_are_drawn() -> None:
    linked = {FOLDER / name for name in re.findall(r"\(pictures/([a-z_-]+\.svg)\)", TEXT)}
    assert linked == set(DRAWN) == set(FOLDER.glob("*.svg"))


@pytest.mark.parametrize("path", DRAWN, ids=lambda path: path.stem)
def test_picture_says_what_the_program_says(path: Path) -> None:
    # Words and numbers, not pixels: the last digit of a coordinate is no business of a reader.
    assert _words(path.read_text(encoding="utf-8")) == _words(DRAWN[path]), f"{path} is behind the code: make docs"


def _words(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter() if element.tag.endswith("}text")]


def test_answers_are_those_that_the_page_names() -> None:
    assert {verdict: look.judgement.verdict for verdict, look in verdicts().items()} == {word: word for word in Verdict}
    assert quality()[1].answer is QualityAnswer.FAIL
    of_the_gate = set(Reason) - {Reason.NOT_REPRODUCED, Reason.NOT_CONFIRMED, Reason.QUALITY_LIMIT}
    told = {reason: looks[-1].judgement.reason for reason, looks in reasons().items()}
    assert {reason: told[reason] for reason in of_the_gate} == {reason: reason for reason in of_the_gate}
    for cause, story in causes().items():
        assert [one.cause for one in story.found] == [cause]


def test_histories_are_what_the_page_says_of_them() -> None:
    told = {name: history.analysis for name, history in shapes().items()}
    assert _steps(told["step"]) == [(55, Status.CONFIRMED)]
    assert _steps(told["suspected"]) == [(87, Status.SUSPECTED)]
    assert _steps(told["driver-change"]) == [(48, Status.CONFIRMED)]
    for name in ("drift", "transient", "two-modes", "one-slow-host"):
        assert _steps(told[name]) == [], name
    assert len(told["drift"].drifts) == 1


def test_noise_is_called_what_the_page_calls_it() -> None:
    for noise, history in noises().items():
        assert {segment.noise for segment in history.analysis.segments} == {noise}


def _steps(analysis: SeriesAnalysis) -> list[tuple[int, Status]]:
    return [(change.index, change.status) for change in analysis.changes]
