"""The spool itself: append, read, commit. SQLite, one file, one process.

The methods block on the disk; the event loop calls them through `asyncio.to_thread`. A lock makes them safe there.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tesserabench.agent.errors import DiskFull, SpoolError, SpoolFull
from tesserabench.agent.spool.rows import advance, find, timestamp, translated
from tesserabench.agent.spool.views import AttemptKey, JournalEntry, SpooledAttempt, SpoolSize, StoredRecord
from tesserabench.v1.ingest_service_pb2 import Record

_RESERVE_BYTES = 1 << 20
_JOURNAL_ROWS = 10_000
# A running attempt may go on past the limit that stops new work, but not without end.
_HARD_LIMIT = 2

Clock = Callable[[], float]


def reserve_of(path: Path) -> Path:
    """The file that keeps disk space back for the closing records of the spool at `path`."""
    return path.with_name(path.name + ".reserve")


class Spool:
    """The log of every attempt that this host holds. Made by `open_spool`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, max_bytes: int, clock: Clock) -> None:
        self.path = path
        self._connection = connection
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._reserve = reserve_of(path)
        self._pending = self._count_pending()
        self._restore_reserve()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def begin(self, key: AttemptKey) -> None:
        """Hold an attempt from now on; to begin one that is already held changes nothing.

        Raises:
            DiskFull: there is no room; the attempt is not held.
        """
        with self._transaction() as connection:
            if find(connection, key) is not None:
                return
            cursor = connection.execute(
                "INSERT INTO journal (name, epoch, begun_at) VALUES (?, ?, ?)", (key.name, key.epoch, self._clock())
            )
            connection.execute(
                "INSERT INTO attempts (name, epoch, journal) VALUES (?, ?, ?)", (key.name, key.epoch, cursor.lastrowid)
            )
            connection.execute("DELETE FROM journal WHERE id <= ?", ((cursor.lastrowid or 0) - _JOURNAL_ROWS,))

    def append(self, key: AttemptKey, record: Record) -> int:
        """Write the next record of an attempt and return its sequence; it is on disk when this returns.

        Sequence and, unless it is set, time are filled in. A closing record may use the reserve.

        Raises:
            DiskFull: the disk is full; nothing was written.
            SpoolFull: unsent records exceed twice the limit; nothing was written.
            SpoolError: the attempt is not held, or is closed.
        """
        closing = record.HasField("attempt_finished") or record.HasField("trial_finished")
        if not closing and self._pending[0] > _HARD_LIMIT * self._max_bytes:
            raise SpoolFull(f"{self._pending[0]} unsent bytes exceed twice spool_max_bytes = {self._max_bytes}")
        try:
            return self._append(key, record)
        except DiskFull:
            if not closing or not self._release_reserve():
                raise
            return self._append(key, record)

    def _append(self, key: AttemptKey, record: Record) -> int:
        now = self._clock()
        with self._transaction() as connection:
            row = find(connection, key)
            if row is None or row.closed:
                raise SpoolError(f"attempt {key} is {'not held' if row is None else 'closed'}; no record can follow")
            sequence = row.last_sequence + 1
            record.sequence = sequence
            if not record.HasField("time"):
                record.time.CopyFrom(timestamp(now))
            body = record.SerializeToString()
            connection.execute(
                "INSERT INTO records (attempt, sequence, written_at, is_case, body) VALUES (?, ?, ?, ?, ?)",
                (row.id, sequence, now, record.HasField("case_finished"), body),
            )
            advance(connection, row, record)
        with self._lock:
            self._pending = (self._pending[0] + len(body), self._pending[1] + 1)
        return sequence

    def attempts(self) -> tuple[SpooledAttempt, ...]:
        """Every attempt that is held, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT name, epoch, last_sequence, committed_sequence, open_trial, closed FROM attempts ORDER BY id"
            ).fetchall()
        return tuple(
            SpooledAttempt(
                key=AttemptKey(name=name, epoch=epoch),
                last_sequence=last,
                committed_sequence=committed,
                open_trial=open_trial,
                closed=bool(closed),
            )
            for name, epoch, last, committed, open_trial, closed in rows
        )

    def read(self, key: AttemptKey, after: int, *, max_bytes: int, max_records: int) -> tuple[StoredRecord, ...]:
        """The records of an attempt that follow sequence `after`: as many as fit, but at least one if there is one."""
        found: list[StoredRecord] = []
        size = 0
        with self._reading() as connection:
            cursor = connection.execute(
                "SELECT sequence, body FROM records WHERE sequence > ? AND"
                " attempt = (SELECT id FROM attempts WHERE name = ? AND epoch = ?) ORDER BY sequence LIMIT ?",
                (after, key.name, key.epoch, max_records),
            )
            for sequence, body in cursor:
                size += len(body)
                if found and size > max_bytes:
                    break
                found.append(StoredRecord(key=key, sequence=sequence, body=body))
            cursor.close()
        return tuple(found)

    def commit(self, key: AttemptKey, sequence: int) -> bool:
        """Note that the collector has committed every record up to `sequence`, and delete them.

        Returns True when the attempt is closed and wholly committed; it has then left the spool. Deleting needs room
        of its own for a moment, for which the reserve is given up.

        Raises:
            DiskFull: there is no room even for that; the records stay, and are sent again.
        """
        try:
            return self._commit(key, sequence)
        except DiskFull:
            if not self._release_reserve():
                raise
            return self._commit(key, sequence)

    def _commit(self, key: AttemptKey, sequence: int) -> bool:
        with self._transaction() as connection:
            row = find(connection, key)
            if row is None or sequence <= row.committed_sequence:
                return False
            done = (row.id, sequence)
            count, size, cases = connection.execute(
                "SELECT count(*), coalesce(sum(length(body)), 0), coalesce(sum(is_case), 0) FROM records"
                " WHERE attempt = ? AND sequence <= ?",
                done,
            ).fetchone()
            connection.execute("DELETE FROM records WHERE attempt = ? AND sequence <= ?", done)
            connection.execute("UPDATE attempts SET committed_sequence = ? WHERE id = ?", (sequence, row.id))
            connection.execute(
                "UPDATE journal SET records_committed = records_committed + ?, cases_committed = cases_committed + ?"
                " WHERE id = ?",
                (count, cases, row.journal),
            )
            left = bool(row.closed) and sequence >= row.last_sequence
            if left:
                connection.execute("DELETE FROM attempts WHERE id = ?", (row.id,))
        with self._lock:
            self._pending = (self._pending[0] - size, self._pending[1] - count)
        self._restore_reserve()
        return left

    def size(self) -> SpoolSize:
        """What waits to be sent."""
        with self._reading() as connection:
            oldest = connection.execute("SELECT min(written_at) FROM records").fetchone()[0]
            pending_bytes, pending_records = self._pending
        return SpoolSize(
            pending_bytes=pending_bytes,
            pending_records=pending_records,
            oldest_age_seconds=None if oldest is None else max(0.0, self._clock() - oldest),
            full=pending_bytes >= self._max_bytes,
        )

    def journal(self) -> tuple[JournalEntry, ...]:
        """What was ever written and committed, oldest first; the newest 10,000 attempts."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT name, epoch, records_written, records_committed, cases_written, cases_committed, outcome,"
                " closed FROM journal ORDER BY id"
            ).fetchall()
        return tuple(
            JournalEntry(
                key=AttemptKey(name=row[0], epoch=row[1]),
                records_written=row[2],
                records_committed=row[3],
                cases_written=row[4],
                cases_committed=row[5],
                outcome=row[6],
                closed=bool(row[7]),
            )
            for row in rows
        )

    def _count_pending(self) -> tuple[int, int]:
        """Bytes and records that wait."""
        with self._reading() as connection:
            size, count = connection.execute("SELECT coalesce(sum(length(body)), 0), count(*) FROM records").fetchone()
        return size, count

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated(self.path):
            yield self._connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself when the disk was full.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _restore_reserve(self) -> None:
        """Keep a block of the disk back, so that attempts can still be closed when the disk is full."""
        if self._reserve.exists():
            return
        try:
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)
        except OSError:
            self._release_reserve()

    def _release_reserve(self) -> bool:
        existed = self._reserve.exists()
        self._reserve.unlink(missing_ok=True)
        return existed
