"""A PostgreSQL server of our own in one folder: created, started, adopted, stopped. Blocking; `server` wraps it.

The server outlives a collector that is killed; the next one adopts it. `folder` tells what stands where.
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO

import psycopg
import structlog
from psycopg import sql
from tesserabench.collector.errors import DatabaseSetupError
from tesserabench.collector.store.binaries import Binaries, find_binaries
from tesserabench.collector.store.folder import DATABASE, SOCKET_PORT, STOP_SECONDS, USER, Folder, stop_server

_LARGEST_LOG_BYTES = 16 * 1024 * 1024
_POLL_SECONDS = 0.02
_LEFTOVER_SECONDS = 60
_SAY_EVERY_SECONDS = 5.0
_KNOWS_SYNC_METHODS = 17
# Enters a user namespace in which root is nobody: PostgreSQL refuses to run as root, and no file has to change hands.
_AS_NOBODY = ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"]

_log = structlog.get_logger(__name__)


class Launcher:
    """Owns the server of one folder, from `start` to `stop`."""

    def __init__(
        self,
        root: Path,
        *,
        binaries: Binaries | None = None,
        start_timeout_seconds: float = 600,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Touch nothing yet.

        Args:
            root: the server's folder; made when missing.
            binaries: programs to use; found when None.
            start_timeout_seconds: longest wait for a server that recovers after a crash.
            settings: PostgreSQL settings beside or instead of our own.
        """
        self.folder = Folder(root=root.absolute())
        self._binaries = binaries
        self._extra_settings = settings
        self._start_timeout_seconds = start_timeout_seconds
        self._lock: IO[bytes] | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return self.folder.running_pid()

    def start(self, *, given_up: Callable[[], bool] = lambda: False) -> str:
        """Bring the server up, whatever state the folder is in, and give its DSN.

        Args:
            given_up: asked while waiting; true ends the wait with an error.

        Raises:
            DatabaseSetupError: it cannot be started; the message says what to do.
        """
        try:
            self._take()
            self._initialise()
            adopted = self.pid
            if adopted is None:
                self._spawn()
            else:
                _log.info("postgres.adopted", pid=adopted, folder=str(self.folder.root))
            self._await_answer(given_up)
            self._create_database()
        except OSError as error:
            self.release()
            raise DatabaseSetupError(f"{self.folder.root}: {error.strerror or error}: {_os_remedy(error)}") from error
        except psycopg.Error as error:
            # It answered and broke off: on a full disk a server that has just recovered ends at its first write.
            self.release()
            words = _last_words(_tail(self.folder.root / "postgres.log"))
            message = f"PostgreSQL in {self.folder.root} broke off ({str(error).strip()}); its last words: {words}"
            raise DatabaseSetupError(message) from error
        except DatabaseSetupError:
            self.release()
            raise
        return self.folder.dsn()

    def stop(self) -> None:
        """Shut the server down in order and give the folder free."""
        try:
            stop_server(self.folder.root)
            if self._child is not None:
                _end(self._child)
        finally:
            self._child = None
            self.release()

    def release(self) -> None:
        """Give the folder free and leave the server running."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def reap(self) -> None:
        """Collect the exit status of a server that died, so that it does not linger as a zombie."""
        if self._child is not None and self.pid is None:
            self._child.wait()
            self._child = None

    def _take(self) -> None:
        root = self.folder.root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock is not None:
            return
        lock = (root / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            message = (
                f"{root} belongs to another collector that is running: stop that one, choose another state_dir, "
                "or set database_dsn for several collectors on one database"
            )
            raise DatabaseSetupError(message) from None
        self._lock = lock

    def _programs(self) -> Binaries:
        if self._binaries is None:
            version = self.folder.data / "PG_VERSION"
            self._binaries = find_binaries(int(version.read_text()) if version.exists() else None)
        return self._binaries

    def _initialise(self) -> None:
        """Make the data folder, all of it or none."""
        folder = self.folder
        if (folder.data / "PG_VERSION").exists():
            return
        unfinished = folder.root / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = folder.root / "password"
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        command = [
            *_privileges(),
            self._programs().program("initdb"),
            f"--pgdata={unfinished}",
            f"--username={USER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
            # One flush of the file system instead of one for each of a thousand files: seconds less.
            *(["--sync-method=syncfs"] if self._programs().major >= _KNOWS_SYNC_METHODS else []),
        ]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no outside text
        if answer.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise DatabaseSetupError(f"initdb failed in {folder.root}: {_last_words(answer.stderr)}")
        unfinished.rename(folder.data)
        _log.info("postgres.initialised", folder=str(folder.root), major=self._programs().major)

    def _spawn(self) -> None:
        self._clear_after_crash()
        folder = self.folder
        log_path = folder.root / "postgres.log"
        if log_path.exists() and log_path.stat().st_size > _LARGEST_LOG_BYTES:
            log_path.replace(folder.root / "postgres.log.1")
        if folder.has_socket:
            folder.run.mkdir(mode=0o700, exist_ok=True)
        elif not self._port_is_free():
            (folder.root / "port").write_text(f"{_free_port()}\n")
        options = [f"--{name}={value}" for name, value in (_settings(folder) | dict(self._extra_settings)).items()]
        command = [*_privileges(), self._programs().program("postgres"), "-D", str(folder.data), *options]
        with log_path.open("ab") as log:
            # A session of its own: an interrupt from the terminal is for the collector, which stops us in order.
            self._child = subprocess.Popen(  # noqa: S603 - no outside text
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _port_is_free(self) -> bool:
        """Whether the port of the last start can be taken again; a DSN in somebody's hands stays true then."""
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", self.folder.port()))
        except (OSError, ValueError):
            return False
        return True

    def _await_answer(self, given_up: Callable[[], bool]) -> None:
        begun = time.monotonic()
        next_word = begun + _SAY_EVERY_SECONDS
        dsn = self.folder.dsn("postgres")
        while True:
            try:
                psycopg.connect(dsn, connect_timeout=2).close()
            except psycopg.OperationalError as error:
                trouble = str(error).strip()
            else:
                return
            self._ensure_process()
            now = time.monotonic()
            if given_up() or now - begun > self._start_timeout_seconds:
                message = f"PostgreSQL in {self.folder.root} did not answer after {now - begun:.0f} s: {trouble}"
                raise DatabaseSetupError(message)
            if now > next_word:
                _log.info("postgres.awaited", seconds=round(now - begun), because=trouble.splitlines()[-1])
                next_word = now + _SAY_EVERY_SECONDS
            time.sleep(_POLL_SECONDS)

    def _ensure_process(self) -> None:
        """While waiting: start what was adopted in the middle of its shutdown; complain about what ended."""
        if self._child is None:
            if self.pid is None:
                self._spawn()
            return
        status = self._child.poll()
        if status is not None:
            log_path = self.folder.root / "postgres.log"
            words = _last_words(_tail(log_path))
            raise DatabaseSetupError(f"PostgreSQL ended with status {status}: {words} (whole log: {log_path})")

    def _clear_after_crash(self) -> None:
        """Wait for what a killed predecessor left running, then take its lock file away.

        PostgreSQL would clear it itself, except when another process has got the same number since.
        """
        self.reap()
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while leftover := self.folder.processes():
            if time.monotonic() > deadline:
                message = (
                    f"processes {leftover} of a PostgreSQL that was killed still work in {self.folder.data}: end them"
                )
                raise DatabaseSetupError(message)
            time.sleep(_POLL_SECONDS)
        (self.folder.data / "postmaster.pid").unlink(missing_ok=True)

    def _create_database(self) -> None:
        with psycopg.connect(self.folder.dsn("postgres"), autocommit=True) as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if there is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _end(child: subprocess.Popen[bytes]) -> None:
    """Wait for our own child to end; one that is so young that it has left no sign in its folder is told again."""
    for _ in range(STOP_SECONDS):
        try:
            child.wait(1)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
        else:
            return
    child.kill()
    child.wait()


def _settings(folder: Folder) -> dict[str, str]:
    own = {
        "unix_socket_directories": str(folder.run) if folder.has_socket else "",
        "unix_socket_permissions": "0700",
        "listen_addresses": "" if folder.has_socket else "127.0.0.1",
        "port": str(SOCKET_PORT if folder.has_socket else folder.port()),
    }
    return own | {
        "max_connections": "100",
        "shared_buffers": f"{_shared_buffers_mib()}MB",
        "max_wal_size": "2GB",
        # Plans of short statements are not worth compiling.
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_min_messages": "warning",
        "logging_collector": "off",
    }


def _shared_buffers_mib() -> int:
    """An eighth of the memory, from 128 MiB to 1 GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
    return max(128, min(1024, memory // 8))


def _privileges() -> list[str]:
    if os.geteuid() != 0:
        return []
    try:
        refused = subprocess.run([*_AS_NOBODY, "true"], capture_output=True, text=True, check=False)  # noqa: S603
        trouble = refused.stderr.strip() if refused.returncode else ""
    except OSError as error:
        trouble = str(error)
    if trouble:
        message = (
            f"PostgreSQL refuses to run as root, and becoming nobody failed ({trouble}): run the collector under a "
            "user of its own, or set database_dsn"
        )
        raise DatabaseSetupError(message)
    return _AS_NOBODY


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return file.read().decode(errors="replace")


def _last_words(text: str) -> str:
    """The last lines: what went wrong, with what led to it or the hint that follows."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[-3:]) or "it left no words"


def _os_remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "make the folder writable for this user, or choose another state_dir"
    return "free some space, or choose another state_dir"
