"""Records of an upload as values, each checked: numbers finite, texts clean and short, times believable.

A record that cannot be taken becomes `Unusable` with the reason; a batch whose records do not follow one another is
refused as a whole. Hot: a collector takes tens of thousands of measurements a second through here.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tesserabench.collector.api.case_values import CaseReader
from tesserabench.collector.api.enums import word
from tesserabench.collector.api.field_checks import DAY_US, BadFieldError, check_text, time_of
from tesserabench.collector.errors import InvalidArgumentError, invalid_field
from tesserabench.collector.store.records import (
    AttemptFinished,
    Batch,
    LogLines,
    Record,
    TrialFinished,
    TrialStarted,
    Unusable,
)
from tesserabench.collector.store.words import Outcome
from tesserabench.v1 import ingest_service_pb2 as ingest_pb
from tesserabench.v1 import measurement_pb2 as measurement_pb
from tesserabench.wire.reasons import Reason

_LARGEST_SEQUENCE = 2**63 - 1
_LARGEST_TRIAL = 2**15 - 1
_LONGEST_LINE = 16_384
_LONGEST_SOURCE = 32
_LONGEST_REASON = 16_384
_LONGEST_FACT = 4096
# What of the two records is kept as documents: what a trial ran under, and what its device did.
_CONTEXT = frozenset({"clock_policy", "processors", "numa_node", "arm_order"})
_TELEMETRY = frozenset({"flags", "telemetry"})
# About what a record weighs in memory beside its samples and texts, its message and its rows together.
_RECORD_BYTES = 3000


class RecordReader:
    """Reads the batches of one collector; remembers cases that it has seen, because they come again and again."""

    def __init__(self, clock_us: Callable[[], int]) -> None:
        """Remember nothing yet.

        Args:
            clock_us: microseconds since 1970.
        """
        self._clock_us = clock_us
        self._cases = CaseReader()

    def read(self, message: ingest_pb.RecordBatch) -> Batch:
        """The batch as values.

        Raises:
            InvalidArgumentError: its records do not follow one another, or something follows the closing one.
        """
        wire = list(message.records)
        _check_sequence(wire)
        latest_us = self._clock_us() + DAY_US
        self._cases.begin_batch()
        records = tuple([self._record(record, latest_us, strict=False) for record in wire])
        if not self._cases.samples_are_clean():
            # Rare: find out which samples are not, one record at a time.
            records = tuple([self._record(record, latest_us, strict=True) for record in wire])
        return Batch(
            records=records,
            size_bytes=_size(records, self._cases.sample_bytes),
            content_of=lambda position: wire[position].SerializeToString(),
        )

    def _record(self, record: ingest_pb.Record, latest_us: int, *, strict: bool) -> Record:
        time_us: int | None = None
        try:
            time_us = time_of(record.time, "time", latest_us)
            kind = record.WhichOneof("event")
            if kind == "case_finished":
                return self._cases.read(record, time_us, latest_us, strict=strict)
            return _READERS.get(kind or "", _unknown)(record, time_us)
        except BadFieldError as error:
            return self._unusable(record, time_us, error)

    def _unusable(self, record: ingest_pb.Record, time_us: int | None, error: BadFieldError) -> Unusable:
        kind = record.WhichOneof("event")
        case, trial = None, None
        if kind == "case_finished" and record.case_finished.trial <= _LARGEST_TRIAL:
            trial = record.case_finished.trial
            case = self._cases.identity_or_none(record.case_finished.result.case)
        return Unusable(
            sequence=record.sequence,
            time_us=time_us,
            reason=f"record {record.sequence}: {kind or 'event'}: {error}",
            content=record.SerializeToString(),
            trial=trial,
            case=case,
            closing=kind == "attempt_finished",
        )


def _size(records: tuple[Record, ...], sample_bytes: int) -> int:
    """About what a batch occupies: everything three times, in the message, as a value and as a row."""
    texts = sum([sum(map(len, record.lines)) for record in records if type(record) is LogLines])
    return _RECORD_BYTES * len(records) + 3 * (sample_bytes + texts)


def _check_sequence(records: list[ingest_pb.Record]) -> None:
    if not records:
        return
    first = records[0].sequence
    if not 0 < first <= _LARGEST_SEQUENCE - len(records):
        raise malformed("batch.records[0].sequence", first, "count records from 1")
    for position, record in enumerate(records):
        if record.sequence != first + position:
            field = f"batch.records[{position}].sequence"
            raise malformed(field, record.sequence, f"expected {first + position}: records ascend by one")
    for position, record in enumerate(records[:-1]):
        if record.HasField("attempt_finished"):
            field = f"batch.records[{position}].attempt_finished"
            raise malformed(field, record.sequence, "nothing follows the closing record of a log")


def malformed(field: str, value: object, remedy: str) -> InvalidArgumentError:
    """The error for a batch or a message that is refused as a whole."""
    return invalid_field(field, value, remedy, reason=Reason.MALFORMED_BATCH)


def _unknown(_record: ingest_pb.Record, _time_us: int) -> Record:
    raise BadFieldError("event", None, "missing, or of a kind that this collector does not know")


def _trial_started(record: ingest_pb.Record, time_us: int) -> TrialStarted:
    event = record.trial_started
    if not event.HasField("device"):
        raise BadFieldError("device", None, "missing")
    device = _document(event.device, "device")
    environment = event.environment
    facts = dict(environment.facts)
    _check_document(facts, "environment.facts")
    return TrialStarted(
        sequence=record.sequence,
        time_us=time_us,
        trial=_trial(event.trial),
        device=device,
        device_kind=event.device.kind,
        device_model=event.device.model,
        comparability=check_text(environment.comparability, "environment.comparability", 512),
        fingerprint=check_text(environment.fingerprint, "environment.fingerprint", 512),
        facts=facts,
        state=_document(event.state, "state") if event.HasField("state") else None,
        seed=event.seed,
        context=_part(event, _CONTEXT, "trial_started"),
    )


def _trial_finished(record: ingest_pb.Record, time_us: int) -> TrialFinished:
    event = record.trial_finished
    startup = event.startup
    fractions = dict(event.throttle_fractions)
    _check_document(fractions, "throttle_fractions")
    return TrialFinished(
        sequence=record.sequence,
        time_us=time_us,
        trial=_trial(event.trial),
        outcome=outcome(event.outcome),
        reason=check_text(event.reason, "reason", _LONGEST_REASON),
        state=_document(event.state, "state") if event.HasField("state") else None,
        throttle=word(measurement_pb.ThrottleClass, event.throttle) or None,
        throttle_fractions=fractions,
        ceilings=[_document(ceiling, f"ceilings[{index}]") for index, ceiling in enumerate(event.ceilings)],
        exit_status=event.exit_status if event.HasField("exit_status") else None,
        startup_seconds=startup.seconds + startup.nanos / 1e9 if event.HasField("startup") else None,
        telemetry=_part(event, _TELEMETRY, "trial_finished"),
    )


def _log_lines(record: ingest_pb.Record, time_us: int) -> LogLines:
    event = record.log_lines
    return LogLines(
        sequence=record.sequence,
        time_us=time_us,
        trial=_trial(event.trial) if event.HasField("trial") else None,
        source=check_text(event.source, "source", _LONGEST_SOURCE),
        lines=tuple([_line(line) for line in event.lines]),
    )


def _line(line: str) -> str:
    """What a process wrote is kept even when PostgreSQL cannot keep all of it: it takes no NUL."""
    clean = line.replace("\x00", "\N{REPLACEMENT CHARACTER}") if "\x00" in line else line
    return clean if len(clean) <= _LONGEST_LINE else clean[: _LONGEST_LINE - 1] + "…"


def _attempt_finished(record: ingest_pb.Record, time_us: int) -> AttemptFinished:
    event = record.attempt_finished
    return AttemptFinished(
        sequence=record.sequence,
        time_us=time_us,
        outcome=outcome(event.outcome),
        reason=check_text(event.reason, "reason", _LONGEST_REASON),
    )


_READERS: Mapping[str, Callable[[ingest_pb.Record, int], Record]] = {
    "trial_started": _trial_started,
    "trial_finished": _trial_finished,
    "log_lines": _log_lines,
    "attempt_finished": _attempt_finished,
}


def outcome(number: int) -> Outcome:
    """The outcome with this number.

    Raises:
        BadFieldError: it is none, or one that this release does not know.
    """
    name = word(measurement_pb.Outcome, number)
    if not name:
        raise BadFieldError("outcome", number, "missing, or one that this collector does not know")
    return Outcome(name)


def _trial(trial: int) -> int:
    if trial > _LARGEST_TRIAL:
        raise BadFieldError("trial", trial, f"larger than {_LARGEST_TRIAL}")
    return trial


def _part(message: Message, fields: frozenset[str], field: str) -> dict[str, Any]:
    """Some fields of a message in protobuf's JSON mapping; absent ones are left out."""
    part = type(message)()
    for descriptor, value in message.ListFields():
        if descriptor.name not in fields:
            continue
        if descriptor.is_repeated:
            getattr(part, descriptor.name).extend(value)
        elif descriptor.message_type is not None:
            getattr(part, descriptor.name).CopyFrom(value)
        else:
            setattr(part, descriptor.name, value)
    return _document(part, field)


def _document(message: Message, field: str) -> dict[str, Any]:
    """A message in protobuf's JSON mapping, fit for a JSON column."""
    document: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    _check_document(document, field)
    return document


def _check_document(value: object, field: str) -> None:
    match value:
        case str():
            # The JSON mapping writes NaN and infinities as words.
            if value in {"NaN", "Infinity", "-Infinity"}:
                raise BadFieldError(field, value, "not a finite number")
            check_text(value, field, _LONGEST_FACT)
        case float():
            if not math.isfinite(value):
                raise BadFieldError(field, value, "not a finite number")
        case dict():
            for name, item in value.items():
                check_text(name, f"{field} (a name)", _LONGEST_FACT)
                _check_document(item, f"{field}.{name}")
        case list():
            for index, item in enumerate(value):
                _check_document(item, f"{field}[{index}]")
        case _:
            pass
