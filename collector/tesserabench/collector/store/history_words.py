"""Words of histories that stand in the database, each the lower-case tail of its enum value on the wire."""

from enum import StrEnum


class SeriesState(StrEnum):
    """Whether a series still gets results."""

    ACTIVE = "active"
    STALE = "stale"
    REMOVED = "removed"


class ChangeState(StrEnum):
    """How sure a change is."""

    SUSPECTED = "suspected"
    CONFIRMED = "confirmed"
    TRANSIENT = "transient"
    WITHDRAWN = "withdrawn"


LIVE_CHANGE_STATES = (ChangeState.SUSPECTED, ChangeState.CONFIRMED)
"""States of a change that the detector still sees."""
