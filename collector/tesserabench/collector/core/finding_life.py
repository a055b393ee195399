"""The life of a finding, as pure functions on values. `docs/states/regression.md` draws `TRANSITIONS`."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, RegressionState, Severity

REMEMBERED = timedelta(days=30)
"""What gets worse again within this time has the same finding, not a new one."""

VERIFYING_RUNS = 2
"""So many further runs at the level of before make a fixed finding a verified one."""

CLEARLY_BACK = 0.5
"""A level is back when it is worse by less than this share of the smallest change that matters: opening and closing at
the same limit would let a level that hovers around it do both, over and over."""


class Event(StrEnum):
    """What can happen to a finding."""

    SEEN = "seen"  # a run shows it (again)
    REPRODUCED = "reproduced"  # a second measurement, or the history, shows it too
    NOT_REPRODUCED = "not_reproduced"  # a second measurement does not
    WORSENED = "worsened"  # a second measurement shows it worse by a severity
    RECURRED = "recurred"  # what watches it (history, fleet, data) is sure that it is there again
    RETURNED = "returned"  # a later run shows the level of before
    VERIFIED = "verified"  # enough later runs show it
    WITHDRAWN = "withdrawn"  # the history shows no change there any more
    ABANDONED = "abandoned"  # nothing was heard of its branch for long
    WOKEN = "woken"  # it was ignored until now
    ACKNOWLEDGED = "acknowledged"  # somebody has seen it
    ASSIGNED = "assigned"  # somebody is to look after it
    IGNORED = "ignored"  # somebody says that it does not matter, for a while or for good
    FIXED = "fixed"  # somebody says that it is fixed; measuring has to show it
    WONT_FIX = "wont_fix"  # somebody says that it is real and stays
    FALSE_POSITIVE = "false_positive"  # somebody says that there is nothing
    INFRASTRUCTURE = "infrastructure"  # somebody says that a machine was at fault
    DUPLICATE = "duplicate"  # somebody says that another finding is about the same
    ACCEPTED = "accepted"  # somebody says that the new level is wanted: histories begin anew there
    REOPENED = "reopened"  # somebody says that it is not over


_S = RegressionState
_HELD = (_S.ACKNOWLEDGED, _S.ASSIGNED)
_ACTIVE = (_S.SUSPECTED, _S.CONFIRMED, *_HELD)
SURE = (_S.CONFIRMED, *_HELD)
"""States of what is open and not in doubt."""
_QUIET = (_S.IGNORED, _S.WONT_FIX, _S.ACCEPTED)
_OVER = (_S.RESOLVED, _S.VERIFIED, _S.FALSE_POSITIVE, _S.INFRASTRUCTURE, _S.DUPLICATE)

ANSWERS: Mapping[Event, RegressionState] = {
    Event.IGNORED: _S.IGNORED,
    Event.WONT_FIX: _S.WONT_FIX,
    Event.FALSE_POSITIVE: _S.FALSE_POSITIVE,
    Event.INFRASTRUCTURE: _S.INFRASTRUCTURE,
    Event.DUPLICATE: _S.DUPLICATE,
    Event.ACCEPTED: _S.ACCEPTED,
}
"""How people close a finding."""


def _each(states: Iterable[RegressionState], event: Event, after: RegressionState) -> dict[tuple[_S, Event], _S]:
    return {(state, event): after for state in states}


TRANSITIONS: Mapping[tuple[RegressionState, Event], RegressionState] = {
    (_S.SUSPECTED, Event.SEEN): _S.SUSPECTED,
    (_S.FIXED, Event.SEEN): _S.FIXED,
    **_each(_OVER, Event.SEEN, _S.SUSPECTED),
    **_each((_S.SUSPECTED, _S.CONFIRMED, _S.FIXED), Event.REPRODUCED, _S.CONFIRMED),
    **{(state, Event.REPRODUCED): state for state in _HELD},
    **_each((_S.SUSPECTED, *_HELD), Event.NOT_REPRODUCED, _S.RESOLVED),
    (_S.FIXED, Event.NOT_REPRODUCED): _S.FIXED,
    **_each((_S.CONFIRMED, *_HELD, *_QUIET), Event.WORSENED, _S.CONFIRMED),
    **_each((_S.SUSPECTED, _S.FIXED, *_OVER), Event.RECURRED, _S.CONFIRMED),
    (_S.SUSPECTED, Event.RETURNED): _S.RESOLVED,
    **_each((_S.CONFIRMED, *_HELD, _S.FIXED, _S.IGNORED), Event.RETURNED, _S.FIXED),
    (_S.FIXED, Event.VERIFIED): _S.VERIFIED,
    **_each(OPEN_REGRESSION_STATES, Event.WITHDRAWN, _S.RESOLVED),
    **_each(OPEN_REGRESSION_STATES, Event.ABANDONED, _S.RESOLVED),
    (_S.IGNORED, Event.WOKEN): _S.CONFIRMED,
    **_each(_ACTIVE, Event.ACKNOWLEDGED, _S.ACKNOWLEDGED),
    **_each(_ACTIVE, Event.ASSIGNED, _S.ASSIGNED),
    **_each(_ACTIVE, Event.FIXED, _S.FIXED),
    **{(state, event): after for event, after in ANSWERS.items() for state in OPEN_REGRESSION_STATES},
    **_each((_S.FIXED, *_QUIET, *_OVER), Event.REOPENED, _S.CONFIRMED),
}
"""Every step that there is; what is not here does not happen."""


def next_state(state: RegressionState, event: Event) -> RegressionState:
    """The state after an event.

    Raises:
        ValueError: the event cannot happen in this state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"a finding that is {state} cannot be {event}") from None


class Meeting(StrEnum):
    """What a run's regressed series is to what is known of the series."""

    NEW = "new"  # nothing is known, or it is long forgotten
    BACK = "back"  # it was over, or on its way there, not long ago
    PENDING = "pending"  # already suspected, not settled
    KNOWN = "known"  # already confirmed and looked after or not, no worse than then
    WORSE = "worse"  # confirmed, looked after or ignored when it was a severity less
    IGNORED = "ignored"  # ignored, will not be fixed or accepted, and no worse than then

    @property
    def needs_second_look(self) -> bool:
        """Whether it counts only once it has been measured again."""
        return self not in {Meeting.KNOWN, Meeting.IGNORED}


_WAITING = {_S.SUSPECTED: Meeting.PENDING, _S.FIXED: Meeting.BACK}


def meet(
    state: RegressionState | None,
    known: Severity | None,
    updated_at: datetime | None,
    now_is: Severity,
    now: datetime,
    *,
    on_top: bool = False,
) -> Meeting:
    """What a series that regressed with severity `now_is` is to its newest finding.

    Args:
        state: Its state; none when there is no finding.
        known: How bad it was known to be.
        updated_at: When it last changed.
        now_is: How bad the series is now, against what it is compared with now.
        now: The time.
        on_top: What it is compared with has the finding's level already, so that this comes on top of what people
            said they would live with.
    """
    if state is None or known is None or updated_at is None:
        return Meeting.NEW
    if state in _OVER:
        return Meeting.BACK if now - updated_at <= REMEMBERED else Meeting.NEW
    if state in _WAITING:
        return _WAITING[state]
    quiet = state in _QUIET
    if quiet and on_top:
        return Meeting.NEW
    if is_worse(now_is, known):
        return Meeting.WORSE
    return Meeting.IGNORED if quiet else Meeting.KNOWN


def is_worse(severity: Severity, than: Severity) -> bool:
    """Whether a severity is a worse one."""
    order = list(Severity)
    return order.index(severity) > order.index(than)


def wakes_somebody(state: RegressionState) -> bool:
    """Whether a finding's alert fires: it is sure, and nobody has answered it yet."""
    return state is _S.CONFIRMED


def is_quiet(state: RegressionState) -> bool:
    """Whether people know of it and want to hear no more as long as it gets no worse."""
    return state in _QUIET
