"""Work that is done again and again."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.work.rounds import repeat
from tesserabench.wire.reasons import Reason


def failing_with(error: Exception, times: int, done: asyncio.Event) -> Callable[[], Awaitable[None]]:
    left = times

    async def step() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        done.set()

    return step


@pytest.mark.parametrize(
    "error", [UnavailableError("away", reason=Reason.DATABASE_UNAVAILABLE), RuntimeError("a defect")]
)
async def test_work_goes_on_after_errors(error: Exception) -> None:
    done = asyncio.Event()
    work = asyncio.ensure_future(repeat("test", 0.001, failing_with(error, 3, done)))
    async with asyncio.timeout(10):
        await done.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_pauses_grow_with_failures_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    monkeypatch.setattr("tesserabench.collector.work.rounds.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await repeat("test", 1.0, failing_with(RuntimeError("a defect"), 7, asyncio.Event()))
    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 1.0]
