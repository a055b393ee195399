"""Words that stand in the database, each the lower-case tail of its enum value on the wire."""

from enum import StrEnum


class RunState(StrEnum):
    """Where a run is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    JUDGING = "judging"
    FINISHED = "finished"


class AttemptState(StrEnum):
    """Where an attempt is in its life."""

    QUEUED = "queued"
    OFFERED = "offered"
    RUNNING = "running"
    UNREACHABLE = "unreachable"
    FINISHED = "finished"


HELD_STATES = (AttemptState.OFFERED, AttemptState.RUNNING, AttemptState.UNREACHABLE)
"""States in which an attempt keeps its host to itself."""


class Outcome(StrEnum):
    """How a case, a trial, an attempt or a run ended."""

    OK = "ok"
    INCORRECT = "incorrect"
    IMPLAUSIBLE = "implausible"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_ERROR = "device_error"
    DEVICE_LOST = "device_lost"
    BUSY = "busy"
    THROTTLED = "throttled"
    UNSUPPORTED = "unsupported"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    HARNESS_ERROR = "harness_error"
    NO_ELIGIBLE_HOST = "no_eligible_host"


class Verdict(StrEnum):
    """The answer to "did it get slower"."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    IMPROVED = "improved"
    REGRESSED = "regressed"
    INCONCLUSIVE = "inconclusive"


class Severity(StrEnum):
    """How bad a regression is: from 2, 5 and 10 %."""

    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class RegressionState(StrEnum):
    """Where a finding is in its life. `docs/states/regression.md` draws the machine."""

    SUSPECTED = "suspected"
    CONFIRMED = "confirmed"
    ACKNOWLEDGED = "acknowledged"
    ASSIGNED = "assigned"
    FIXED = "fixed"
    IGNORED = "ignored"
    RESOLVED = "resolved"
    VERIFIED = "verified"
    WONT_FIX = "wont_fix"
    FALSE_POSITIVE = "false_positive"
    INFRASTRUCTURE = "infrastructure"
    DUPLICATE = "duplicate"
    ACCEPTED = "accepted"


OPEN_REGRESSION_STATES = (
    RegressionState.SUSPECTED,
    RegressionState.CONFIRMED,
    RegressionState.ACKNOWLEDGED,
    RegressionState.ASSIGNED,
    RegressionState.FIXED,
)
"""States in which a finding is not over: it asks for somebody's attention, or waits to be verified."""


class FindingKind(StrEnum):
    """What a finding is about."""

    REGRESSION = "regression"
    """Results became worse."""
    SLOW_DEVICE = "slow_device"
    """A device is slower than its siblings."""
    MISSING_DATA = "missing_data"
    """A series or a schedule gives no results any more."""


class CauseWord(StrEnum):
    """What a finding comes from."""

    CODE = "code"
    HOST = "host"
    ENVIRONMENT = "environment"
    UNKNOWN = "unknown"


class TriggerKind(StrEnum):
    """What asked for a run."""

    PERSON = "person"
    CI = "ci"
    SCHEDULE = "schedule"
    CONFIRMATION = "confirmation"
    RETRY = "retry"


class IdenticalRun(StrEnum):
    """Which one a run is of two that measure the same code, to count what the gate calls different."""

    NEITHER = ""
    FIRST = "first"
    SECOND = "second"


class Role(StrEnum):
    """What a token may do; each role but `agent` includes the ones before it."""

    VIEWER = "viewer"
    RUNNER = "runner"
    ADMIN = "admin"
    AGENT = "agent"


class RendezvousState(StrEnum):
    """Where a rendezvous is in its life."""

    GATHERING = "gathering"
    COMPLETE = "complete"
    CLOSED = "closed"
    FAILED = "failed"
    EXPIRED = "expired"
