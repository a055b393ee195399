"""A batch on its way into the database: prepared when it arrives, so that a commit only joins and sends bytes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from tesserabench.collector.core.series_book import Resolved, SeriesBook, series_key
from tesserabench.collector.core.statistics import summarise
from tesserabench.collector.store.copy_rows import Origin, case_row, log_rows, measurement_row
from tesserabench.collector.store.ingest import LogKey
from tesserabench.collector.store.records import (
    AttemptFinished,
    Batch,
    CaseFinished,
    LogLines,
    MetricValue,
    Record,
    TrialFinished,
    TrialStarted,
    Unusable,
)
from tesserabench.collector.store.words import Outcome

COLLECTOR_SOURCE = "collector"
"""Source of log lines that the collector itself wrote."""


class Place(StrEnum):
    """Where a batch stands to what is committed."""

    NEXT = "next"  # all or the rest of it continues the log
    DUPLICATE = "duplicate"  # all of it is there already
    GAP = "gap"  # something before it is missing


def place(committed: int, first: int, last: int) -> Place:
    """Where records `first` to `last` stand to a log that is committed up to `committed`."""
    if first > committed + 1:
        return Place.GAP
    return Place.NEXT if last > committed else Place.DUPLICATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The answer to a batch."""

    sequence: int
    late: bool


@dataclass(slots=True, kw_only=True)
class OpenLog:
    """A log that is being uploaded through this replica."""

    key: LogKey
    origin: Origin
    project_id: int
    project: str
    device_keys: dict[int, str]
    """Device key of each trial that has started."""
    committed: int
    late: bool


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A record with its rows; not frozen for the reason that `store.records` gives."""

    record: Record
    measurements: bytes = b""
    case: bytes = b""
    lines: bytes = b""
    case_outcome: Outcome | None = None
    device_key: str = ""


@dataclass(slots=True, kw_only=True)
class Work:
    """A batch that waits for its commit; `answer` is told when it is done."""

    log: OpenLog
    prepared: Sequence[Prepared]
    batch: Batch
    series: Resolved
    late: bool
    """What the rows say; made again when it turns out otherwise."""
    answer: asyncio.Future[Committed]

    @property
    def first(self) -> int:
        """Sequence of the first record."""
        return self.batch.records[0].sequence

    @property
    def last(self) -> int:
        """Sequence of the last record."""
        return self.batch.records[-1].sequence

    def part(self, start: int, stop: int) -> "Work":
        """The records from position `start` to before `stop`, with an answer of their own."""
        batch = Batch(
            records=self.batch.records[start:stop],
            size_bytes=self.batch.size_bytes,
            content_of=lambda position: self.batch.content_of(start + position),
        )
        return Work(
            log=self.log,
            prepared=self.prepared[start:stop],
            batch=batch,
            series=self.series,
            late=self.late,
            answer=asyncio.get_running_loop().create_future(),
        )


async def complete(log: OpenLog, batch: Batch, book: SeriesBook) -> tuple[Batch, Resolved]:
    """The batch with what the agent left out and without what cannot be stored, and the series of its values.

    Raises:
        UnavailableError: a series is new, and the database cannot be reached.
    """
    records = list(batch.records)
    cases: list[tuple[CaseFinished, str]] = []
    for position, record in enumerate(records):
        if isinstance(record, TrialStarted):
            log.device_keys[record.trial] = device_key(record, log.origin.host)
        elif isinstance(record, CaseFinished) and record.values:
            if record.trial in log.device_keys:
                cases.append((record, log.device_keys[record.trial]))
            else:
                reason = f"trial: {record.trial}: no such trial has started, so that its device is not known"
                records[position] = set_aside(batch, position, reason)
    _add_statistics(records)
    series = await book.resolve(log.project_id, cases)
    for position, record in enumerate(records):
        if type(record) is CaseFinished and (complaint := _unit_complaint(log, record, series)):
            records[position] = set_aside(batch, position, complaint)
    return replace(batch, records=tuple(records)), series


def device_key(trial: TrialStarted, host: str) -> str:
    """What stands for the device in a series: a GPU's model; for a CPU its host, because no two machines are alike."""
    return host if trial.device_kind == "cpu" or not trial.device_model else trial.device_model


def set_aside(batch: Batch, position: int, reason: str) -> Unusable:
    """The record at a position as one that cannot be taken."""
    record = batch.records[position]
    if isinstance(record, Unusable):
        return record
    case = record if isinstance(record, CaseFinished) else None
    return Unusable(
        sequence=record.sequence,
        time_us=record.time_us,
        reason=f"record {record.sequence}: {reason}",
        content=batch.content_of(position),
        trial=case.trial if case else None,
        case=case.case if case else None,
        closing=isinstance(record, AttemptFinished),
    )


def prepare(log: OpenLog, record: Record, series: Resolved, now_us: int, *, late: bool) -> Prepared:
    """The rows of a record that `complete` has seen."""
    match record:
        case CaseFinished():
            return _prepare_case(log, record, series, late=late)
        case LogLines():
            return Prepared(record=record, lines=log_rows(log.origin, record))
        case TrialStarted():
            return Prepared(record=record, device_key=log.device_keys[record.trial])
        case Unusable():
            return _prepare_unusable(log, record, now_us, late=late)
        case TrialFinished() | AttemptFinished():
            return Prepared(record=record)


def _prepare_case(log: OpenLog, record: CaseFinished, series: Resolved, *, late: bool) -> Prepared:
    rows = []
    for value in record.values:
        known = series[series_key(log.project_id, record, value, log.device_keys[record.trial])]
        rows.append(measurement_row(log.origin, record, value, known.id, late=late))
    return Prepared(
        record=record,
        measurements=b"".join(rows),
        case=case_row(log.origin, record, late=late),
        case_outcome=record.outcome,
    )


def _prepare_unusable(log: OpenLog, record: Unusable, now_us: int, *, late: bool) -> Prepared:
    """A case that cannot be taken fails where people look for it; every reason is told in the run's log."""
    at_us = now_us if record.time_us is None else record.time_us
    reason = f"put aside by the collector: {record.reason}"
    line = LogLines(
        sequence=record.sequence, time_us=at_us, trial=record.trial, source=COLLECTOR_SOURCE, lines=(reason,)
    )
    if record.case is None or record.trial is None:
        return Prepared(record=record, lines=log_rows(log.origin, line))
    case = CaseFinished(
        sequence=record.sequence,
        time_us=at_us,
        trial=record.trial,
        case=record.case,
        mode="",
        outcome=Outcome.HARNESS_ERROR,
        reason=reason,
        stop_reason=None,
        measured_us=at_us,
        detail_json="}",
        values=(),
    )
    return Prepared(
        record=record,
        case=case_row(log.origin, case, late=late),
        lines=log_rows(log.origin, line),
        case_outcome=Outcome.HARNESS_ERROR,
    )


def _unit_complaint(log: OpenLog, record: CaseFinished, series: Resolved) -> str:
    """Why the values of a case cannot join their series; empty when they can."""
    for value in record.values:
        known = series[series_key(log.project_id, record, value, log.device_keys[record.trial])]
        if known.unit != value.unit:
            return f"unit: {value.unit!r}: metric {value.metric} of this case has been measured in {known.unit!r}"
    return ""


def _add_statistics(records: list[Record]) -> None:
    """Statistics for samples that came without, computed for the whole batch at once."""
    missing = [
        (position, index)
        for position, record in enumerate(records)
        if isinstance(record, CaseFinished)
        for index, value in enumerate(record.values)
        if value.statistics is None and value.samples is not None
    ]
    if not missing:
        return
    values = {(position, index): _value(records[position], index) for position, index in missing}
    summaries = summarise([np.frombuffer(value.samples or b"", dtype="<f8") for value in values.values()])
    for (position, index), summary in zip(missing, summaries, strict=True):
        record, value = records[position], values[position, index]
        assert isinstance(record, CaseFinished)
        interval = (value.ci_low, value.ci_high)
        if interval == (None, None) and value.value == summary.median:
            interval = (summary.ci_low, summary.ci_high)
        added = replace(value, statistics=summary.statistics, ci_low=interval[0], ci_high=interval[1])
        records[position] = replace(record, values=(*record.values[:index], added, *record.values[index + 1 :]))


def _value(record: Record, index: int) -> MetricValue:
    assert isinstance(record, CaseFinished)
    return record.values[index]
