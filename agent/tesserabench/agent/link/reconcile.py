"""What follows from what the agent holds and what the collector wants: a pure function.

Level-triggered: the collector repeats what it wants until it sees it listed, so a lost answer loses nothing, and the
same answer twice does nothing twice. That an attempt is absent from an answer never stops it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tesserabench.agent.spool.views import AttemptKey
from tesserabench.v1.agent_service_pb2 import Assignment, SyncResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An attempt that the agent holds; `closing` when its worker has ended and only records remain."""

    key: AttemptKey
    closing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """Hold this attempt and run it."""

    key: AttemptKey
    assignment: Assignment


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Stop this attempt because somebody asked for it."""

    key: AttemptKey
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """Stop this attempt because it has been handed out again under a newer epoch."""

    key: AttemptKey
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """Do nothing about an assignment now; the collector offers it again, or to another host."""

    key: AttemptKey
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWork:
    """A newer process of this host has registered."""


Action = Accept | Cancel | Abandon | Decline | StopWork


def reconcile(
    held: Collection[Held],
    response: SyncResponse,
    *,
    ready: bool,
    ended: Collection[AttemptKey] = (),
) -> tuple[Action, ...]:
    """The actions that bring the agent to what `response` wants, in the order in which to take them.

    `held` is what the agent holds now, not what it listed in its question. `ended` are attempts that left the agent
    after the question was asked: an answer may still name them. `ready` tells whether new work may be taken.
    """
    if response.superseded:
        return (StopWork(),)
    running = {item.key for item in held if not item.closing}
    actions: list[Action] = list(_stops(running, response))
    running -= {action.key for action in actions if isinstance(action, Cancel | Abandon)}
    stopping = any(isinstance(action, Cancel | Abandon) for action in actions)
    known = {item.key for item in held} | set(ended)
    free = ready and not running and not stopping
    for assignment in response.assignments:
        key = AttemptKey(name=assignment.name, epoch=assignment.epoch)
        if key in known:
            continue
        known.add(key)
        if free:
            actions.append(Accept(key=key, assignment=assignment))
            free = False
        else:
            actions.append(Decline(key=key, reason="this host is not ready" if not ready else "this host is at work"))
    return tuple(actions)


def _stops(running: Collection[AttemptKey], response: SyncResponse) -> Iterator[Cancel | Abandon]:
    cancelled = {item.name: item for item in response.cancellations}
    newer = {item.name: item.epoch for item in response.assignments}
    for key in sorted(running):
        # A cancellation of a newer epoch means the attempt as a whole: an older one of it is no more wanted.
        if key.name in cancelled and cancelled[key.name].epoch >= key.epoch:
            yield Cancel(key=key, reason=cancelled[key.name].reason or "somebody asked for it to stop")
        elif newer.get(key.name, 0) > key.epoch:
            yield Abandon(key=key, reason=f"the collector handed it out again as epoch {newer[key.name]}")
