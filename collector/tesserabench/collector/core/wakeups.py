"""Waking what waits: held Syncs and watchers of runs, whichever replica made the change."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

from tesserabench.collector.store.database import EVERYTHING, Database
from tesserabench.collector.store.notices import RUN_CHANNEL, SYNC_CHANNEL

TICK_SECONDS = 5.0
"""Longest time after which a waiter looks again by itself: a notice may be lost with a connection."""


class Waiter:
    """Somebody who waits for one key of one channel."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Let the waiter go on."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return when woken since the last return, or after this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        finally:
            self._event.clear()

    async def pause(self, seconds: float) -> None:
        """Return after this time; what wakes the waiter meanwhile is kept for its next wait."""
        if seconds > 0:
            await asyncio.sleep(seconds)


class Wakeups:
    """Hands the database's notices to the waiters of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiters: dict[tuple[str, str], set[Waiter]] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the collector is stopping: waiters are to end."""
        return self._closed

    async def run(self) -> None:
        """Listen until cancelled."""
        async with aclosing(self._database.listen(SYNC_CHANNEL, RUN_CHANNEL)) as notices:
            async for notice in notices:
                self._wake(notice.channel, notice.payload)

    @contextmanager
    def waiting(self, channel: str, key: str) -> Iterator[Waiter]:
        """A waiter for a key, from now to the end of the block; what happens before its first wait is not missed."""
        waiter = Waiter()
        waiters = self._waiters.setdefault((channel, key), set())
        waiters.add(waiter)
        try:
            yield waiter
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop((channel, key), None)

    def close(self) -> None:
        """Wake everybody for the last time."""
        self._closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake()

    def _wake(self, channel: str, payload: str) -> None:
        keys = [payload] if payload != EVERYTHING else [key for kind, key in self._waiters if kind == channel]
        for key in keys:
            for waiter in self._waiters.get((channel, key), ()):
                waiter.wake()
