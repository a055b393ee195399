"""A real PostgreSQL for tests: one server for the run, a database for each test, cloned from a migrated template."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from support.waiting import wait_until
from tesserabench.collector.store import migrate
from tesserabench.collector.store.launcher import Launcher

_TEMPLATE = "template_tesserabench"
# Nothing here has to outlive a power cut.
_FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}


class PostgresForTests:
    """A running server; `database` lends a fresh database of the newest schema, `empty_database` one without."""

    def __init__(self, launcher: Launcher, dsn: str) -> None:
        self.launcher = launcher
        self._dsn = dsn
        self._numbers = itertools.count(1)
        self._migrated = False

    @contextmanager
    def database(self) -> Iterator[str]:
        if not self._migrated:
            self._execute("CREATE DATABASE {}", _TEMPLATE)
            migrate.upgrade(self.dsn(_TEMPLATE))
            self._migrated = True
        with self._lent(f" TEMPLATE {_TEMPLATE}") as dsn:
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
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(database)))


_GUARD = """
import sys
from pathlib import Path
sys.stdin.read()
from tesserabench.collector.store.folder import stop_server
stop_server(Path(sys.argv[1]))
"""


@contextmanager
def _guarded(root: Path) -> Iterator[None]:
    """Within the block, the server in this folder is stopped even when the test run itself is killed."""
    command = [sys.executable, "-c", _GUARD, str(root)]
    # It waits for the end of its input, which comes with our own end; then there is nobody left to wait for it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as guard:
        try:
            yield
        finally:
            guard.kill()


@contextmanager
def running_postgres() -> Iterator[PostgresForTests]:
    """A server in a short temporary folder (a socket's path has little room), gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tb-pg-"))
    launcher = Launcher(folder, settings=_FAST)
    try:
        with _guarded(folder):
            yield PostgresForTests(launcher, launcher.start())
    finally:
        launcher.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_postgres(folder: Path) -> Iterator[Launcher]:
    """A server of a test's own, for tests that kill it; started, and stopped if it still runs."""
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
