"""Whether a group of ranks is still well: a machine over what can be seen from rank 0, with the time passed in.

    FORMING ── formed ──▶ READY ── prepared ──▶ WORKING ── released ──▶ READY
       │                    │                      │
       └────── failed ──────┴──────── failed ──────┘──▶ FAILED          closed: from every stage to CLOSED

A rank fails the group when its process ends, or when it has not followed a launch for longer than `patience_seconds`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

CONSEQUENCE = 75
"""Exit status of a rank whose launch failed: most often because another one is gone, which is then the reason."""


class Stage(StrEnum):
    """Where a group is in its life."""

    FORMING = "forming"
    READY = "ready"
    WORKING = "working"
    FAILED = "failed"
    CLOSED = "closed"


class Event(StrEnum):
    """What happens to a group."""

    FORMED = "formed"
    PREPARED = "prepared"
    RELEASED = "released"
    FAILED = "failed"
    CLOSED = "closed"


TRANSITIONS: dict[tuple[Stage, Event], Stage] = {
    (Stage.FORMING, Event.FORMED): Stage.READY,
    (Stage.READY, Event.PREPARED): Stage.WORKING,
    (Stage.WORKING, Event.RELEASED): Stage.READY,
    (Stage.FORMING, Event.FAILED): Stage.FAILED,
    (Stage.READY, Event.FAILED): Stage.FAILED,
    (Stage.WORKING, Event.FAILED): Stage.FAILED,
    # The first reason is the one that explains; what follows from it changes nothing.
    (Stage.FAILED, Event.FAILED): Stage.FAILED,
    **{(stage, Event.CLOSED): Stage.CLOSED for stage in Stage},
}


def advance(stage: Stage, event: Event) -> Stage:
    """Return the stage after an event; raise ValueError for an event that cannot happen there."""
    if (stage, event) not in TRANSITIONS:
        raise ValueError(f"a group that is {stage} cannot be {event}")
    return TRANSITIONS[stage, event]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankSeen:
    """What rank 0 sees of another rank."""

    rank: int
    alive: bool
    done: int
    exit_status: int | None = None
    last_words: str = ""
    """The last line that it printed."""


class Supervision:
    """Notices ranks that ended or stopped following."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience = patience_seconds
        self._since: dict[int, tuple[int, float]] = {}

    def judge(self, now: float, issued: int, seen: Sequence[RankSeen]) -> str | None:
        """Return why the group has failed, in a sentence, or None; `now` in seconds of any monotonic clock."""
        gone = sorted((rank for rank in seen if not rank.alive), key=lambda rank: rank.exit_status == CONSEQUENCE)
        if gone:
            first = gone[0]
            said = f": {first.last_words}" if first.last_words else ""
            return f"rank {first.rank} ended {_ending(first.exit_status)} after {first.done} launches{said}"
        for rank in seen:
            if rank.done >= issued:
                self._since.pop(rank.rank, None)
                continue
            done, since = self._since.setdefault(rank.rank, (rank.done, now))
            if rank.done != done:
                self._since[rank.rank] = (rank.done, now)
            elif now - since > self._patience:
                return (
                    f"rank {rank.rank} has not followed launch {rank.done + 1} of {issued} "
                    f"for {now - since:.0f} s (limit {self._patience:g} s)"
                )
        return None


def _ending(status: int | None) -> str:
    if status is None:
        return "without a status"
    return f"by signal {-status}" if status < 0 else f"with status {status}"
