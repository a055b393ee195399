"""The detector's loop ends when it is told to, whatever arrives at the same moment."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from tesserabench.collector.work.detection import Detector, Pace


class IdleDetector(Detector):
    """Finds nothing to do."""

    async def check(self) -> int:
        return 0

    async def _clean(self) -> None:
        return None


async def test_a_notice_that_comes_together_with_the_end_does_not_keep_it_alive() -> None:
    judging: Any = SimpleNamespace(clock=lambda: datetime.now(UTC))
    detector = IdleDetector(judging, Pace(check_seconds=60, pause_seconds=0))
    looping = asyncio.ensure_future(detector._loop())
    for _ in range(10):
        await asyncio.sleep(0)
    detector._woken.set()
    await asyncio.sleep(0)
    looping.cancel()
    done, _ = await asyncio.wait({looping}, timeout=5)
    assert done, "the cancellation was lost"
    assert looping.cancelled()
