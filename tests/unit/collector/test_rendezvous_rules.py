"""The life of a rendezvous, without a database."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.rendezvous_rules import (
    FINAL,
    TRANSITIONS,
    Event,
    Expected,
    Meeting,
    Member,
    fail,
    join,
    leave,
    look,
    next_state,
    waits_for,
)
from tesserabench.collector.errors import FailedPreconditionError
from tesserabench.collector.store.words import RendezvousState
from tesserabench.v1 import rendezvous_service_pb2 as pb
from tesserabench.wire.reasons import Reason

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOSTS = ("alpha", "beta", "gamma")


def member(attempt_id: int, *, epoch: int = 1, payload: bytes = b"", wish: int | None = None) -> Member:
    return Member(attempt_id=attempt_id, epoch=epoch, host=HOSTS[attempt_id - 1], payload=payload, wish=wish)


def empty(world_size: int = 3) -> Meeting:
    return Meeting(key="trial-0", world_size=world_size, deadline_at=NOW + timedelta(seconds=30))


def whole(world_size: int = 3) -> Meeting:
    meeting = empty(world_size)
    for attempt_id in range(1, world_size + 1):
        meeting = join(meeting, member(attempt_id), world_size)
    return meeting


def expected(*ended: int, epoch: int = 1) -> list[Expected]:
    return [
        Expected(
            attempt_id=attempt_id,
            epoch=epoch,
            host=HOSTS[attempt_id - 1],
            state="finished" if attempt_id in ended else "running",
            ended=attempt_id in ended,
        )
        for attempt_id in (1, 2, 3)
    ]


def test_it_is_complete_with_the_last_one_and_everybody_has_another_rank() -> None:
    meeting = join(join(empty(), member(3), 3), member(1), 3)
    assert meeting.state is RendezvousState.GATHERING
    assert all(item.rank is None for item in meeting.members)
    meeting = join(meeting, member(2), 3)
    assert meeting.state is RendezvousState.COMPLETE
    assert [(item.rank, item.host) for item in meeting.members] == [(0, "alpha"), (1, "beta"), (2, "gamma")]


@given(st.permutations([1, 2, 3]), st.sampled_from([None, 0, 1, 2]))
def test_ranks_do_not_depend_on_who_comes_first(order: list[int], wish: int | None) -> None:
    meeting = empty()
    for attempt_id in order:
        meeting = join(meeting, member(attempt_id, wish=wish if attempt_id == 3 else None), 3)
    assert sorted(item.rank or 0 for item in meeting.members) == [0, 1, 2]
    ranks = {item.host: item.rank for item in meeting.members}
    if wish is not None:
        assert ranks["gamma"] == wish
    assert (ranks["alpha"] or 0) < (ranks["beta"] or 0)


def test_the_same_join_again_changes_nothing() -> None:
    meeting = join(empty(), member(1, payload=b"id"), 3)
    assert join(meeting, member(1, payload=b"id"), 3) == meeting
    done = whole()
    assert join(done, member(1), 3) == done


def test_while_it_gathers_a_member_may_come_anew() -> None:
    meeting = join(empty(), member(1, payload=b"old"), 3)
    meeting = join(meeting, member(1, payload=b"new"), 3)
    assert [item.payload for item in meeting.members] == [b"new"]
    meeting = join(meeting, replace(member(1, epoch=2), host="gamma"), 3)
    assert [(item.epoch, item.host) for item in meeting.members] == [(2, "gamma")]


@pytest.mark.parametrize(
    ("anew", "why"),
    [
        (member(1, payload=b"other"), "alpha: began anew after everybody was there"),
        (replace(member(1, epoch=2), host="delta"), "alpha: was given to delta and began anew"),
    ],
)
def test_whoever_begins_anew_after_completion_fails_it(anew: Member, why: str) -> None:
    meeting = join(whole(), anew, 3)
    assert meeting.state is RendezvousState.FAILED
    assert meeting.reason.startswith(why)


@pytest.mark.parametrize(
    ("meeting", "newcomer", "world_size", "reason"),
    [
        (join(empty(), member(1), 3), member(2), 2, Reason.RENDEZVOUS_MISMATCH),
        (join(empty(), member(1, wish=1), 3), member(2, wish=1), 3, Reason.RENDEZVOUS_MISMATCH),
        (empty(), member(1, wish=3), 3, Reason.RENDEZVOUS_MISMATCH),
        (whole(2), member(3), 2, Reason.RENDEZVOUS_MISMATCH),
        (join(empty(), member(1, epoch=2), 3), member(1, epoch=1), 3, Reason.SUPERSEDED),
    ],
)
def test_contradictions_are_refused(meeting: Meeting, newcomer: Member, world_size: int, reason: Reason) -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        join(meeting, newcomer, world_size)
    assert refused.value.reason is reason


def test_who_is_missing_is_named_while_it_waits_and_when_it_expires() -> None:
    meeting = join(empty(), member(1), 3)
    absent = [*expected()[:2], Expected(attempt_id=3, epoch=1, host="", state="queued", ended=True)]
    sentence = "missing: beta (running), an attempt that no host has taken (queued)"
    assert waits_for(meeting, absent) == f"1 of 3 joined (alpha); {sentence}"
    assert look(meeting, absent, NOW + timedelta(seconds=29)).state is RendezvousState.GATHERING
    over = look(meeting, absent, NOW + timedelta(seconds=30))
    assert over.state is RendezvousState.EXPIRED
    assert over.reason == f"1 of 3 joined (alpha) in time; {sentence}"
    assert waits_for(over, absent) == over.reason


def test_a_complete_one_does_not_expire() -> None:
    assert look(whole(), expected(), NOW + timedelta(days=1)) == whole()


@pytest.mark.parametrize("meeting", [whole(), join(empty(), member(2), 3)])
@pytest.mark.parametrize("attempts", [expected(2), expected(epoch=2), expected()[:1]])
def test_a_lost_member_fails_it(meeting: Meeting, attempts: list[Expected]) -> None:
    assert look(meeting, attempts, NOW).state is RendezvousState.FAILED


def test_a_member_that_left_may_end() -> None:
    meeting = leave(whole(), 2, 1)
    assert look(meeting, expected(2), NOW).state is RendezvousState.COMPLETE


def test_it_is_closed_when_everybody_has_left() -> None:
    meeting = whole()
    for attempt_id in (1, 2, 2):
        meeting = leave(meeting, attempt_id, 1)
        assert meeting.state is RendezvousState.COMPLETE
    assert leave(meeting, 3, 1).state is RendezvousState.CLOSED


def test_whoever_leaves_early_was_never_there() -> None:
    assert leave(join(empty(), member(1), 3), 1, 1) == empty()


def test_an_epoch_that_is_over_cannot_leave_for_the_newer_one() -> None:
    meeting = join(empty(), member(1, epoch=2), 3)
    assert leave(meeting, 1, 1) == meeting


def test_the_first_reason_of_a_failure_stays() -> None:
    meeting = fail(whole(), "beta", "its GPU fell off the bus")
    assert fail(meeting, "alpha", "broken pipe").reason == "beta: its GPU fell off the bus"


@pytest.mark.parametrize("state", sorted(FINAL))
@pytest.mark.parametrize(
    "step",
    [
        lambda meeting: join(meeting, member(1), 9),
        lambda meeting: leave(meeting, 1, 1),
        lambda meeting: fail(meeting, "alpha", "x"),
        lambda meeting: look(meeting, expected(1, 2, 3), NOW + timedelta(days=1)),
    ],
)
def test_final_states_are_final(state: RendezvousState, step: Callable[[Meeting], Meeting]) -> None:
    meeting = replace(whole(), state=state, reason="why")
    assert step(meeting) == meeting


@pytest.mark.parametrize("state", RendezvousState)
@pytest.mark.parametrize("event", Event)
def test_only_steps_of_the_table_happen(state: RendezvousState, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ValueError, match=f"that is {state} cannot be {event}"):
            next_state(state, event)


def test_no_step_leads_out_of_a_final_state_and_every_state_is_reached() -> None:
    assert not FINAL & {state for state, _ in TRANSITIONS}
    assert set(TRANSITIONS.values()) == set(RendezvousState)


def test_states_are_those_of_the_contract() -> None:
    told = {name.removeprefix("RENDEZVOUS_STATE_").lower() for name in pb.RendezvousState.keys()}  # noqa: SIM118 - no dict
    assert told - {"unspecified"} == set(RendezvousState)


def test_members_survive_the_database() -> None:
    before = replace(member(1, payload=bytes(range(256)), wish=2), rank=2, left=True)
    assert Member.from_json(before.to_json()) == before
