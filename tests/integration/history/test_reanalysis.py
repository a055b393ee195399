"""Every history anew: the same answers from this process, from worker processes and from a Dask cluster."""

import asyncio
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from support.histories import changes, measure, points, take_in, watch, watching, wobbly
from support.laboratory import Laboratory
from tesserabench.collector.core import reanalysis
from tesserabench.collector.reanalysing import Wish, reanalyse
from tesserabench.collector.settings import Settings
from tesserabench.collector.work import dask_cluster

LEVELS = wobbly([1.0] * 12 + [1.12] * 8)


@asynccontextmanager
async def program(*arguments: str, ready: str) -> AsyncIterator[str]:
    """A process of Dask's during the block; gives what its log says when it is ready."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(ready, line := (await process.stderr.readline()).decode())):
                assert line, f"{arguments[0]} ended"
        draining = asyncio.create_task(process.stderr.read())
        yield found[1]
        process.terminate()
        await draining
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[str]:
    """A Dask scheduler with one worker, as processes of their own; gives the scheduler's address."""
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    async with program(*scheduler, ready=r"Scheduler at:\s+(tcp://\S+)") as address:
        worker = ("distributed.cli.dask_worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard")
        local = ("--local-directory", str(folder), "--no-nanny")
        async with program(*worker, *local, ready=r"(Registered to)"):
            yield address


async def forget(laboratory: Laboratory) -> None:
    """Lose everything that was found, and keep the points."""
    async with laboratory.database.transaction() as session:
        await session.execute(text("DELETE FROM change_point"))
        await session.execute(text("UPDATE series_watch SET tail = NULL, known = '[]', segments = '[]', level = NULL"))


async def test_a_dask_cluster_finds_what_the_collector_finds(
    laboratory: Laboratory, database_dsn: str, tmp_path: Path
) -> None:
    ids = await measure(laboratory, LEVELS)
    await take_in(laboratory)
    before, segments = await changes(laboratory), (await watch(laboratory)).segments
    await forget(laboratory)
    said: list[str] = []
    settings = Settings.model_validate({"state_dir": tmp_path})
    async with cluster(tmp_path) as address:
        done = await reanalyse(settings, database_dsn, Wish(dask=address), said.append)
    assert (done.series, done.changed) == (2, 2)
    assert said == ["2 series analysed"]
    (found,) = await changes(laboratory)
    assert found.run_id == ids[12]
    assert (found.change, found.state, found.strength) == (before[0].change, before[0].state, before[0].strength)
    assert (await watch(laboratory)).segments == segments


async def test_a_cluster_that_is_not_there_is_named(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "_CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings = Settings.model_validate({"state_dir": tmp_path})
    with pytest.raises(ConnectionError, match=f"no Dask scheduler answers at 'tcp://127.0.0.1:{port}'"):
        await reanalyse(settings, database_dsn, Wish(dask=f"tcp://127.0.0.1:{port}"), print)


async def test_histories_are_made_anew_from_the_measurements(laboratory: Laboratory) -> None:
    ids = await measure(laboratory, LEVELS)
    await take_in(laboratory)
    kept = await watch(laboratory)
    async with laboratory.database.transaction() as session:
        for table in ("change_point", "series_watch", "history_point"):
            await session.execute(text(f"DELETE FROM {table}"))
    await reanalysis.read_again(watching(laboratory), lambda _: None)
    assert [row.run_id for row in await points(laboratory)] == ids
    assert [row.run_id for row in await changes(laboratory)] == [ids[12]]
    # Analysed anew once more: nothing else is found, and changes keep their identity.
    number = (await changes(laboratory))[0].id
    done = await reanalysis.reanalyse(watching(laboratory), lambda _: None, project="default")
    assert done.series == 2
    assert [row.id for row in await changes(laboratory)] == [number]
    assert (await watch(laboratory)).segments == kept.segments
    assert (await reanalysis.reanalyse(watching(laboratory), lambda _: None, project="nobody")).series == 0
