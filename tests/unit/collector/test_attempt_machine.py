"""The life of an attempt: transitions, and what time alone does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.attempts import (
    LARGEST_EPOCH,
    TRANSITIONS,
    Event,
    Held,
    Patience,
    may_go_again,
    next_state,
    overdue_step,
)
from tesserabench.collector.store.words import AttemptState, Outcome

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
PATIENCE = Patience(lost_after_seconds=600, orphan_grace_seconds=15)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def held(state: AttemptState, **changes: object) -> Held:
    plain = Held(
        state=state,
        epoch=1,
        deadline_at=ago(-3600),
        offered_until=None,
        unreachable_at=None,
        orphaned_at=None,
        cancel_reason=None,
        lease_expires_at=ago(-10),
        host="alpha",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_finished_attempt_stays_finished() -> None:
    assert all(state is not AttemptState.FINISHED for state, _ in TRANSITIONS)
    with pytest.raises(ValueError, match="finished cannot be listed"):
        next_state(AttemptState.FINISHED, Event.LISTED)


def test_every_state_can_end() -> None:
    for state in AttemptState:
        if state is not AttemptState.FINISHED:
            assert next_state(state, Event.ENDED) is AttemptState.FINISHED


@pytest.mark.parametrize(
    ("attempt", "event", "outcome"),
    [
        (held(AttemptState.QUEUED), None, None),
        (held(AttemptState.QUEUED, deadline_at=None), None, None),
        (held(AttemptState.QUEUED, deadline_at=ago(1)), Event.ENDED, Outcome.NO_ELIGIBLE_HOST),
        (held(AttemptState.OFFERED, offered_until=ago(-1)), None, None),
        (held(AttemptState.OFFERED, offered_until=ago(1)), Event.WITHDRAWN, None),
        (held(AttemptState.OFFERED, offered_until=ago(1), epoch=3), Event.ENDED, Outcome.NO_ELIGIBLE_HOST),
        (
            held(AttemptState.OFFERED, offered_until=ago(1), deadline_at=ago(1)),
            Event.ENDED,
            Outcome.NO_ELIGIBLE_HOST,
        ),
        (held(AttemptState.RUNNING), None, None),
        (held(AttemptState.RUNNING, deadline_at=ago(1)), None, None),
        (held(AttemptState.RUNNING, lease_expires_at=ago(1)), Event.CONTACT_LOST, None),
        (
            held(AttemptState.RUNNING, lease_expires_at=ago(1), cancel_reason="stop"),
            Event.ENDED,
            Outcome.CANCELLED,
        ),
        (held(AttemptState.RUNNING, orphaned_at=ago(14)), None, None),
        (held(AttemptState.RUNNING, orphaned_at=ago(16)), Event.WITHDRAWN, None),
        (held(AttemptState.RUNNING, orphaned_at=ago(16), epoch=3), Event.ENDED, Outcome.INTERRUPTED),
        (held(AttemptState.RUNNING, orphaned_at=ago(16), cancel_reason="stop"), Event.ENDED, Outcome.CANCELLED),
        (held(AttemptState.UNREACHABLE, unreachable_at=ago(599)), None, None),
        (held(AttemptState.UNREACHABLE, unreachable_at=ago(601)), Event.WITHDRAWN, None),
        (held(AttemptState.UNREACHABLE, unreachable_at=ago(601), epoch=3), Event.ENDED, Outcome.INTERRUPTED),
        (
            held(AttemptState.UNREACHABLE, unreachable_at=ago(601), deadline_at=ago(1)),
            Event.ENDED,
            Outcome.INTERRUPTED,
        ),
        (held(AttemptState.UNREACHABLE, unreachable_at=ago(1), cancel_reason="stop"), Event.ENDED, Outcome.CANCELLED),
        (held(AttemptState.FINISHED), None, None),
    ],
)
def test_what_time_does(attempt: Held, event: Event | None, outcome: Outcome | None) -> None:
    step = overdue_step(attempt, NOW, PATIENCE)
    assert (step.event if step else None, step.outcome if step else None) == (event, outcome)


def test_an_attempt_that_is_given_up_says_why_it_is_not_tried_again() -> None:
    used_up = overdue_step(held(AttemptState.RUNNING, orphaned_at=ago(99), epoch=LARGEST_EPOCH), NOW, PATIENCE)
    assert used_up is not None
    assert "handed out 3 times, no more tries" in used_up.reason
    too_late = overdue_step(held(AttemptState.RUNNING, orphaned_at=ago(99), deadline_at=ago(1)), NOW, PATIENCE)
    assert too_late is not None
    assert "the deadline has passed" in too_late.reason


_moments = st.none() | st.integers(-2000, 2000).map(ago)


@given(
    st.sampled_from(AttemptState),
    st.integers(1, 5),
    st.none() | st.just("stop"),
    st.lists(_moments, min_size=5, max_size=5),
)
def test_every_step_of_time_is_one_that_the_machine_knows(
    state: AttemptState, epoch: int, cancel: str | None, moments: list[datetime | None]
) -> None:
    deadline, offered, unreachable, orphaned, lease = moments
    attempt = held(
        state,
        epoch=epoch,
        cancel_reason=cancel,
        deadline_at=deadline,
        offered_until=offered,
        unreachable_at=unreachable,
        orphaned_at=orphaned,
        lease_expires_at=lease,
    )
    step = overdue_step(attempt, NOW, PATIENCE)
    if step is None:
        return
    next_state(state, step.event)
    assert (step.outcome is not None) == (step.event is Event.ENDED)
    if step.event is Event.WITHDRAWN:
        assert may_go_again(epoch, deadline, cancel, NOW)
