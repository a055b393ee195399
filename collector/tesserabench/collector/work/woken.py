"""Work that is looked for when a notice comes, and now and then in case one was lost."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import structlog
from tesserabench.collector.core import metrics
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.notices import RUN_CHANNEL

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often work is looked for, in seconds."""

    check_seconds: float = 5.0
    """Longest time between two looks."""
    pause_seconds: float = 0.2
    """Shortest time between two looks: notices come in bursts while results arrive."""


Look = Callable[[], Awaitable[bool]]
"""Does what waits now; gives whether there may be more."""


async def look_when_woken(name: str, database: Database, rhythm: Rhythm, look: Look) -> None:
    """Call `look` whenever a run changed, and at an interval, until cancelled.

    Errors end one look, and not the work: they are logged as `NAME.interrupted` or `NAME.failed`; those are counted.
    """
    woken = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_listen(database, woken), name=f"{name}-listen")
        group.create_task(look_on(name, woken, rhythm, look), name=name)


async def _listen(database: Database, woken: asyncio.Event) -> None:
    async with aclosing(database.listen(RUN_CHANNEL)) as notices:
        async for _ in notices:
            woken.set()


async def look_on(name: str, woken: asyncio.Event, rhythm: Rhythm, look: Look) -> None:
    """`look_when_woken` with an event in place of notices."""
    while True:
        woken.clear()
        more = False
        try:
            more = await look()
        except UnavailableError as error:
            _log.warning(f"{name}.interrupted", why=error.message)
        except Exception:  # noqa: BLE001 - one broken look must not end the work for good; the alert on it tells
            metrics.DETECTOR_FAILURES.inc()
            _log.exception(f"{name}.failed")
        await asyncio.sleep(rhythm.pause_seconds)
        if not more:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: up to Python 3.11 it loses a cancellation that comes together with the event.
                async with asyncio.timeout(rhythm.check_seconds):
                    await woken.wait()
