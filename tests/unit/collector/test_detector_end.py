"""The loop that looks for work ends when it is told to, whatever arrives at the same moment."""

import asyncio

from tesserabench.collector.work.woken import Rhythm, look_on


async def test_a_notice_that_comes_together_with_the_end_does_not_keep_it_alive() -> None:
    async def nothing() -> bool:
        return False

    woken = asyncio.Event()
    looping = asyncio.ensure_future(look_on("test", woken, Rhythm(check_seconds=60, pause_seconds=0), nothing))
    for _ in range(10):
        await asyncio.sleep(0)
    woken.set()
    await asyncio.sleep(0)
    looping.cancel()
    done, _ = await asyncio.wait({looping}, timeout=5)
    assert done, "the cancellation was lost"
    assert looping.cancelled()
