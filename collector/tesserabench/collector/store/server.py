"""Where the collector's database is: a server that was given, or one of our own that is started and looked after."""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from tesserabench.collector.errors import DatabaseSetupError
from tesserabench.collector.store.launcher import Launcher

_FIRST_RETRY_SECONDS = 0.2
_LAST_RETRY_SECONDS = 30.0
_START_TIMEOUT_SECONDS = 600

_log = structlog.get_logger(__name__)


def _nothing() -> None:
    """The default of what is called after a restart."""


class PgProvider:
    """A DSN that works, from `start` to `stop`.

    With a DSN there is nothing to start or stop. Without one, PostgreSQL is started in `folder` from the programs of
    the `embedded` extra or Debian's, and started again when it dies.
    """

    def __init__(self, *, dsn: str, folder: Path, restarted: Callable[[], None] = _nothing) -> None:
        """Touch nothing yet.

        Args:
            dsn: the server to use; empty for one of our own.
            folder: where our own server lives.
            restarted: called whenever a server that died has been started again.
        """
        self._dsn = dsn
        self._launcher = None if dsn else Launcher(folder, start_timeout_seconds=_START_TIMEOUT_SECONDS)
        self._restarted = restarted

    @property
    def embedded(self) -> bool:
        """Whether the server is one of our own."""
        return self._launcher is not None

    async def start(self) -> str:
        """The DSN, once the server behind it answers (a server that was given is not asked).

        Raises:
            DatabaseSetupError: our own server cannot be started; the message says what to do.
        """
        if self._launcher is None:
            return self._dsn
        abandoned = threading.Event()
        starting = asyncio.ensure_future(asyncio.to_thread(self._launcher.start, given_up=abandoned.is_set))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread must not wait on for a server that recovers for minutes; but whoever stops us next has to find
            # what it started, and not be overtaken by it.
            abandoned.set()
            with suppress(DatabaseSetupError):
                await starting
            raise

    async def supervise(self) -> None:
        """Start our own server again whenever it dies. Runs until cancelled."""
        launcher = self._launcher
        if launcher is None:
            await asyncio.Event().wait()
            return
        while True:
            await _ended(launcher.pid)
            _log.error("postgres.died", log=str(launcher.folder.root / "postgres.log"))
            await self._restart(launcher)
            self._restarted()

    async def stop(self) -> None:
        """Shut our own server down in order; leave a given one alone."""
        if self._launcher is not None:
            await asyncio.to_thread(self._launcher.stop)

    async def _restart(self, launcher: Launcher) -> None:
        delay_seconds = _FIRST_RETRY_SECONDS
        while True:
            await asyncio.to_thread(launcher.reap)
            try:
                await self.start()
            except DatabaseSetupError as error:
                # Foreseen, a full disk for one: the sentence says it all, again and again until somebody has made room.
                _log.error("postgres.restart_failed", error=error.message, retry_seconds=delay_seconds)
                await asyncio.sleep(delay_seconds)
                delay_seconds = min(delay_seconds * 2, _LAST_RETRY_SECONDS)
            else:
                _log.warning("postgres.restarted", pid=launcher.pid)
                return


async def _ended(pid: int | None) -> None:
    """Return when the process is gone, whoever its parent is."""
    if pid is None:
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    try:
        loop.add_reader(descriptor, gone.set)
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
