"""A running collector takes runs into histories by itself, and computes in another process."""

from pathlib import Path

import httpx
from support.embedded_collector import running_collector
from support.histories import changes, measure, points, wobbly
from support.laboratory import Laboratory
from support.waiting import wait_until_async


async def test_a_running_collector_keeps_histories_and_says_whether_it_keeps_up(
    laboratory: Laboratory, database_dsn: str, tmp_path: Path
) -> None:
    ids = await measure(laboratory, wobbly([1.0] * 12 + [1.12] * 8))
    async with running_collector(database_dsn, tmp_path) as running:

        async def found() -> bool:
            return [row.run_id for row in await changes(laboratory)] == [ids[12]]

        await wait_until_async(found, seconds=60, what="the step to be found")
        assert [row.run_id for row in await points(laboratory)] == ids

        async def told() -> bool:
            async with httpx.AsyncClient() as client:
                text = (await client.get(f"{running.web}/metrics")).text
            return 'tesserabench_history_runs{state="waiting"} 0.0' in text

        await wait_until_async(told, seconds=30, what="the metrics to say that nothing waits")
