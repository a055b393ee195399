"""The life of a rendezvous: pure functions on values. `docs/states/rendezvous.md` draws `TRANSITIONS`."""

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tesserabench.collector.errors import CollectorError, FailedPreconditionError
from tesserabench.collector.store.words import RendezvousState
from tesserabench.wire.reasons import Reason

MOST_PAYLOAD_BYTES = 64 * 1024


class Event(StrEnum):
    """What can happen to a rendezvous."""

    JOINED = "joined"  # somebody came or said it again, and others are still missing
    LEFT_EARLY = "left_early"  # somebody went before everybody was there
    ALL_JOINED = "all_joined"
    LEFT = "left"  # somebody went after everybody was there, and others remain
    ALL_LEFT = "all_left"
    FAILED = "failed"  # a member said so, or is lost
    TIMED_OUT = "timed_out"


TRANSITIONS: Mapping[tuple[RendezvousState, Event], RendezvousState] = {
    (RendezvousState.GATHERING, Event.JOINED): RendezvousState.GATHERING,
    (RendezvousState.GATHERING, Event.LEFT_EARLY): RendezvousState.GATHERING,
    (RendezvousState.GATHERING, Event.ALL_JOINED): RendezvousState.COMPLETE,
    (RendezvousState.GATHERING, Event.FAILED): RendezvousState.FAILED,
    (RendezvousState.GATHERING, Event.TIMED_OUT): RendezvousState.EXPIRED,
    (RendezvousState.COMPLETE, Event.LEFT): RendezvousState.COMPLETE,
    (RendezvousState.COMPLETE, Event.ALL_LEFT): RendezvousState.CLOSED,
    (RendezvousState.COMPLETE, Event.FAILED): RendezvousState.FAILED,
}
"""Every step that there is; what is not here does not happen. CLOSED, FAILED and EXPIRED are final."""

FINAL = frozenset({RendezvousState.CLOSED, RendezvousState.FAILED, RendezvousState.EXPIRED})


def next_state(state: RendezvousState, event: Event) -> RendezvousState:
    """The state after an event.

    Raises:
        ValueError: the event cannot happen in this state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"a rendezvous that is {state} cannot be {event}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One who joined. `wish` is the rank that it asked for, `rank` the one that it has once everybody is there."""

    attempt_id: int
    epoch: int
    host: str
    payload: bytes = b""
    wish: int | None = None
    rank: int | None = None
    left: bool = False

    def to_json(self) -> dict[str, Any]:
        """The member as it stands in the database."""
        return {
            "attempt_id": self.attempt_id,
            "epoch": self.epoch,
            "host": self.host,
            "payload": base64.b64encode(self.payload).decode(),
            "wish": self.wish,
            "rank": self.rank,
            "left": self.left,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Member":
        """Read what `to_json` wrote."""
        return cls(**{**data, "payload": base64.b64decode(data["payload"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """A rendezvous; `members` in the order of their attempts, by rank once it is complete."""

    key: str
    world_size: int
    deadline_at: datetime
    state: RendezvousState = RendezvousState.GATHERING
    reason: str = ""
    members: tuple[Member, ...] = ()

    def member(self, attempt_id: int) -> Member | None:
        """The member that is this attempt."""
        return next((member for member in self.members if member.attempt_id == attempt_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """An attempt of the run, as it is now: who could come, and whether one who came is still there."""

    attempt_id: int
    epoch: int
    host: str
    """Empty while no host has it."""
    state: str
    """A word of `AttemptState`."""
    ended: bool


def join(meeting: Meeting, member: Member, world_size: int) -> Meeting:
    """The meeting with a member in it; complete when it was the last one. The same join again changes nothing.

    Raises:
        FailedPreconditionError: it contradicts what the others said, or is of an epoch that is over.
    """
    if meeting.state in FINAL:
        return meeting
    if world_size != meeting.world_size:
        raise _mismatch(
            meeting,
            f"world_size is {world_size}, but it was opened for {meeting.world_size}; every member must say the same",
        )
    before = meeting.member(member.attempt_id)
    if before is not None and before.epoch > member.epoch:
        raise FailedPreconditionError(
            f"epoch {member.epoch} of this attempt is over: epoch {before.epoch} has joined {meeting.key!r}; "
            "stop this attempt",
            reason=Reason.SUPERSEDED,
        )
    if meeting.state is RendezvousState.COMPLETE:
        return _joined_again(meeting, before, member)
    _require_rank(meeting, member)
    others = tuple(item for item in meeting.members if item.attempt_id != member.attempt_id)
    members = tuple(sorted((*others, member), key=lambda item: item.attempt_id))
    if len(members) < meeting.world_size:
        return replace(meeting, members=members, state=next_state(meeting.state, Event.JOINED))
    return replace(meeting, members=_ranked(members), state=next_state(meeting.state, Event.ALL_JOINED), reason="")


def _joined_again(meeting: Meeting, before: Member | None, member: Member) -> Meeting:
    if before is None:
        names = ", ".join(item.host for item in meeting.members)
        raise _mismatch(meeting, f"it is complete with {names}; use a key that only the wanted members share")
    same = (before.epoch, before.payload) == (member.epoch, member.payload)
    if same and not before.left:
        return meeting
    # Whoever comes anew has lost what it shared with the others, who wait for what cannot arrive any more.
    why = "began anew" if member.epoch == before.epoch else f"was given to {member.host} and began anew"
    return fail(meeting, before.host, f"{why} after everybody was there")


def _require_rank(meeting: Meeting, member: Member) -> None:
    if member.wish is None:
        return
    if member.wish >= meeting.world_size:
        raise _mismatch(meeting, f"rank is {member.wish}; it must be below the {meeting.world_size} of world_size")
    for other in meeting.members:
        if other.attempt_id != member.attempt_id and other.wish == member.wish:
            raise _mismatch(meeting, f"rank {member.wish} is {other.host}'s; ask for another, or for none")


def _ranked(members: Sequence[Member]) -> tuple[Member, ...]:
    """Members with their ranks, by rank: wishes first, then the free ranks in the order of the attempts."""
    wished = {member.wish for member in members}
    free = iter([rank for rank in range(len(members)) if rank not in wished])
    ranked = [replace(item, rank=next(free) if item.wish is None else item.wish) for item in members]
    return tuple(sorted(ranked, key=lambda item: item.rank or 0))


def leave(meeting: Meeting, attempt_id: int, epoch: int) -> Meeting:
    """The meeting without a member; one that nobody needs any more is closed. Leaving twice changes nothing."""
    found = meeting.member(attempt_id)
    if meeting.state in FINAL or found is None or found.epoch != epoch:
        return meeting
    others = tuple(item for item in meeting.members if item is not found)
    if meeting.state is RendezvousState.GATHERING:
        return replace(meeting, members=others, state=next_state(meeting.state, Event.LEFT_EARLY))
    members = tuple(replace(item, left=True) if item is found else item for item in meeting.members)
    event = Event.ALL_LEFT if all(item.left for item in members) else Event.LEFT
    return replace(meeting, members=members, state=next_state(meeting.state, event))


def fail(meeting: Meeting, host: str, why: str) -> Meeting:
    """The meeting after a member cannot go on; the first reason stays."""
    if meeting.state in FINAL:
        return meeting
    return replace(meeting, state=next_state(meeting.state, Event.FAILED), reason=f"{host}: {why}")


def look(meeting: Meeting, expected: Collection[Expected], now: datetime) -> Meeting:
    """The meeting after what time and the attempts alone do to it: a lost member fails it, a missing one lets it end.

    A member that has left is not missed: its attempt may end.
    """
    by_id = {item.attempt_id: item for item in expected}
    for member in meeting.members:
        found = by_id.get(member.attempt_id)
        if not member.left and (found is None or found.ended or found.epoch != member.epoch):
            meeting = fail(meeting, member.host, "its attempt ended or was given to another host")
    if meeting.state is RendezvousState.GATHERING and meeting.deadline_at <= now:
        state = next_state(meeting.state, Event.TIMED_OUT)
        return replace(meeting, state=state, reason=f"{_who_is_there(meeting)} in time; {missing(meeting, expected)}")
    return meeting


def waits_for(meeting: Meeting, expected: Collection[Expected]) -> str:
    """What a meeting waits for, or why it ended, in a sentence."""
    if meeting.state is not RendezvousState.GATHERING:
        return meeting.reason
    return f"{_who_is_there(meeting)}; {missing(meeting, expected)}"


def _who_is_there(meeting: Meeting) -> str:
    names = ", ".join(item.host for item in meeting.members) or "nobody"
    return f"{len(meeting.members)} of {meeting.world_size} joined ({names})"


def missing(meeting: Meeting, expected: Collection[Expected]) -> str:
    """Who has not come, by name, and what is known of them."""
    joined = {member.attempt_id for member in meeting.members}
    absent = [item for item in expected if item.attempt_id not in joined]
    named = ", ".join(f"{item.host or 'an attempt that no host has taken'} ({item.state})" for item in absent)
    return f"missing: {named or 'more attempts than the run has'}"


def _mismatch(meeting: Meeting, why: str) -> CollectorError:
    return FailedPreconditionError(f"rendezvous {meeting.key!r}: {why}", reason=Reason.RENDEZVOUS_MISMATCH)
