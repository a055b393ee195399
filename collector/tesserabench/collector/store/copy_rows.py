"""Rows for PostgreSQL's binary COPY, packed by hand: three times as fast as handing psycopg the values.

Each function gives one row; `copy` sends many. The order of columns stands beside each packer.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import AsyncCursor
from tesserabench.collector.store.binary_form import EPOCH_US, NULL, boolean, float64, int16, length
from tesserabench.collector.store.binary_form import text as packed_text
from tesserabench.collector.store.records import CaseFinished, LogLines, MetricValue, SampleStatistics
from tesserabench.collector.store.samples import CODEC_FLOAT64
from tesserabench.collector.store.words import Outcome

_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER = b"\xff\xff"

_sure_statistics = struct.Struct(">iqididididid").pack
_three_float64 = struct.Struct(">ididid").pack
_four_float64 = struct.Struct(">idididid").pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What every row of a log has in common."""

    run_id: int
    attempt_id: int
    epoch: int
    host: str


def _optional_text(text: str | None) -> bytes:
    return NULL if text is None else packed_text(text)


_OUTCOMES = {outcome: packed_text(outcome) for outcome in Outcome}

MEASUREMENT = (
    "COPY measurement (attempt_id, epoch, sequence, series_id, measured_at, run_id, trial, outcome, late, value, "
    "ci_low, ci_high, count, minimum, q1, q3, maximum, mean, stdev, p5, p95, p99, mad, effective_count, "
    "autocorrelation, drift, codec, samples, columns) FROM STDIN (FORMAT BINARY)"
)
_measurement_head = struct.Struct(">hiqihiqiqiqiqih").pack
_NO_STATISTICS = NULL * 14


def measurement_row(origin: Origin, record: CaseFinished, value: MetricValue, series_id: int, *, late: bool) -> bytes:
    """One metric of one case."""
    head = _measurement_head(
        29,
        *(8, origin.attempt_id),
        *(2, origin.epoch),
        *(8, record.sequence),
        *(8, series_id),
        *(8, record.measured_us - EPOCH_US),
        *(8, origin.run_id),
        *(2, record.trial),
    )
    samples, columns = value.samples, value.columns
    return b"".join(
        (
            head,
            _OUTCOMES[record.outcome],
            boolean(1, late),
            float64(8, value.value),
            NULL if value.ci_low is None else float64(8, value.ci_low),
            NULL if value.ci_high is None else float64(8, value.ci_high),
            _NO_STATISTICS if value.statistics is None else _statistics(value.statistics),
            NULL + NULL if samples is None else int16(2, CODEC_FLOAT64) + length(len(samples)) + samples,
            NULL if columns is None else length(len(columns)) + columns,
        )
    )


def _statistics(found: SampleStatistics) -> bytes:
    sure = _sure_statistics(
        *(8, found.count),
        *(8, found.minimum),
        *(8, found.q1),
        *(8, found.q3),
        *(8, found.maximum),
        *(8, found.mean),
    )
    stdev, p5, p95, p99, mad = found.stdev, found.p5, found.p95, found.p99, found.mad
    others = (found.effective_count, found.autocorrelation, found.drift)
    if stdev is None or p5 is None or p95 is None or mad is None or None in others:
        every = (stdev, p5, p95, p99, mad, *others)
        return sure + b"".join([NULL if number is None else float64(8, number) for number in every])
    # What an agent sends; p99 is there from 300 samples on.
    middle = NULL if p99 is None else float64(8, p99)
    last = _four_float64(8, mad, 8, others[0], 8, others[1], 8, others[2])
    return sure + _three_float64(8, stdev, 8, p5, 8, p95) + middle + last


CASE_RESULT = (
    "COPY case_result (attempt_id, epoch, sequence, measured_at, run_id, trial, case_id, benchmark, mode, outcome, "
    "reason, stop_reason, late, detail) FROM STDIN (FORMAT BINARY)"
)
_case_head = struct.Struct(">hiqihiqiqiqih").pack


def case_row(origin: Origin, record: CaseFinished, *, late: bool) -> bytes:
    """What one case gave, its numbers aside."""
    case = record.case
    # Version 1 of the binary form of jsonb is its text.
    detail = b"\x01" + (case.static_json + record.detail_json).encode()
    head = _case_head(
        14,
        *(8, origin.attempt_id),
        *(2, origin.epoch),
        *(8, record.sequence),
        *(8, record.measured_us - EPOCH_US),
        *(8, origin.run_id),
        *(2, record.trial),
    )
    return b"".join(
        (
            head,
            packed_text(case.case_id),
            packed_text(case.benchmark),
            packed_text(record.mode),
            _OUTCOMES[record.outcome],
            packed_text(record.reason),
            _optional_text(record.stop_reason),
            boolean(1, late),
            length(len(detail)),
            detail,
        )
    )


LOG_LINE = (
    "COPY log_line (run_id, attempt_id, epoch, sequence, line, at, host, trial, source, text) "
    "FROM STDIN (FORMAT BINARY)"
)
_line_head = struct.Struct(">hiqiqihiqiqiq").pack


def log_rows(origin: Origin, record: LogLines) -> bytes:
    """The lines of one record, a row each."""
    host, source = packed_text(origin.host), packed_text(record.source)
    trial = NULL if record.trial is None else int16(2, record.trial)
    rows = []
    for number, line in enumerate(record.lines):
        head = _line_head(
            10,
            *(8, origin.run_id),
            *(8, origin.attempt_id),
            *(2, origin.epoch),
            *(8, record.sequence),
            *(8, number),
            *(8, record.time_us - EPOCH_US),
        )
        rows.append(b"".join((head, host, trial, source, packed_text(line))))
    return b"".join(rows)


async def copy(cursor: AsyncCursor[tuple[object, ...]], statement: str, rows: Iterable[bytes]) -> None:
    """Send rows with one of the statements above; nothing when there are none."""
    content = b"".join(rows)
    if content:
        async with cursor.copy(statement.encode()) as stream:
            await stream.write(_HEADER + content + _TRAILER)
