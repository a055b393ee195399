"""What tbctl's exit status means: an interface that pipelines rely on.

The table is published by `tbctl explain`; docs/decisions/ says which code wins when several apply.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Every status that tbctl ends with in its standard mode."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    FORBIDDEN = 4
    NOT_FOUND = 5
    WAIT_TIMEOUT = 6
    UNREACHABLE = 7
    PENDING = 8
    CANCELLED = 9
    REGRESSION = 10
    INCONCLUSIVE = 11
    BENCHMARK_FAILED = 12
    NO_HOST = 13
    ENVIRONMENT = 14
    INTERRUPTED = 130


class ExitMode(StrEnum):
    """Which scale the exit status uses."""

    STANDARD = "standard"
    """The table of `ExitCode`."""
    SEVERITY = "severity"
    """0 none, 1 minor, 2 major, 3 critical, 4 anything else."""
    SIMPLE = "simple"
    """0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What an exit code tells a pipeline."""

    text: str
    retry: str


MEANINGS: dict[ExitCode, Meaning] = {
    ExitCode.DONE: Meaning(text="done; the gate passed, or none was asked for", retry="-"),
    ExitCode.FAILURE: Meaning(text="unexpected failure of tbctl or of the collector", retry="yes"),
    ExitCode.USAGE: Meaning(text="bad usage, bad configuration, or a state that forbids it", retry="no"),
    ExitCode.FORBIDDEN: Meaning(text="not logged in, or forbidden", retry="no"),
    ExitCode.NOT_FOUND: Meaning(text="thing not found, or an empty result", retry="no"),
    ExitCode.WAIT_TIMEOUT: Meaning(text="waiting ran out of --timeout; the run goes on", retry="yes"),
    ExitCode.UNREACHABLE: Meaning(text="collector not reachable after retries", retry="yes"),
    ExitCode.PENDING: Meaning(text="asked about a run that is still pending", retry="yes"),
    ExitCode.CANCELLED: Meaning(text="the run was cancelled", retry="-"),
    ExitCode.REGRESSION: Meaning(text="gate failed: a regression at or above --fail-on", retry="no"),
    ExitCode.INCONCLUSIVE: Meaning(text="gate inconclusive, and --fail-on-inconclusive was given", retry="yes"),
    ExitCode.BENCHMARK_FAILED: Meaning(text="a benchmark failed to execute or gave wrong results", retry="maybe"),
    ExitCode.NO_HOST: Meaning(text="no eligible host before the deadline", retry="yes"),
    ExitCode.ENVIRONMENT: Meaning(
        text="finished, but in an invalid environment: throttled, busy, lost, not comparable",
        retry="on another host",
    ),
    ExitCode.INTERRUPTED: Meaning(text="interrupted", retry="-"),
}

# Statuses of gRPC by name, so that nothing here needs grpc.
_STATUS_CODES = {
    "OK": ExitCode.DONE,
    "UNAUTHENTICATED": ExitCode.FORBIDDEN,
    "PERMISSION_DENIED": ExitCode.FORBIDDEN,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "INVALID_ARGUMENT": ExitCode.USAGE,
    "OUT_OF_RANGE": ExitCode.USAGE,
    "ALREADY_EXISTS": ExitCode.USAGE,
    "FAILED_PRECONDITION": ExitCode.USAGE,
    "UNAVAILABLE": ExitCode.UNREACHABLE,
    "DEADLINE_EXCEEDED": ExitCode.UNREACHABLE,
}
_REASONS = {"RUN_PENDING": ExitCode.PENDING, "MESSAGE_TOO_LARGE": ExitCode.USAGE}

_SEVERITY_CODES = {"minor": 1, "major": 2, "critical": 3}
_SEVERITY_OTHER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a command ended: its code, the sentence for the last line, and the severity when a gate failed."""

    code: ExitCode
    sentence: str = ""
    severity: str = ""


DONE = Ending(code=ExitCode.DONE)


def code_of_status(status: str, reason: str = "") -> ExitCode:
    """The exit code for a failed call: the stable reason decides first, then the name of its gRPC status."""
    return _REASONS.get(reason) or _STATUS_CODES.get(status, ExitCode.FAILURE)


def status_in_mode(ending: Ending, mode: ExitMode) -> int:
    """The process status for an ending in the scale that was asked for. An interrupt is 130 in all of them."""
    if mode is ExitMode.STANDARD or ending.code in {ExitCode.DONE, ExitCode.INTERRUPTED}:
        return int(ending.code)
    if mode is ExitMode.SIMPLE:
        return 1
    if ending.code is not ExitCode.REGRESSION:
        return _SEVERITY_OTHER
    # A regression below 2 % has no severity and counts only with --fail-on any; the scale's lowest step tells it.
    return _SEVERITY_CODES.get(ending.severity, 1)
