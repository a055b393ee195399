"""Runs, hosts and schedules as messages, and requests as values. JSON in rows is protobuf's own mapping."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tesserabench.collector.api.enums import number, word
from tesserabench.collector.core.look_progress import LookView
from tesserabench.collector.core.runs import RunView
from tesserabench.collector.core.spec import GateSpec, Revision, RunSpec
from tesserabench.collector.store.tables import Attempt, LogLine, Run
from tesserabench.collector.store.words import Outcome
from tesserabench.v1 import measurement_pb2, run_pb2, run_service_pb2
from tesserabench.wire.names import AttemptName, run_name

_M = TypeVar("_M", bound=Message)


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A time as a message; none stays none, which leaves a field unset."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def moment(message: Message, field: str) -> datetime | None:
    """The time in a field, in UTC; none when it is not set."""
    return getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None


def duration(seconds: float) -> Duration:
    """A duration as a message."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def to_json(message: Message) -> dict[str, Any]:
    """A message in protobuf's JSON mapping with the original field names."""
    data: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return data


def from_json(data: Mapping[str, Any], message: _M) -> _M:
    """The message filled from protobuf's JSON mapping; fields of a newer release are left out."""
    return ParseDict(dict(data), message, ignore_unknown_fields=True)


def spec_of(message: run_pb2.RunSpec) -> RunSpec:
    """What a run measures, as a value."""
    return RunSpec.from_json(to_json(message))


def revision_of(message: run_pb2.Revision) -> Revision:
    """The code that is measured, as a value."""
    return Revision.from_json(to_json(message))


def gate_of(message: run_pb2.GateSpec) -> GateSpec:
    """How a run is judged, as a value.

    Raises:
        InvalidArgumentError: its options do not fit together.
    """
    gate = GateSpec.from_json(to_json(message))
    gate.validate()
    return gate


def revision_message(run: Run) -> run_pb2.Revision:
    """The code that a run measured."""
    return run_pb2.Revision(**{name: getattr(run, name) for name in Revision.__slots__})


def run_message(view: RunView) -> run_pb2.Run:
    """A run with its attempts."""
    run = view.run
    attempts = [attempt_message(attempt, host, committed) for attempt, host, committed in view.attempts]
    return run_pb2.Run(
        name=run_name(run.id),
        project=view.project,
        spec=from_json(run.spec, run_pb2.RunSpec()),
        revision=revision_message(run),
        gate=from_json(run.gate, run_pb2.GateSpec()),
        labels=run.labels,
        priority=run.priority,
        deadline=timestamp(run.deadline_at),
        trigger=number(run_pb2.TriggerKind, run.trigger),
        requested_by=run_pb2.Actor(name=run.requested_by),
        parent=run_name(run.parent_id) if run.parent_id is not None else "",
        state=number(run_pb2.RunState, run.state),
        outcome=number(measurement_pb2.Outcome, run.outcome),
        reason=view.reason,
        verdict=number(run_pb2.Verdict, run.verdict),
        severity=number(run_pb2.Severity, run.severity),
        verdict_reason=run.verdict_reason,
        attempts=attempts,
        progress=_total([attempt.progress for attempt in attempts]),
        create_time=timestamp(run.created_at),
        start_time=timestamp(run.started_at),
        end_time=timestamp(run.ended_at),
        failures=view.failures,
        looks=[look_message(look) for look in view.looks],
    )


def look_message(view: LookView) -> run_pb2.Look:
    """A look that follows the first one."""
    look, measuring = view.look, view.measuring
    return run_pb2.Look(
        number=look.number,
        run=run_name(look.measuring_run_id),
        hosts=look.hosts,
        launches=look.launches,
        cases=view.cases,
        interleaved=look.interleaved,
        base=run_name(look.base_run_id) if look.base_run_id is not None else "",
        state=number(run_pb2.RunState, measuring.state),
        outcome=number(measurement_pb2.Outcome, measuring.outcome),
        reason=measuring.reason,
        create_time=timestamp(look.created_at),
        end_time=timestamp(measuring.ended_at),
        expected=duration(look.expected_seconds) if look.expected_seconds is not None else None,
    )


def attempt_message(attempt: Attempt, host: str, committed: int) -> run_pb2.Attempt:
    """An attempt."""
    return run_pb2.Attempt(
        name=str(AttemptName(run=attempt.run_id, attempt=attempt.id)),
        epoch=attempt.epoch,
        host=host,
        state=number(run_pb2.AttemptState, attempt.state),
        outcome=number(measurement_pb2.Outcome, attempt.outcome),
        reason=attempt.reason,
        progress=run_pb2.Progress(
            cases_done=attempt.cases_done,
            cases_total=attempt.cases_total,
            current_case=attempt.current_case,
            phase=attempt.phase,
        ),
        start_time=timestamp(attempt.started_at),
        end_time=timestamp(attempt.ended_at),
        committed_sequence=committed,
    )


def _total(parts: list[run_pb2.Progress]) -> run_pb2.Progress:
    current = next((part for part in parts if part.current_case), run_pb2.Progress())
    return run_pb2.Progress(
        cases_done=sum(part.cases_done for part in parts),
        cases_total=sum(part.cases_total for part in parts),
        current_case=current.current_case,
        phase=current.phase,
    )


def log_entry(line: LogLine) -> run_service_pb2.LogEntry:
    """A line that a worker or an agent wrote."""
    return run_service_pb2.LogEntry(
        time=timestamp(line.at), host=line.host, trial=line.trial, source=line.source, text=line.text
    )


def outcome_word(value: measurement_pb2.Outcome.ValueType) -> Outcome:
    """The outcome of a closing record; a value from a newer release counts as our own failure to understand it."""
    return Outcome(word(measurement_pb2.Outcome, value) or Outcome.HARNESS_ERROR)
