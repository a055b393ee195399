"""Tables of the spool file, and how a connection to it is made."""

import sqlite3
from pathlib import Path

# Raised when the tables change; a file of another version is moved aside like a damaged one, never altered.
USER_VERSION = 1

TABLES = """
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL DEFAULT 0,
    committed_sequence INTEGER NOT NULL DEFAULT 0,
    open_trial INTEGER,
    closed INTEGER NOT NULL DEFAULT 0,
    journal INTEGER NOT NULL REFERENCES journal (id),
    UNIQUE (name, epoch)
) STRICT;
CREATE TABLE records (
    attempt INTEGER NOT NULL REFERENCES attempts (id),
    sequence INTEGER NOT NULL,
    written_at REAL NOT NULL,
    is_case INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (attempt, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    begun_at REAL NOT NULL,
    records_written INTEGER NOT NULL DEFAULT 0,
    records_committed INTEGER NOT NULL DEFAULT 0,
    cases_written INTEGER NOT NULL DEFAULT 0,
    cases_committed INTEGER NOT NULL DEFAULT 0,
    outcome TEXT NOT NULL DEFAULT '',
    closed INTEGER NOT NULL DEFAULT 0
) STRICT;
"""

_BUSY_MS = 5000


def connect(path: Path, *, fsync: bool) -> sqlite3.Connection:
    """A connection in autocommit; transactions are written out. Any thread may use it, one at a time.

    Raises:
        sqlite3.Error: the file cannot be opened or is no database.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
        # Deleted records give their pages back to the file; the write-ahead log is cut at every checkpoint.
        connection.execute("PRAGMA journal_size_limit = 4194304")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file and check those of an existing one.

    Raises:
        sqlite3.DatabaseError: the file is damaged or of another version.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if empty:
        connection.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {USER_VERSION}; COMMIT;")
    elif version != USER_VERSION:
        raise sqlite3.DatabaseError(f"its version is {version}, this agent writes version {USER_VERSION}")
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
