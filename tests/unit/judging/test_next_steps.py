"""What can be done about a finding is said for every state, and is what its state lets people do."""

import re
import shlex
from datetime import UTC, datetime

import click
import pytest
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.wording import regressed
from tesserabench.analysis.words import Verdict
from tesserabench.cli.main import root
from tesserabench.collector.core.finding_evidence import told
from tesserabench.collector.core.finding_life import ANSWERS, TRANSITIONS, Event
from tesserabench.collector.core.next_steps import next_steps, possible
from tesserabench.collector.core.triage import RESOLUTIONS
from tesserabench.collector.store.tables import Regression
from tesserabench.collector.store.words import FindingKind, RegressionState
from tesserabench.report.comparison_json import _advice

EVENTS = {
    "ack": Event.ACKNOWLEDGED,
    "assign": Event.ASSIGNED,
    "accept": Event.ACCEPTED,
    "ignore": Event.IGNORED,
    "reopen": Event.REOPENED,
}


def _finding(state: RegressionState, *, kind: FindingKind = FindingKind.REGRESSION, drill: bool = False) -> Regression:
    return Regression(id=7, state=state.value, kind=kind.value, drill=drill, run_id=42, ignored_until=None)


def _event_of(command: str) -> Event:
    words = shlex.split(command)
    if words[2] != "resolve":
        return EVENTS[words[2]]
    return RESOLUTIONS[words[words.index("--as") + 1].replace("-", "_")]


@pytest.mark.parametrize("state", RegressionState)
def test_every_step_is_one_that_the_state_allows_and_that_tbctl_reads(state: RegressionState) -> None:
    steps = next_steps(_finding(state))
    commands = [step.command for step in steps if step.command]
    assert commands, state
    for command in commands:
        words = shlex.split(command)
        if words[1] == "regression" and words[2] != "get":
            assert (state, _event_of(command)) in TRANSITIONS
        group = root.get_command(click.Context(root), words[1])
        assert isinstance(group, click.Group)
        verb = group.get_command(click.Context(group), words[2])
        assert verb is not None
        # Read as it would be typed; nothing is run.
        verb.make_context(words[2], [re.sub("^NAME$", "ann", word) for word in words[3:]])


def test_a_duplicate_leads_to_the_one_that_is_to_be_answered() -> None:
    finding = _finding(RegressionState.DUPLICATE)
    finding.duplicate_of = 3
    assert next_steps(finding)[0].command == "tbctl regression get 3"
    assert possible(finding) == "tbctl regression get 3, tbctl regression reopen 7"


def test_only_results_have_a_level_to_accept() -> None:
    confirmed = RegressionState.CONFIRMED
    accepts = [
        any(" accept " in step.command for step in next_steps(finding))
        for finding in (
            _finding(confirmed),
            _finding(confirmed, kind=FindingKind.SLOW_DEVICE),
            _finding(confirmed, drill=True),
        )
    ]
    assert accepts == [True, False, False]


def test_who_ignored_it_until_a_day_reads_which() -> None:
    finding = _finding(RegressionState.IGNORED)
    assert next_steps(finding)[0].what.startswith("it is ignored for good")
    finding.ignored_until = datetime(2030, 1, 31, 18, 0, tzinfo=UTC)
    assert next_steps(finding)[0].what.startswith("it is ignored until 2030-01-31 18:00 UTC, when it alerts again")
    assert set(ANSWERS.values()) <= set(RegressionState)


def test_advice_about_a_finding_names_the_command_that_accepts_it() -> None:
    judgement = Judgement(
        verdict=Verdict.REGRESSED, change=0.1, change_low=0.09, change_high=0.11, minimum_effect=0.02, explanation=""
    )
    _, sentence = regressed(judgement)
    told = Judgement(verdict=Verdict.REGRESSED, minimum_effect=0.02, explanation="", recommendation=sentence)
    assert _advice(told, None) == sentence
    assert _advice(told, 7).endswith("if the change is wanted, accept it: tbctl regression accept 7 --comment 'why'.")


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        ("", "Look at the commits."),
        ("code", "Look at the commits."),
        ("unknown", "Look at the commits."),
        ("environment", "It is not the code: look at what changed in the environment"),
        ("host", "It is not the code: look at the machine"),
    ],
)
def test_advice_does_not_lead_to_the_code_when_it_is_not_the_code(cause: str, advice: str) -> None:
    finding = Regression(
        id=7, cause=cause, evidence={"explanation": "Worse.", "recommendation": "Look at the commits."}
    )
    shown = told(finding)
    assert shown["explanation"] == "Worse."
    assert shown["recommendation"].startswith(advice)
