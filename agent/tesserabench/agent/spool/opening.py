"""Opening the spool; a damaged file is kept beside the new one."""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from tesserabench.agent.errors import DiskFull, SpoolCorrupt
from tesserabench.agent.spool import schema
from tesserabench.agent.spool.log import Clock, Spool, reserve_of
from tesserabench.agent.spool.rows import translated


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A spool that is ready, and where a damaged predecessor was put, if there was one."""

    spool: "Spool"
    moved_aside: Path | None
    complaint: str


def open_spool(path: Path, *, max_bytes: int, fsync: bool = True, clock: Clock = time.time) -> Opened:
    """Open or create the spool at `path`; a damaged file is kept under another name beside it.

    Raises:
        SpoolError: the file cannot be opened for another reason, such as rights or a disk that is full even without
            the reserve.
    """
    try:
        return Opened(spool=_open(path, max_bytes, fsync, clock), moved_aside=None, complaint="")
    except DiskFull:
        reserve_of(path).unlink(missing_ok=True)
        return Opened(spool=_open(path, max_bytes, fsync, clock), moved_aside=None, complaint="")
    except SpoolCorrupt as error:
        aside = _move_aside(path, clock)
        return Opened(spool=_open(path, max_bytes, fsync, clock), moved_aside=aside, complaint=str(error))


def _open(path: Path, max_bytes: int, fsync: bool, clock: Clock) -> "Spool":  # noqa: FBT001 - private
    with translated(path):
        connection = schema.connect(path, fsync=fsync)
        try:
            schema.prepare(connection)
        except sqlite3.Error:
            connection.close()
            raise
    return Spool(path, connection, max_bytes=max_bytes, clock=clock)


def _move_aside(path: Path, clock: Clock) -> Path:
    aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(clock()))}")
    for number in range(1000):
        if not (aside if number == 0 else aside.with_name(f"{aside.name}.{number}")).exists():
            aside = aside if number == 0 else aside.with_name(f"{aside.name}.{number}")
            break
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside
