"""Shape rules of requests: what must be there, patterns, lengths, ranges. One table, checked before any service runs.

Beside the table, every text must be free of NUL and not absurdly long, every enum value known, every time and duration
in the range that its type allows. Batches of records are left out: ingest checks them itself, and they are hot.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from tesserabench.collector.errors import FieldViolation, InvalidArgumentError, invalid_field
from tesserabench.wire import names
from tesserabench.wire.reasons import Reason

_LONGEST_TEXT = 4096
_MOST_ITEMS = 10_000
_MOST_VIOLATIONS = 10
_SECONDS_OF_YEAR_1 = -62_135_596_800
_SECONDS_OF_YEAR_9999 = 253_402_300_799
_LONGEST_DURATION_SECONDS = 315_576_000_000
_UNCHECKED = frozenset({"tesserabench.v1.RecordBatch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a field must look like. For a repeated field or a map, text rules hold for each item or key."""

    required: bool = False
    pattern: re.Pattern[str] | None = None
    remedy: str = ""
    longest: int = _LONGEST_TEXT
    lowest: float | None = None
    highest: float | None = None
    most: int = _MOST_ITEMS
    parse: Callable[[str], object] | None = None


_PAGE = {"page_size": Rule(highest=1000), "page_token": Rule(longest=1024)}
_PROJECT = Rule(pattern=names.PROJECT_PATTERN, remedy="1 to 63 of a-z 0-9 _ -, starting with a letter or digit")
_HOST = Rule(
    required=True, pattern=names.HOST_PATTERN, remedy="1 to 63 of a-z 0-9 . _ -, starting with a letter or digit"
)
_RUN = Rule(required=True, parse=names.parse_run)
_ATTEMPT_NAME = Rule(required=True, parse=names.parse_attempt)
_EPOCH = Rule(required=True, highest=32767)
_HOST_NAME = Rule(required=True, parse=names.parse_host)
_SCHEDULE_NAME = Rule(required=True, parse=names.parse_schedule)
_REGRESSION_NAME = Rule(required=True, parse=names.parse_regression)
_SERIES_NAME = Rule(required=True, parse=names.parse_series)
_BASELINE_NAME = Rule(required=True, parse=names.parse_baseline)
_LABELS = Rule(
    most=64,
    longest=128,
    pattern=re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*"),
    remedy="keys are words of A-Z a-z 0-9 _ . / -",
)
_REQUEST_ID = Rule(longest=128)
_COMMENT = Rule(longest=1000)
_OWNER = Rule(longest=128)
_REFERENCE = Rule(required=True, longest=300)
_PROCESS = Rule(
    required=True, pattern=re.compile(r"[A-Za-z0-9_-]{16,64}"), remedy="16 to 64 random characters of A-Z a-z 0-9 _ -"
)
_POLICY_TEXT = Rule(longest=256 * 1024)
_SOURCE = Rule(longest=500)
_RENDEZVOUS_KEY = Rule(
    required=True, pattern=re.compile(r"[A-Za-z0-9_.-]{1,128}"), remedy="1 to 128 characters of A-Z a-z 0-9 _ . -"
)
_SUITE = Rule(pattern=names.SUITE_PATTERN, remedy="1 to 63 of a-z 0-9 _ . -, starting with a letter or digit")
_BRANCH = Rule(longest=255)
_COMMIT = Rule(pattern=re.compile(r"[0-9a-fA-F]{7,64}"), remedy="7 to 64 hexadecimal digits")
_PREFIX = Rule(pattern=re.compile(r"[0-9a-fA-F]{1,64}"), remedy="1 to 64 hexadecimal digits")

RULES: Mapping[str, Mapping[str, Rule]] = {
    "RegisterRequest": {
        "host": _HOST,
        "process_id": _PROCESS,
        "agent_version": Rule(longest=64),
        "schema_version": Rule(required=True),
        "inventory": Rule(required=True),
    },
    "SyncRequest": {
        "host": _HOST,
        "process_id": _PROCESS,
        "held": Rule(most=100),
        "unready_reason": Rule(longest=1000),
        "devices": Rule(most=256),
    },
    "HeldAttempt": {
        "name": Rule(required=True, parse=names.parse_attempt),
        "epoch": Rule(required=True, highest=32767),
    },
    "RendezvousCaller": {"host": _HOST, "process_id": _PROCESS, "attempt": _ATTEMPT_NAME, "epoch": _EPOCH},
    "JoinRendezvousRequest": {
        "caller": Rule(required=True),
        "key": _RENDEZVOUS_KEY,
        "world_size": Rule(required=True, lowest=1, highest=1000),
        "rank": Rule(highest=999),
        "timeout": Rule(required=True),
    },
    "LeaveRendezvousRequest": {"caller": Rule(required=True), "key": _RENDEZVOUS_KEY},
    "FailRendezvousRequest": {
        "caller": Rule(required=True),
        "key": _RENDEZVOUS_KEY,
        "reason": Rule(required=True, longest=1000),
    },
    "UploadHeader": {
        "host": _HOST,
        "attempt": Rule(required=True, parse=names.parse_attempt),
        "epoch": Rule(required=True, highest=32767),
        "schema_version": Rule(required=True),
    },
    "Inventory": {"devices": Rule(most=256), "suites": Rule(most=1000), "labels": _LABELS},
    "RunSpec": {
        "suite": Rule(required=True, pattern=_SUITE.pattern, remedy=_SUITE.remedy),
        "device": Rule(longest=32),
        "include": Rule(most=500, longest=1000),
        "exclude": Rule(most=500, longest=1000),
        "overrides": Rule(most=100),
        "trials": Rule(highest=1000),
        "drill": Rule(most=100, longest=128),
        "determinism_launches": Rule(highest=10_000),
    },
    "ParameterOverride": {"parameter": Rule(required=True, longest=256), "value": Rule(required=True, longest=1000)},
    "Duet": {"overrides": Rule(most=100)},
    "HostSelector": {
        "hosts": Rule(most=1000, pattern=names.HOST_PATTERN, remedy=_HOST.remedy),
        "conditions": Rule(most=50, longest=500),
        "count": Rule(highest=1000),
    },
    "Revision": {
        "commit": _COMMIT,
        "branch": _BRANCH,
        "base_branch": _BRANCH,
        "pull_request": Rule(longest=64),
        "build_url": Rule(longest=2000),
        "repository": Rule(longest=255),
    },
    "GateSpec": {"baseline": Rule(longest=300), "looks": Rule(highest=10)},
    "CreateRunRequest": {
        "project": _PROJECT,
        "spec": Rule(required=True),
        "labels": _LABELS,
        "priority": Rule(lowest=-100, highest=100),
        "request_id": _REQUEST_ID,
    },
    "GetRunRequest": {"name": _RUN},
    "ListRunsRequest": _PAGE | {"project": _PROJECT, "suite": _SUITE, "branch": _BRANCH, "commit": _PREFIX},
    "WatchRunRequest": {"name": _RUN, "cursor": Rule(longest=128)},
    "ListRunLogsRequest": {"name": _RUN, "page_size": Rule(highest=10_000), "page_token": Rule(longest=1024)},
    "CancelRunRequest": {"name": _RUN, "reason": _COMMENT},
    "RetryRunRequest": {"name": _RUN, "request_id": _REQUEST_ID},
    "ListResultsRequest": _PAGE | {"run": _RUN, "case_pattern": Rule(longest=1000)},
    "CompareRequest": {"project": _PROJECT, "base": _REFERENCE, "head": _REFERENCE, "suite": _SUITE},
    "GetRunComparisonRequest": {"run": _RUN},
    "ListRegressionsRequest": _PAGE
    | {"project": _PROJECT, "suite": _SUITE, "owner": _OWNER, "subject": Rule(longest=300)},
    "GetRegressionRequest": {"name": _REGRESSION_NAME},
    "AcknowledgeRegressionRequest": {"name": _REGRESSION_NAME, "comment": _COMMENT, "owner": _OWNER},
    "AssignRegressionRequest": {"name": _REGRESSION_NAME, "comment": _COMMENT, "owner": _OWNER},
    "IgnoreRegressionRequest": {"name": _REGRESSION_NAME, "comment": _COMMENT},
    "ResolveRegressionRequest": {"name": _REGRESSION_NAME, "comment": _COMMENT},
    "AcceptRegressionRequest": {"name": _REGRESSION_NAME, "comment": _COMMENT},
    "ReopenRegressionRequest": {"name": _REGRESSION_NAME, "comment": _COMMENT},
    "CommentRegressionRequest": {"name": _REGRESSION_NAME, "comment": _COMMENT},
    "GiveRegressionFeedbackRequest": {"name": _REGRESSION_NAME, "comment": _COMMENT},
    "GetDetectorScoreRequest": {"project": _PROJECT},
    "ListSeriesRequest": _PAGE
    | {
        "project": _PROJECT,
        "suite": _SUITE,
        "benchmark": Rule(longest=1000),
        "metric": Rule(longest=128),
        "device": Rule(longest=256),
        "branch": _BRANCH,
    },
    "GetHistoryRequest": _PAGE | {"name": _SERIES_NAME, "branch": _BRANCH},
    "ListBaselinesRequest": _PAGE | {"project": _PROJECT},
    "GetBaselineRequest": {"name": _BASELINE_NAME},
    "SetBaselineRequest": {"name": _BASELINE_NAME, "run": _RUN, "comment": _COMMENT},
    "PinBaselineRequest": {"name": _BASELINE_NAME},
    "UnpinBaselineRequest": {"name": _BASELINE_NAME},
    "ListHostsRequest": _PAGE | {"conditions": Rule(most=50, longest=500)},
    "GetHostRequest": {"name": _HOST_NAME},
    "CompareDevicesRequest": {"model": Rule(longest=256), "suite": _SUITE},
    "RankNoiseRequest": {
        "project": _PROJECT,
        "suite": _SUITE,
        "host": Rule(parse=names.parse_host),
        "limit": Rule(highest=1000),
    },
    "CordonHostRequest": {"name": _HOST_NAME, "reason": Rule(required=True, longest=1000)},
    "UncordonHostRequest": {"name": _HOST_NAME},
    "GetSuiteRequest": {"name": Rule(required=True, parse=names.parse_suite)},
    "ApplyPolicyRequest": {
        "project": _PROJECT,
        "text": Rule(required=True, longest=256 * 1024),
        "source": _SOURCE,
        "comment": _COMMENT,
    },
    "GetPolicyRequest": {"name": Rule(required=True, parse=names.parse_policy)},
    "ListPoliciesRequest": _PAGE | {"project": _PROJECT},
    "DiffPolicyRequest": {"project": _PROJECT, "text": _POLICY_TEXT, "source": _SOURCE},
    "TestPolicyRequest": {
        "project": _PROJECT,
        "text": Rule(required=True, longest=256 * 1024),
        "source": _SOURCE,
        "since": Rule(required=True),
        "suite": _SUITE,
    },
    "CreateScheduleRequest": {"schedule": Rule(required=True)},
    "Schedule": {
        "name": _SCHEDULE_NAME,
        "spec": Rule(required=True),
        "interval": Rule(required=True),
        "labels": _LABELS,
    },
    "ListSchedulesRequest": _PAGE | {"project": _PROJECT},
    "PauseScheduleRequest": {"name": _SCHEDULE_NAME},
    "ResumeScheduleRequest": {"name": _SCHEDULE_NAME},
    "DeleteScheduleRequest": {"name": _SCHEDULE_NAME},
}
"""Rules by message (without its package) and field."""


def check(message: Message) -> None:
    """Check a request.

    Raises:
        InvalidArgumentError: names every wrong field (up to ten) with its value and what would be right.
    """
    violations = []
    for violation in _walk(message, ""):
        violations.append(violation)
        if len(violations) >= _MOST_VIOLATIONS:
            break
    if violations:
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise InvalidArgumentError(text, reason=Reason.INVALID_FIELD, violations=tuple(violations))


def _walk(message: Message, path: str) -> Iterator[FieldViolation]:
    if message.DESCRIPTOR.full_name in _UNCHECKED:
        return
    rules = RULES.get(message.DESCRIPTOR.name, {})
    present = {field.name for field, _ in message.ListFields()}
    for name, rule in rules.items():
        if rule.required and name not in present:
            yield FieldViolation(field=path + name, description="is required; set it")
    for field, value in message.ListFields():
        yield from _field(field, value, rules.get(field.name, _ANYTHING), path + field.name)


def _field(field: FieldDescriptor, value: Any, rule: Rule, path: str) -> Iterator[FieldViolation]:
    if not field.is_repeated:
        yield from _single(field, value, rule, path)
        return
    if len(value) > rule.most:
        yield _violation(path, len(value), f"too many items; give at most {rule.most}")
        return
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, item = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        for name in sorted(value):
            yield from _single(key, name, rule, f"{path}[{name}]")
            yield from _field(item, value[name], _ANYTHING, f"{path}[{name}]")
        return
    for index, item in enumerate(value):
        yield from _single(field, item, rule, f"{path}[{index}]")


def _single(field: FieldDescriptor, value: Any, rule: Rule, path: str) -> Iterator[FieldViolation]:
    if field.message_type is not None:
        special = _WELL_KNOWN.get(field.message_type.full_name)
        if special is None:
            yield from _walk(value, f"{path}.")
        elif (problem := special(value)) is not None:
            yield _violation(path, f"{value.seconds}s {value.nanos}ns", problem)
    elif field.type == FieldDescriptor.TYPE_STRING:
        yield from _text(value, rule, path)
    elif field.enum_type is not None:
        yield from _enum(field.enum_type, value, path)
    elif (rule.highest is not None and value > rule.highest) or (rule.lowest is not None and value < rule.lowest):
        low = rule.lowest if rule.lowest is not None else 0
        yield _violation(path, value, f"give a number from {low:g} to {rule.highest:g}")


def _text(value: str, rule: Rule, path: str) -> Iterator[FieldViolation]:
    if "\x00" in value:
        yield _violation(path, value, "contains a NUL character; remove it")
    elif len(value) > rule.longest:
        yield _violation(path, value, f"has {len(value)} characters; give at most {rule.longest}")
    elif rule.pattern is not None and not rule.pattern.fullmatch(value):
        yield _violation(path, value, f"give {rule.remedy}")
    elif rule.parse is not None:
        try:
            rule.parse(value)
        except names.ResourceNameError as error:
            yield FieldViolation(field=path, description=str(error))


def _enum(enum: EnumDescriptor, value: int, path: str) -> Iterator[FieldViolation]:
    if value not in enum.values_by_number:
        known = ", ".join(item.name for item in enum.values if item.number)
        yield _violation(path, value, f"this release knows {known}")


def _timestamp_problem(value: Any) -> str | None:
    if _SECONDS_OF_YEAR_1 <= value.seconds <= _SECONDS_OF_YEAR_9999 and 0 <= value.nanos < 1_000_000_000:
        return None
    return "not a time between the years 1 and 9999"


def _duration_problem(value: Any) -> str | None:
    opposed = value.seconds * value.nanos < 0
    if abs(value.seconds) <= _LONGEST_DURATION_SECONDS and abs(value.nanos) < 1_000_000_000 and not opposed:
        return None
    return "not a duration: seconds within 10,000 years, nanos below a billion and of the same sign"


def _violation(path: str, value: object, remedy: str) -> FieldViolation:
    return invalid_field(path, value, remedy).violations[0]


_ANYTHING = Rule()
_WELL_KNOWN: Mapping[str, Callable[[Any], str | None]] = {
    "google.protobuf.Timestamp": _timestamp_problem,
    "google.protobuf.Duration": _duration_problem,
}
