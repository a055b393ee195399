"""What follows from what the agent holds and what the collector wants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesserabench.agent.link.reconcile import Abandon, Accept, Action, Cancel, Decline, Held, StopWork, reconcile
from tesserabench.agent.spool.views import AttemptKey
from tesserabench.v1.agent_service_pb2 import Assignment, Cancellation, SyncResponse


def key(name: str, epoch: int = 1) -> AttemptKey:
    return AttemptKey(name=name, epoch=epoch)


def held(name: str, epoch: int = 1, *, closing: bool = False) -> Held:
    return Held(key=key(name, epoch), closing=closing)


def offer(*names: tuple[str, int]) -> SyncResponse:
    return SyncResponse(assignments=[Assignment(name=name, epoch=epoch) for name, epoch in names])


def call_off(name: str, epoch: int = 1) -> SyncResponse:
    return SyncResponse(cancellations=[Cancellation(name=name, epoch=epoch, reason="no more wanted")])


def kinds(actions: tuple[Action, ...]) -> list[tuple[str, str, int]]:
    return [
        (type(action).__name__, action.key.name, action.key.epoch)
        for action in actions
        if not isinstance(action, StopWork)
    ]


TABLE = [
    ("an offer to an idle host is taken", [], offer(("a", 1)), True, [("Accept", "a", 1)]),
    ("an offer that is held already changes nothing", [held("a")], offer(("a", 1)), True, []),
    ("only one of two offers is taken", [], offer(("a", 1), ("b", 1)), True, [("Accept", "a", 1), ("Decline", "b", 1)]),
    ("a host at work declines", [held("a")], offer(("b", 1)), True, [("Decline", "b", 1)]),
    ("records that wait keep no host busy", [held("a", closing=True)], offer(("b", 1)), True, [("Accept", "b", 1)]),
    ("a host that is not ready declines", [], offer(("a", 1)), False, [("Decline", "a", 1)]),
    ("an empty answer stops nothing", [held("a")], SyncResponse(), True, []),
    ("a cancellation stops", [held("a")], call_off("a"), True, [("Cancel", "a", 1)]),
    ("a cancellation of another attempt stops nothing", [held("a")], call_off("b"), True, []),
    ("a cancellation of an older epoch stops nothing", [held("a", 2)], call_off("a", 1), True, []),
    ("a cancellation of a newer epoch stops the older", [held("a", 1)], call_off("a", 2), True, [("Cancel", "a", 1)]),
    ("what is closing cannot be cancelled", [held("a", closing=True)], call_off("a"), True, []),
    (
        "a newer epoch of the same attempt ends the old one before it is taken",
        [held("a", 1)],
        offer(("a", 2)),
        True,
        [("Abandon", "a", 1), ("Decline", "a", 2)],
    ),
    (
        "the newer epoch is taken once the old one closes",
        [held("a", 1, closing=True)],
        offer(("a", 2)),
        True,
        [("Accept", "a", 2)],
    ),
]


@pytest.mark.parametrize(
    ("held_now", "response", "ready", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_answer_leads_to_the_actions_of_the_table(
    held_now: list[Held], response: SyncResponse, ready: bool, expected: list[tuple[str, str, int]]
) -> None:
    assert kinds(reconcile(held_now, response, ready=ready)) == expected


def test_superseded_stops_everything_and_takes_nothing() -> None:
    response = offer(("b", 1))
    response.superseded = True
    assert reconcile([held("a")], response, ready=True) == (StopWork(),)


def test_answer_that_crossed_with_the_end_of_an_attempt_does_not_begin_it_again() -> None:
    assert reconcile([], offer(("a", 1)), ready=True, ended={key("a")}) == ()


NAMES = st.sampled_from(["a", "b", "c"])
EPOCHS = st.integers(1, 3)
HELD = st.lists(
    st.builds(lambda name, epoch, closing: held(name, epoch, closing=closing), NAMES, EPOCHS, st.booleans()),
    max_size=4,
    unique_by=lambda item: item.key,
)
RESPONSES = st.builds(
    lambda offers, stops: SyncResponse(
        assignments=[Assignment(name=name, epoch=epoch) for name, epoch in offers],
        cancellations=[Cancellation(name=name, epoch=epoch) for name, epoch in stops],
    ),
    st.lists(st.tuples(NAMES, EPOCHS), max_size=4),
    st.lists(st.tuples(NAMES, EPOCHS), max_size=3),
)


@given(HELD, RESPONSES, st.booleans())
def test_invariants_hold_for_every_answer(held_now: list[Held], response: SyncResponse, ready: bool) -> None:
    actions = reconcile(held_now, response, ready=ready)
    accepted = [action.key for action in actions if isinstance(action, Accept)]
    stopped = [action.key for action in actions if isinstance(action, Cancel | Abandon)]
    running = {item.key for item in held_now if not item.closing}
    assert len(accepted) <= 1
    assert not accepted or (ready and not running)
    assert not set(accepted) & {item.key for item in held_now}
    assert set(stopped) <= running
    assert len(stopped) == len(set(stopped))
    assert all(isinstance(action, Accept | Cancel | Abandon | Decline) for action in actions)


@given(HELD, RESPONSES)
def test_the_same_answer_twice_accepts_and_stops_once(held_now: list[Held], response: SyncResponse) -> None:
    first = reconcile(held_now, response, ready=True)
    taken = {action.key for action in first if isinstance(action, Accept)}
    gone = {action.key for action in first if isinstance(action, Cancel | Abandon)}
    after = [Held(key=item.key, closing=item.closing or item.key in gone) for item in held_now]
    after += [Held(key=taken_key, closing=False) for taken_key in taken]
    second = reconcile(after, response, ready=True)
    assert not taken & {action.key for action in second if isinstance(action, Accept)}
    assert not gone & {action.key for action in second if isinstance(action, Cancel | Abandon)}


@given(HELD)
def test_absence_from_an_answer_never_stops_anything(held_now: list[Held]) -> None:
    assert reconcile(held_now, SyncResponse(), ready=True) == ()
