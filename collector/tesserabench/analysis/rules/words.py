"""The words of a policy file."""

from enum import StrEnum


class Confirming(StrEnum):
    """How a suspected regression is measured again before it counts."""

    NONE = "none"  # it counts at once
    RERUN = "rerun"  # the case is launched again, in fresh processes
    DUET = "duet"  # likewise, interleaved with the baseline where its code is at hand


class Alert(StrEnum):
    """Which alert a confirmed regression fires."""

    BY_SEVERITY = "by-severity"  # critical, warning or info, as its size says
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    NONE = "none"  # it is listed and fails gates, and wakes nobody
