"""Rows of the spool, and SQLite's errors in our words."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp
from tesserabench.agent.errors import DiskFull, SpoolCorrupt, SpoolError
from tesserabench.agent.spool.views import AttemptKey
from tesserabench.v1.ingest_service_pb2 import Record
from tesserabench.v1.measurement_pb2 import Outcome


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        # A write that fails for want of room shows as FULL, or as IOERR from a limit on the file's size.
        if primary in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
            raise DiskFull(f"{path} cannot grow: {error}; free space on its disk") from error
        damaged = primary in {None, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        if damaged and isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.ProgrammingError):
            raise SpoolCorrupt(f"{path} is damaged: {error}") from error
        raise SpoolError(f"{path} cannot be used: {error}; check its owner and mode") from error


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt of the table."""

    id: int
    last_sequence: int
    committed_sequence: int
    closed: int
    journal: int


def find(connection: sqlite3.Connection, key: AttemptKey) -> Row | None:
    """The row of an attempt that is held."""
    row = connection.execute(
        "SELECT id, last_sequence, committed_sequence, closed, journal FROM attempts WHERE name = ? AND epoch = ?",
        (key.name, key.epoch),
    ).fetchone()
    return None if row is None else Row(*row)


def advance(connection: sqlite3.Connection, row: Row, record: Record) -> None:
    """Bring the attempt's and the journal's rows up to a record that has just been written."""
    closing = record.HasField("attempt_finished")
    connection.execute(
        "UPDATE attempts SET last_sequence = ?, closed = ? WHERE id = ?", (record.sequence, closing, row.id)
    )
    if record.HasField("trial_started"):
        connection.execute("UPDATE attempts SET open_trial = ? WHERE id = ?", (record.trial_started.trial, row.id))
    elif record.HasField("trial_finished"):
        connection.execute("UPDATE attempts SET open_trial = NULL WHERE id = ?", (row.id,))
    outcome = Outcome.Name(record.attempt_finished.outcome) if closing else ""
    connection.execute(
        "UPDATE journal SET records_written = records_written + 1, cases_written = cases_written + ?, outcome = ?,"
        " closed = ? WHERE id = ?",
        (record.HasField("case_finished"), outcome, closing, row.journal),
    )


def timestamp(seconds: float) -> Timestamp:
    """Seconds since the epoch as a protobuf timestamp."""
    stamp = Timestamp()
    stamp.FromNanoseconds(int(seconds * 1e9))
    return stamp
