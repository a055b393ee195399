"""Every word that measuring can put into a result is explained, and nothing is explained that does not exist."""

from enum import IntFlag, StrEnum

import pytest
from tesserabench.bench.bundle.beginning import TEMPLATES as LIBRARY_TEMPLATES
from tesserabench.bench.vocabulary import (
    Backend,
    CacheKind,
    Flag,
    Mode,
    Outcome,
    SampleFlag,
    StopReason,
    TrialFlag,
)
from tesserabench.cli.commands.bench_explain import words
from tesserabench.cli.commands.bench_new import TEMPLATES
from tesserabench.cli.commands.bench_run import _BACKENDS, _MODES
from tesserabench.cli.explanations import OUTCOMES
from tesserabench.cli.measuring_words import BACKENDS, CACHES, FLAGS, KINDS, MODES, SAMPLE_FLAGS, STOP_REASONS, THROTTLE
from tesserabench.v1 import measurement_pb2 as pb


@pytest.mark.parametrize(
    ("table", "vocabulary"),
    [(STOP_REASONS, StopReason), (MODES, Mode), (BACKENDS, Backend), (CACHES, CacheKind)],
)
def test_table_has_exactly_the_words_of_the_library(table: dict[str, object], vocabulary: type[StrEnum]) -> None:
    assert set(table) == {word.value for word in vocabulary}


def test_every_flag_of_the_library_is_explained() -> None:
    assert {word.value for flags in (Flag, TrialFlag) for word in flags} - set(FLAGS) == set()


def test_every_outcome_flag_of_a_sample_and_throttle_class_is_explained() -> None:
    assert {word.value for word in Outcome} - set(OUTCOMES) == set()
    assert issubclass(SampleFlag, IntFlag)
    assert set(SAMPLE_FLAGS) == {flag.name.lower() for flag in SampleFlag if flag.name}
    for flag in SampleFlag:
        assert flag.name is not None
        assert SAMPLE_FLAGS[flag.name.lower()][1].startswith(f"bit {flag.value}")
    classes = [name.removeprefix("THROTTLE_CLASS_").lower() for name in pb.ThrottleClass.keys()]  # noqa: SIM118 - an enum wrapper
    assert set(THROTTLE) == set(classes) - {"unspecified"}


def test_every_word_says_what_it_means_and_what_to_do() -> None:
    for word in words():
        assert " " in word.meaning, word
        assert word.remedy, word
        assert not word.meaning.endswith("."), word


def test_choices_of_the_command_line_are_those_of_the_library() -> None:
    assert set(_MODES) == {mode.value for mode in Mode}
    assert set(_BACKENDS) == {backend.value for backend in Backend}
    assert set(TEMPLATES) == set(LIBRARY_TEMPLATES)
    assert set(KINDS["mode"]) == set(_MODES)
