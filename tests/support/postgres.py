"""A real PostgreSQL for tests: one server for the run, a database for each test, cloned from a migrated one.

Every server begins with a copy of one folder that is kept in build/postgres: making it anew takes seconds, copying it
a tenth of one.
"""

import fcntl
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from support.waiting import wait_until
from tesserabench.collector.store import migrate
from tesserabench.collector.store.binaries import find_binaries
from tesserabench.collector.store.folder import DATABASE
from tesserabench.collector.store.launcher import Launcher

KEPT = Path(__file__).parents[2] / "build" / "postgres"
_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 << 30
# Nothing here has to outlive a power cut. And a client that goes away while it connects holds up the end of every
# database for as long as it is given to say who it is: a minute, if nothing else is said.
_FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB", "authentication_timeout": "3s"}


class PostgresForTests:
    """A running server; `database` lends a fresh database of the newest schema, `empty_database` one without."""

    def __init__(self, launcher: Launcher, dsn: str) -> None:
        self.launcher = launcher
        self._dsn = dsn
        self._numbers = itertools.count(1)

    @contextmanager
    def database(self) -> Iterator[str]:
        # Copied by the file: on a server in memory this takes a third of what copying through its log takes.
        with self._lent(f" TEMPLATE {DATABASE} STRATEGY file_copy") as dsn:
            yield dsn

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        with self._lent("") as dsn:
            yield dsn

    def dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self._dsn)._replace(path=f"/{database}"))

    @contextmanager
    def _lent(self, options: str) -> Iterator[str]:
        name = f"test_{next(self._numbers)}"
        self._execute("CREATE DATABASE {}" + options, name)
        try:
            yield self.dsn(name)
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: str, database: str) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(database)))


_GUARD = """
import shutil, sys
from pathlib import Path
sys.stdin.read()
from tesserabench.collector.store.folder import stop_server
stop_server(Path(sys.argv[1]))
if sys.argv[2] == "remove":
    shutil.rmtree(sys.argv[1])
"""


@contextmanager
def _guarded(root: Path, *, remove: bool = False) -> Iterator[None]:
    """Within the block, the server in this folder is stopped even when the test run itself is killed, and removed."""
    command = [sys.executable, "-c", _GUARD, str(root), "remove" if remove else "keep"]
    # It waits for the end of its input, which comes with our own end; then there is nobody left to wait for it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as guard:
        try:
            yield
        finally:
            guard.kill()


def prepare_folder(folder: Path, *, durable: bool = False) -> None:
    """Make a server's folder as its first start would, with a database of the newest schema, but in no time.

    Only a durable one waits for the disk, as a collector's own does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = KEPT / _key()
        if not kept.is_dir():
            _make(kept)
        subprocess.run(["cp", "--archive", kept / "data", kept / "password", folder], check=True)
    if not durable:
        with (folder / "data" / "postgresql.auto.conf").open("a") as settings:
            settings.writelines(f"{name} = {value}\n" for name, value in _FAST.items())


def _key() -> str:
    """What a folder depends on: the server, the schema, and the month, of which its partitions are."""
    now = datetime.now(UTC)
    parts = [str(find_binaries().folder), f"{now.year}-{now.month}"]
    sources = sorted(Path(migrate.__file__).parent.rglob("*.py"))
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _make(kept: Path) -> None:
    """Make the folder that all others are copies of, and forget older ones."""
    for entry in KEPT.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    folder = Path(tempfile.mkdtemp(prefix="tb-pg-"))
    launcher = Launcher(folder, settings=_FAST)
    try:
        with _guarded(folder):
            migrate.upgrade(launcher.start())
            launcher.stop()
        new = KEPT / "new"
        new.mkdir()
        for name in ("data", "password"):
            shutil.move(folder / name, new / name)
        new.rename(kept)
    finally:
        launcher.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _memory_has_room() -> bool:
    return _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES


@contextmanager
def running_postgres() -> Iterator[PostgresForTests]:
    """A server in a short folder (a socket's path has little room), in memory if that has room, and gone at the end.

    A database is more than a thousand files: in memory they are made and removed in a quarter of the time.
    """
    folder = Path(tempfile.mkdtemp(prefix="tb-pg-", dir=_MEMORY if _memory_has_room() else None))
    prepare_folder(folder)
    launcher = Launcher(folder, settings=_FAST)
    try:
        with _guarded(folder, remove=True):
            yield PostgresForTests(launcher, launcher.start())
    finally:
        if (pid := launcher.pid) is not None:
            # Nothing in it is needed any more: it drops everything instead of waiting for whoever still works with it.
            os.kill(pid, signal.SIGQUIT)
        launcher.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_postgres(folder: Path, *, prepared: bool = True) -> Iterator[Launcher]:
    """A server of a test's own, for tests that kill it; started, and stopped if it still runs.

    One that is not prepared makes its folder itself.
    """
    if prepared:
        prepare_folder(folder, durable=True)
    launcher = Launcher(folder)
    try:
        with _guarded(folder):
            launcher.start()
            yield launcher
    finally:
        launcher.stop()


def kill_postgres(launcher: Launcher) -> None:
    """End the server as a crash of the machine's memory would: no goodbye, no flush."""
    pid = launcher.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: launcher.pid is None, seconds=10, what="the killed server to be gone")
    launcher.reap()
