"""Waiting for a condition instead of sleeping for a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, seconds: float, what: str, every: float = 0.05) -> T:
    """Return the first truthy value of `condition`; raise AssertionError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            message = f"waited {seconds} s for {what}; last value {value!r}"
            raise AssertionError(message)
        time.sleep(every)


async def wait_until_async(
    condition: Callable[[], Awaitable[T]], *, seconds: float, what: str, every: float = 0.05
) -> T:
    """Like `wait_until`, for a coroutine function, without blocking the event loop."""
    async with asyncio.timeout(seconds + 5):
        deadline = time.monotonic() + seconds
        while True:
            if value := await condition():
                return value
            if time.monotonic() > deadline:
                message = f"waited {seconds} s for {what}; last value {value!r}"
                raise AssertionError(message)
            await asyncio.sleep(every)
