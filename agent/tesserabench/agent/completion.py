"""Work that must not be left half done when its task is cancelled."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def complete(work: Awaitable[T]) -> T:
    """Await `work` to its end even when the caller is cancelled; the cancellation is raised afterwards."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait({future})
        raise
