"""Series and schedules that stop, what is said about them, and that it ends."""

import asyncio
from datetime import timedelta

from psycopg.conninfo import make_conninfo
from sqlalchemy import select, text
from support.histories import measure, take_in, watch, wobbly
from support.laboratory import Laboratory
from support.waiting import wait_until_async
from tesserabench.analysis.policy import Policy
from tesserabench.collector.core import metrics, missing_data
from tesserabench.collector.store import history_watches
from tesserabench.collector.store import regressions as finding_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.tables import Host, Project, Regression, Schedule


async def look(laboratory: Laboratory) -> None:
    await missing_data.look(laboratory.database, Policy(), laboratory.clock.now)


async def findings(laboratory: Laboratory) -> list[tuple[str, str]]:
    async with laboratory.database.transaction() as session:
        rows = await session.scalars(
            select(Regression).where(Regression.kind == "missing_data").order_by(Regression.id)
        )
        return [(row.subject, row.state) for row in rows]


async def stale(laboratory: Laboratory) -> dict[tuple[str, ...], float]:
    async with laboratory.database.transaction() as session:
        await missing_data.refresh(session, laboratory.clock.now)
    return dict(metrics.SERIES_STALE._values)


async def test_a_suite_that_stopped_is_one_finding_that_ends_when_data_returns(laboratory: Laboratory) -> None:
    await measure(laboratory, wobbly([1.0] * 7))
    await take_in(laboratory)
    await look(laboratory)
    assert await findings(laboratory) == []
    laboratory.clock.advance(20 * 60)
    await look(laboratory)
    await look(laboratory)
    subject = "suites/core/Simulated 1"
    assert await findings(laboratory) == [(subject, "confirmed")]
    assert (await watch(laboratory)).state == "stale"
    # Both metrics of the case, and one finding.
    assert await stale(laboratory) == {("default", "core", "Simulated 1"): 2.0}
    async with laboratory.database.transaction() as session:
        (row,) = (await session.scalars(select(Regression))).all()
    assert "gemm[n=512]" in row.summary
    await measure(laboratory, [1.0])
    await take_in(laboratory)
    assert (await watch(laboratory)).state == "active"
    await look(laboratory)
    assert await findings(laboratory) == [(subject, "verified")]
    assert await stale(laboratory) == {}


async def test_a_benchmark_that_was_removed_is_missed_by_nobody(laboratory: Laboratory) -> None:
    await measure(laboratory, wobbly([1.0] * 7))
    await take_in(laboratory)
    async with laboratory.database.transaction() as session:
        (host,) = (await session.scalars(select(Host).with_for_update())).all()
        host.inventory = {**host.inventory, "suites": [{"name": "core", "benchmarks": [{"name": "copy"}]}]}
    laboratory.clock.advance(20 * 60)
    await look(laboratory)
    assert await findings(laboratory) == []
    assert (await watch(laboratory)).state == "removed"


async def test_a_schedule_that_stopped_is_a_finding_until_it_is_paused(laboratory: Laboratory) -> None:
    await measure(laboratory, [1.0])
    async with laboratory.database.transaction() as session:
        project = (await session.scalars(select(Project))).one()
        nightly = Schedule(
            project_id=project.id,
            name="nightly",
            spec={"suite": "core"},
            revision={},
            gate={},
            interval_seconds=86_400,
            next_at=laboratory.clock.now,
            last_success_at=laboratory.clock.now,
            created_at=laboratory.clock.now - timedelta(days=30),
            created_by="tester",
        )
        session.add(nightly)
    laboratory.clock.advance(49 * 3600)
    await look(laboratory)
    assert await findings(laboratory) == [], "two periods have not been missed yet"
    laboratory.clock.advance(2 * 3600)
    await look(laboratory)
    assert await findings(laboratory) == [("schedules/nightly", "confirmed")]
    async with laboratory.database.transaction() as session:
        (await session.get_one(Schedule, nightly.id)).paused = True
    await look(laboratory)
    assert await findings(laboratory) == [("schedules/nightly", "verified")]


async def somebody_waits(laboratory: Laboratory) -> None:
    async def waits() -> bool:
        async with laboratory.database.transaction() as session:
            here = "datname = current_database() AND wait_event_type = 'Lock'"
            return bool(await session.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {here}")))

    await wait_until_async(waits, seconds=60, what="somebody who waits for a lock")


_BACK = "INSERT INTO series_watch SELECT * FROM moved WHERE series_id = :id"


async def test_watches_are_locked_in_the_order_in_which_histories_lock_them(
    laboratory: Laboratory, database_dsn: str
) -> None:
    await measure(laboratory, wobbly([1.0] * 7))
    await take_in(laboratory)
    laboratory.clock.advance(20 * 60)
    first, second = sorted(
        [(await watch(laboratory)).series_id, (await watch(laboratory, metric="bandwidth")).series_id]
    )
    async with laboratory.database.transaction() as session:
        # Its row stands behind the other now, and is met after it.
        await session.execute(text("CREATE TEMP TABLE moved ON COMMIT DROP AS SELECT * FROM series_watch"))
        for statement in ("DELETE FROM series_watch WHERE series_id = :id", _BACK):
            await session.execute(text(statement), {"id": first})
    # Read as a large table is, and not by its index.
    reading = make_conninfo(database_dsn, options="-c enable_indexscan=off -c enable_bitmapscan=off")
    other = Database(reading, pool_size=2)
    try:
        async with laboratory.database.transaction() as session:
            await history_watches.lock(session, [(first, "")])
            looking = asyncio.create_task(missing_data.look(other, Policy(), laboratory.clock.now))
            await somebody_waits(laboratory)
            await history_watches.lock(session, [(second, "")])
        await looking
    finally:
        await other.close()
    assert (await watch(laboratory)).state == "stale"


async def test_no_watch_is_held_while_a_projects_findings_are_waited_for(laboratory: Laboratory) -> None:
    await measure(laboratory, wobbly([1.0] * 7))
    await take_in(laboratory)
    laboratory.clock.advance(20 * 60)
    async with laboratory.database.transaction() as session:
        await finding_store.lock_project(session, (await session.scalars(select(Project.id))).one())
        looking = asyncio.create_task(look(laboratory))
        await somebody_waits(laboratory)
        rows = await session.execute(text("SELECT state FROM series_watch FOR UPDATE NOWAIT"))
        assert set(rows.scalars()) == {"stale"}
    await looking
    assert await findings(laboratory) == [("suites/core/Simulated 1", "confirmed")]
