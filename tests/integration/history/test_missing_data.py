"""Series and schedules that stop, what is said about them, and that it ends."""

from datetime import timedelta

from sqlalchemy import select
from support.histories import measure, take_in, watch, wobbly
from support.laboratory import Laboratory
from tesserabench.analysis.policy import Policy
from tesserabench.collector.core import metrics, missing_data
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
