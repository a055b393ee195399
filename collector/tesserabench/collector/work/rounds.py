"""Doing something again and again, whatever happens."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from tesserabench.collector.errors import UnavailableError

_LONGEST_PAUSE_SECONDS = 30.0

_log = structlog.get_logger(__name__)


async def repeat(name: str, every_seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Call `step` at an interval until cancelled.

    Passing trouble with the database is logged when it begins and when it ends; any other error with its traceback.
    After errors the pauses grow up to half a minute.
    """
    failures = 0
    while True:
        try:
            await step()
        except UnavailableError as error:
            failures += 1
            if failures == 1:
                _log.warning("work.waits_for_database", work=name, error=error.message)
        except Exception:  # noqa: BLE001 - one bad round must not end the work for good
            failures += 1
            _log.exception("work.failed", work=name, failures=failures)
        else:
            if failures:
                _log.info("work.goes_on", work=name, failures=failures)
            failures = 0
        await asyncio.sleep(min(every_seconds * 2 ** min(failures, 10), max(every_seconds, _LONGEST_PAUSE_SECONDS)))
