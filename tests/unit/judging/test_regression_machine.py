"""The life of a finding: every step, whatever comes in whatever order, and what runs are to what is known."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.finding_life import (
    ANSWERS,
    CLEARLY_BACK,
    REMEMBERED,
    TRANSITIONS,
    VERIFYING_RUNS,
    Event,
    Meeting,
    is_quiet,
    is_worse,
    meet,
    next_state,
    wakes_somebody,
)
from tesserabench.collector.core.triage import RESOLUTIONS
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, RegressionState, Severity

NOW = datetime(2024, 5, 1, tzinfo=UTC)
CLOSED = [state for state in RegressionState if state not in OPEN_REGRESSION_STATES]
PERSONS = (Event.ACKNOWLEDGED, Event.ASSIGNED, Event.FIXED, Event.REOPENED, *ANSWERS)
LIMIT = 0.02


def test_every_state_can_be_reached_and_left() -> None:
    reached = {RegressionState.SUSPECTED}
    for _ in RegressionState:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(RegressionState)
    assert {before for before, _ in TRANSITIONS} == set(RegressionState)


def test_every_event_happens_somewhere() -> None:
    assert {event for _, event in TRANSITIONS} == set(Event)


@pytest.mark.parametrize(
    ("state", "event", "after"),
    [
        (RegressionState.SUSPECTED, Event.REPRODUCED, RegressionState.CONFIRMED),
        (RegressionState.SUSPECTED, Event.NOT_REPRODUCED, RegressionState.RESOLVED),
        (RegressionState.SUSPECTED, Event.RETURNED, RegressionState.RESOLVED),
        (RegressionState.CONFIRMED, Event.RETURNED, RegressionState.FIXED),
        (RegressionState.CONFIRMED, Event.WITHDRAWN, RegressionState.RESOLVED),
        (RegressionState.ACKNOWLEDGED, Event.REPRODUCED, RegressionState.ACKNOWLEDGED),
        (RegressionState.ACKNOWLEDGED, Event.WORSENED, RegressionState.CONFIRMED),
        (RegressionState.ASSIGNED, Event.WORSENED, RegressionState.CONFIRMED),
        (RegressionState.FIXED, Event.SEEN, RegressionState.FIXED),
        (RegressionState.FIXED, Event.REPRODUCED, RegressionState.CONFIRMED),
        (RegressionState.FIXED, Event.VERIFIED, RegressionState.VERIFIED),
        (RegressionState.IGNORED, Event.WORSENED, RegressionState.CONFIRMED),
        (RegressionState.IGNORED, Event.WOKEN, RegressionState.CONFIRMED),
        (RegressionState.VERIFIED, Event.SEEN, RegressionState.SUSPECTED),
        (RegressionState.RESOLVED, Event.SEEN, RegressionState.SUSPECTED),
        (RegressionState.RESOLVED, Event.REOPENED, RegressionState.CONFIRMED),
    ],
)
def test_what_happens_next(state: RegressionState, event: Event, after: RegressionState) -> None:
    assert next_state(state, event) is after


@pytest.mark.parametrize("state", RegressionState)
def test_people_answer_what_is_open_and_reopen_what_is_closed(state: RegressionState) -> None:
    possible = {event for event in PERSONS if (state, event) in TRANSITIONS}
    if state is RegressionState.FIXED:
        assert possible == {*ANSWERS, Event.REOPENED}
    elif state in OPEN_REGRESSION_STATES:
        assert possible == {Event.ACKNOWLEDGED, Event.ASSIGNED, Event.FIXED, *ANSWERS}
    else:
        assert possible == {Event.REOPENED}


@pytest.mark.parametrize("state", CLOSED)
def test_a_closed_one_is_not_confirmed_by_being_reproduced(state: RegressionState) -> None:
    with pytest.raises(ValueError, match=f"{state} cannot be reproduced"):
        next_state(state, Event.REPRODUCED)


def test_whatever_it_can_be_resolved_as_is_a_step() -> None:
    assert all((RegressionState.CONFIRMED, event) in TRANSITIONS for event in RESOLUTIONS.values())


@given(st.lists(st.sampled_from(Event), max_size=60))
def test_no_sequence_of_events_leads_astray(events: list[Event]) -> None:
    state = RegressionState.SUSPECTED
    for event in events:
        try:
            after = next_state(state, event)
        except ValueError:
            continue
        if is_quiet(after) and after is not state:
            assert event in ANSWERS, "only people say that something does not matter"
        if after is RegressionState.CONFIRMED and state is not after:
            sure = {Event.REPRODUCED, Event.WORSENED, Event.RECURRED, Event.WOKEN, Event.REOPENED}
            assert event in sure, "nothing wakes somebody on suspicion"
        state = after


def life_of(levels: list[float]) -> tuple[int, int, int]:
    """Openings, closings and alerts of a series whose runs are worse by these fractions, each told as it is.

    A run above the limit is seen and, measured again, reproduced; one that is clearly back returns.
    """
    state: RegressionState | None = None
    good = openings = closings = alerts = 0
    for level in levels:
        before = state
        if level >= LIMIT:
            known = Severity.MINOR if state else None
            meeting = meet(state, known, NOW if state else None, Severity.MINOR, NOW)
            good = 0
            if meeting is Meeting.NEW:
                state, openings = RegressionState.SUSPECTED, openings + 1
            elif meeting is Meeting.BACK:
                assert state is not None
                state = next_state(state, Event.SEEN)
            if meeting.needs_second_look:
                assert state is not None
                state = next_state(state, Event.REPRODUCED)
        elif level < LIMIT * CLEARLY_BACK and state in OPEN_REGRESSION_STATES:
            assert state is not None
            state, good = next_state(state, Event.RETURNED), good + 1
            if good > VERIFYING_RUNS:
                state = next_state(state, Event.VERIFIED)
        closings += before in OPEN_REGRESSION_STATES and state not in OPEN_REGRESSION_STATES
        alerts += state is RegressionState.CONFIRMED and before is not state
    return openings, closings, alerts


@given(st.lists(st.floats(min_value=LIMIT * CLEARLY_BACK, max_value=LIMIT * 2), max_size=80))
def test_a_level_that_hovers_around_the_limit_has_one_finding_and_one_alert(levels: list[float]) -> None:
    openings, closings, alerts = life_of(levels)
    assert openings == alerts == any(level >= LIMIT for level in levels)
    assert closings == 0


@given(st.lists(st.sampled_from([0.0, 0.05]), max_size=80))
def test_whatever_a_series_does_it_has_one_finding_that_is_not_forgotten(levels: list[float]) -> None:
    openings, closings, alerts = life_of(levels)
    assert openings <= 1
    # A closing takes runs that verify it, so that a flap cannot close.
    assert closings * (VERIFYING_RUNS + 1) <= levels.count(0.0)
    assert alerts <= 1 + sum(1 for one, two in pairwise(levels) if one < two)


@pytest.mark.parametrize(
    ("state", "known", "age", "severity", "meeting"),
    [
        (RegressionState.SUSPECTED, Severity.MINOR, timedelta(), Severity.MINOR, Meeting.PENDING),
        (RegressionState.CONFIRMED, Severity.MAJOR, timedelta(days=90), Severity.MAJOR, Meeting.KNOWN),
        (RegressionState.CONFIRMED, Severity.MAJOR, timedelta(), Severity.MINOR, Meeting.KNOWN),
        (RegressionState.CONFIRMED, Severity.MAJOR, timedelta(), Severity.CRITICAL, Meeting.WORSE),
        (RegressionState.ACKNOWLEDGED, Severity.MINOR, timedelta(), Severity.MINOR, Meeting.KNOWN),
        (RegressionState.ASSIGNED, Severity.MINOR, timedelta(), Severity.MAJOR, Meeting.WORSE),
        (RegressionState.FIXED, Severity.MAJOR, timedelta(days=90), Severity.MINOR, Meeting.BACK),
        (RegressionState.IGNORED, Severity.MINOR, timedelta(days=400), Severity.MINOR, Meeting.IGNORED),
        (RegressionState.IGNORED, Severity.MINOR, timedelta(), Severity.MAJOR, Meeting.WORSE),
        (RegressionState.WONT_FIX, Severity.MAJOR, timedelta(), Severity.MAJOR, Meeting.IGNORED),
        (RegressionState.ACCEPTED, Severity.MAJOR, timedelta(), Severity.MAJOR, Meeting.IGNORED),
        (RegressionState.FALSE_POSITIVE, Severity.MAJOR, timedelta(), Severity.MAJOR, Meeting.BACK),
        (RegressionState.VERIFIED, Severity.MINOR, REMEMBERED, Severity.MINOR, Meeting.BACK),
        (RegressionState.RESOLVED, Severity.MINOR, REMEMBERED, Severity.MINOR, Meeting.BACK),
        (RegressionState.RESOLVED, Severity.MINOR, REMEMBERED + timedelta(seconds=1), Severity.MINOR, Meeting.NEW),
    ],
)
def test_what_a_finding_is_to_what_is_known(
    state: RegressionState, known: Severity, age: timedelta, severity: Severity, meeting: Meeting
) -> None:
    assert meet(state, known, NOW - age, severity, NOW) is meeting


@pytest.mark.parametrize("state", RegressionState)
def test_what_comes_on_top_of_an_accepted_level_is_news(state: RegressionState) -> None:
    meeting = meet(state, Severity.MAJOR, NOW, Severity.MINOR, NOW, on_top=True)
    assert (meeting is Meeting.NEW) is is_quiet(state)


def test_what_is_not_known_is_new() -> None:
    assert meet(None, None, None, Severity.MINOR, NOW) is Meeting.NEW


def test_what_is_known_or_ignored_is_not_measured_again() -> None:
    assert [meeting for meeting in Meeting if not meeting.needs_second_look] == [Meeting.KNOWN, Meeting.IGNORED]


def test_only_what_is_sure_and_unanswered_wakes_somebody() -> None:
    assert [state for state in RegressionState if wakes_somebody(state)] == [RegressionState.CONFIRMED]


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
                to = state if after == "(the same)" else after.replace(" ", "_")
                drawn[RegressionState(state.replace(" ", "_")), Event(event.replace(" ", "_"))] = RegressionState(
                    to.replace(" ", "_")
                )
    assert drawn == TRANSITIONS
