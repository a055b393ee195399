from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tesserabench.collector.core.regressions import REMEMBERED, TRANSITIONS, Event, Meeting, is_worse, meet, next_state
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, RegressionState, Severity

NOW = datetime(2024, 5, 1, tzinfo=UTC)
PERSONS = (Event.ACKNOWLEDGED, Event.IGNORED, Event.RESOLVED, Event.REOPENED)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {RegressionState.SUSPECTED}
    for _ in RegressionState:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(RegressionState)
    assert {before for before, _ in TRANSITIONS} == set(RegressionState)


@pytest.mark.parametrize(
    ("state", "event", "after"),
    [
        (RegressionState.SUSPECTED, Event.REPRODUCED, RegressionState.CONFIRMED),
        (RegressionState.SUSPECTED, Event.NOT_REPRODUCED, RegressionState.RESOLVED),
        (RegressionState.ACKNOWLEDGED, Event.REPRODUCED, RegressionState.ACKNOWLEDGED),
        (RegressionState.ACKNOWLEDGED, Event.WORSENED, RegressionState.CONFIRMED),
        (RegressionState.IGNORED, Event.WORSENED, RegressionState.CONFIRMED),
        (RegressionState.RESOLVED, Event.SEEN, RegressionState.SUSPECTED),
        (RegressionState.RESOLVED, Event.REOPENED, RegressionState.CONFIRMED),
    ],
)
def test_what_happens_next(state: RegressionState, event: Event, after: RegressionState) -> None:
    assert next_state(state, event) is after


@pytest.mark.parametrize("state", RegressionState)
def test_people_close_what_is_open_and_reopen_what_is_closed(state: RegressionState) -> None:
    possible = {event for event in PERSONS if (state, event) in TRANSITIONS}
    closing = {Event.ACKNOWLEDGED, Event.IGNORED, Event.RESOLVED}
    assert possible == (closing if state in OPEN_REGRESSION_STATES else {Event.REOPENED})


@pytest.mark.parametrize("state", [RegressionState.IGNORED, RegressionState.RESOLVED])
def test_a_closed_one_is_not_confirmed_by_being_reproduced(state: RegressionState) -> None:
    with pytest.raises(ValueError, match=f"{state} cannot be reproduced"):
        next_state(state, Event.REPRODUCED)


@pytest.mark.parametrize(
    ("state", "known", "age", "severity", "meeting"),
    [
        (RegressionState.SUSPECTED, Severity.MINOR, timedelta(), Severity.MINOR, Meeting.PENDING),
        (RegressionState.CONFIRMED, Severity.MAJOR, timedelta(days=90), Severity.MAJOR, Meeting.KNOWN),
        (RegressionState.CONFIRMED, Severity.MAJOR, timedelta(), Severity.MINOR, Meeting.KNOWN),
        (RegressionState.CONFIRMED, Severity.MAJOR, timedelta(), Severity.CRITICAL, Meeting.WORSE),
        (RegressionState.ACKNOWLEDGED, Severity.MINOR, timedelta(), Severity.MINOR, Meeting.KNOWN),
        (RegressionState.ACKNOWLEDGED, Severity.MINOR, timedelta(), Severity.MAJOR, Meeting.WORSE),
        (RegressionState.IGNORED, Severity.MINOR, timedelta(days=400), Severity.MINOR, Meeting.IGNORED),
        (RegressionState.IGNORED, Severity.MINOR, timedelta(), Severity.MAJOR, Meeting.WORSE),
        (RegressionState.RESOLVED, Severity.MINOR, REMEMBERED, Severity.MINOR, Meeting.BACK),
        (RegressionState.RESOLVED, Severity.MINOR, REMEMBERED + timedelta(seconds=1), Severity.MINOR, Meeting.NEW),
    ],
)
def test_what_a_finding_is_to_what_is_known(
    state: RegressionState, known: Severity, age: timedelta, severity: Severity, meeting: Meeting
) -> None:
    assert meet(state, known, NOW - age, severity, NOW) is meeting


def test_what_is_not_known_is_new() -> None:
    assert meet(None, None, None, Severity.MINOR, NOW) is Meeting.NEW


def test_what_is_known_or_ignored_is_not_measured_again() -> None:
    assert [meeting for meeting in Meeting if not meeting.needs_second_look] == [Meeting.KNOWN, Meeting.IGNORED]


def test_severities_have_an_order() -> None:
    assert is_worse(Severity.CRITICAL, Severity.MAJOR)
    assert is_worse(Severity.MAJOR, Severity.MINOR)
    assert not is_worse(Severity.MINOR, Severity.MINOR)


def test_the_page_that_draws_the_machine_is_true() -> None:
    page = (Path(__file__).parents[3] / "docs/states/regression.md").read_text()
    table = page.partition("| from | event | to | when |")[2].partition("\n\n")[0]
    drawn = {}
    for line in table.splitlines()[2:]:
        before, event, after, _ = (cell.strip() for cell in line.strip("|").split("|"))
        if event != "(new)":
            for state in before.split(", "):
                drawn[RegressionState(state), Event(event.replace(" ", "_"))] = RegressionState(after)
    assert drawn == TRANSITIONS
