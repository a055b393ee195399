"""Runs become points, points become changes, whatever order they come in and whatever dies meanwhile."""

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from support.histories import CASE, changes, end, give, measure, points, take_in, watch, watching, wobbly
from support.laboratory import Conditions, Laboratory, Request, drilled
from tesserabench.collector.core import series_blocks, series_watch
from tesserabench.collector.core.series_blocks import News
from tesserabench.collector.core.series_watch import TakingInError
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.core.watching import Watching
from tesserabench.collector.store import history as store
from tesserabench.collector.store import history_due as due_store
from tesserabench.collector.store import history_watches as watch_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.history import SeriesLine
from tesserabench.collector.store.history_tables import ChangePoint, HistoryDue
from tesserabench.collector.store.tables import Run
from tesserabench.collector.work.history import Historian

STEPPED = [1.0] * 12 + [1.12] * 8
Told = tuple[str, str, int, int | None, float]


def told(rows: list[ChangePoint]) -> list[Told]:
    """What matters of changes."""
    return [(row.kind, row.state, row.run_id, row.before_run_id, round(row.change, 9)) for row in rows]


async def due(laboratory: Laboratory) -> list[HistoryDue]:
    async with laboratory.database.transaction() as session:
        return list(await session.scalars(select(HistoryDue)))


async def test_a_step_is_found_point_by_point_and_dated_at_its_first_run(laboratory: Laboratory) -> None:
    ids: list[int] = []
    for place, level in enumerate(wobbly(STEPPED)):
        ids += await measure(laboratory, [level])
        await take_in(laboratory)
        if place < 13:
            assert await changes(laboratory) == [], "nothing before two points stand at the new level"
    (found,) = await changes(laboratory)
    assert (found.kind, found.state, found.worse, found.severity) == ("step", "confirmed", True, "critical")
    assert (found.before_run_id, found.run_id) == (ids[11], ids[12])
    assert found.change == pytest.approx(0.12, abs=0.01)
    assert found.before_level == pytest.approx(1e6, rel=0.01)
    assert found.after_level == pytest.approx(1.12e6, rel=0.01)
    assert found.hosts == ["node-1"]
    (rate,) = await changes(laboratory, metric="bandwidth")
    assert rate.worse, "a rate that falls is worse"
    assert rate.change == pytest.approx(1 / 1.12 - 1, abs=0.01)
    kept = await watch(laboratory)
    assert kept.points == len(await points(laboratory)) == len(STEPPED)
    assert [segment["run"] for segment in kept.segments] == [ids[0], ids[12]]


async def test_the_order_in_which_results_arrive_does_not_matter(laboratory: Laboratory) -> None:
    levels = wobbly(STEPPED)
    ids = [await laboratory.ask(Request(spec=RunSpec(suite="core", trials=2))) for _ in levels]
    late = [3, 11, 14]
    for place in [*(place for place in range(len(ids)) if place not in late), *late]:
        await give(laboratory, ids[place], levels[place])
        await take_in(laboratory)
    shuffled = told(await changes(laboratory))
    assert [(kind, state, run, before) for kind, state, run, before, _ in shuffled if state == "confirmed"] == [
        ("step", "confirmed", ids[12], ids[11])
    ]
    assert [row.run_id for row in await points(laboratory)] == ids
    kept = await watch(laboratory)
    # The same points, all at once.
    async with laboratory.database.transaction() as session:
        news = News(whole={(kept.series_id, "")})
        await series_watch.look_again(watching(laboratory), session, news)
    again = await watch(laboratory)
    assert again.segments == kept.segments
    assert told(await changes(laboratory)) == shuffled


async def test_taking_in_twice_changes_nothing(laboratory: Laboratory) -> None:
    await measure(laboratory, wobbly(STEPPED))
    await take_in(laboratory)
    before = (told(await changes(laboratory)), len(await points(laboratory)), (await watch(laboratory)).updated_at)
    async with laboratory.database.transaction() as session:
        assert await due_store.enqueue_everything(session) == len(STEPPED)
    laboratory.clock.advance(3600)
    await take_in(laboratory)
    assert await due(laboratory) == []
    # Not even the watch was written: there was no news.
    assert (
        told(await changes(laboratory)),
        len(await points(laboratory)),
        (await watch(laboratory)).updated_at,
    ) == before


async def test_a_death_before_the_commit_loses_nothing_and_doubles_nothing(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await measure(laboratory, wobbly(STEPPED))

    async def die(*_: object) -> None:
        raise RuntimeError("killed")

    # The last step before the commit: points, watches and changes have been written in the transaction by then.
    with monkeypatch.context() as broken:
        broken.setattr(due_store, "done", die)
        with pytest.raises(TakingInError) as caught:
            await series_watch.take_in(watching(laboratory))
    assert list(caught.value.run_ids) == ids
    assert await points(laboratory) == []
    assert await changes(laboratory) == []
    assert [row.run_id for row in await due(laboratory)] == ids
    await take_in(laboratory)
    assert [row.run_id for row in await points(laboratory)] == ids
    assert [row.run_id for row in await changes(laboratory)] == [ids[12]]
    assert await due(laboratory) == []


async def test_a_run_that_cannot_be_taken_in_holds_up_no_other(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await measure(laboratory, wobbly([1.0] * 6))
    whole = store.measured

    async def choke(session: object, run_ids: list[int]) -> dict[int, list[store.RunPoint]]:
        if ids[2] in run_ids:
            raise ValueError("this one")
        return await whole(session, run_ids)  # type: ignore[arg-type]

    historian = Historian(watching(laboratory))
    with monkeypatch.context() as broken:
        broken.setattr(store, "measured", choke)
        for _ in range(8):
            await historian.check()
            laboratory.clock.advance(60)
    assert [row.run_id for row in await points(laboratory)] == [run_id for run_id in ids if run_id != ids[2]]
    (left,) = await due(laboratory)
    assert (left.run_id, left.error) == (ids[2], "ValueError: this one")
    # Mended, and asked for again: it takes its place among the others.
    async with laboratory.database.transaction() as session:
        await due_store.enqueue_everything(session)
    laboratory.clock.advance(60)
    await historian.check()
    assert [row.run_id for row in await points(laboratory)] == ids


async def test_what_does_not_show_the_level_of_the_code_is_left_out(laboratory: Laboratory) -> None:
    (good,) = await measure(laboratory, [1.0])
    slowed = await laboratory.ask(drilled(gemm=1.5))
    await laboratory.measure(slowed, Conditions(cases=[CASE]))
    await end(laboratory, slowed)
    failed = await laboratory.ask(Request(spec=RunSpec(suite="core", trials=2)))
    await laboratory.measure(failed, Conditions(cases=[CASE], failures={CASE: ("incorrect", "wrong sum")}))
    await end(laboratory, failed)
    confirming = await laboratory.ask(Request(spec=RunSpec(suite="core", trials=2)))
    async with laboratory.database.transaction() as session:
        (await session.get_one(Run, confirming)).trigger = "confirmation"
    await laboratory.measure(confirming, Conditions(cases=[CASE]))
    await take_in(laboratory)
    assert [row.run_id for row in await points(laboratory)] == [good]
    assert await due(laboratory) == []


async def test_branches_have_histories_of_their_own(laboratory: Laboratory) -> None:
    await measure(laboratory, wobbly([1.0] * 4))
    await measure(laboratory, wobbly([1.3] * 3), branch="faster-sort")
    await take_in(laboratory)
    assert (await watch(laboratory)).points == 4
    other = await watch(laboratory, line="faster-sort")
    assert other.points == 3
    assert other.segments[-1]["level"] > (await watch(laboratory)).segments[-1]["level"] + 0.2


async def test_a_point_has_the_median_of_its_launches_and_what_they_differ_by(laboratory: Laboratory) -> None:
    run_id = await laboratory.ask(Request(spec=RunSpec(suite="core", trials=5)))
    await give(laboratory, run_id, 1.0)
    await take_in(laboratory)
    (point,) = await points(laboratory)
    assert point.launches == 5
    assert point.value == pytest.approx(1e6, rel=1e-4)
    assert point.spread == pytest.approx(0.00079, rel=0.02)
    assert (point.hosts, point.comparability) == (["node-1"], "class-a")


async def test_replicas_share_the_work_and_double_nothing(laboratory: Laboratory, database_dsn: str) -> None:
    ids = await measure(laboratory, wobbly(STEPPED))
    other = Database(database_dsn, pool_size=2)

    async def work(mine: Watching) -> int:
        taken = 0
        while got := await series_watch.take_in(mine, limit=3):
            taken += len(got)
        return taken

    try:
        ours = watching(laboratory)
        shares = await asyncio.gather(work(ours), work(replace(ours, database=other)))
    finally:
        await other.close()
    assert sum(shares) == len(ids)
    assert [row.run_id for row in await points(laboratory)] == ids
    assert [row.run_id for row in await changes(laboratory)] == [ids[12]]
    assert (await watch(laboratory)).points == len(ids)


async def test_a_transaction_takes_so_many_points_and_leaves_the_other_runs(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_watch, "_RUNS_AT_ONCE", 2)
    monkeypatch.setattr(series_watch, "_POINTS", 7)
    ids = await measure(laboratory, wobbly([1.0] * 10))
    # Each run gives two points.
    assert await series_watch.take_in(watching(laboratory)) == ids[:4]
    assert [row.run_id for row in await due(laboratory)] == ids[4:]
    await take_in(laboratory)
    assert [row.run_id for row in await points(laboratory)] == ids


async def test_long_histories_are_read_a_few_at_a_time(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await measure(laboratory, wobbly(STEPPED))
    await take_in(laboratory)
    before, keys = told(await changes(laboratory)), await every_key(laboratory)
    read: list[int] = []
    whole = store.points_of

    async def counted(session: AsyncSession, some: Collection[SeriesLine]) -> dict[SeriesLine, list[store.Point]]:
        found = await whole(session, some)
        read.append(sum(len(one) for one in found.values()))
        return found

    monkeypatch.setattr(store, "points_of", counted)
    monkeypatch.setattr(series_blocks, "_POINTS", len(ids))
    async with laboratory.database.transaction() as session:
        await series_watch.look_again(watching(laboratory), session, News(whole=set(keys)))
    # One after the other, though a block has room for both, and what was read serves for writing too.
    assert read == [len(ids), len(ids)]
    assert told(await changes(laboratory)) == before


async def every_key(laboratory: Laboratory) -> list[SeriesLine]:
    async with laboratory.database.transaction() as session:
        return await watch_store.keys_after(session, None, limit=10)


async def test_the_last_points_of_a_series_are_read_without_the_others(laboratory: Laboratory) -> None:
    ids = await measure(laboratory, wobbly([1.0] * 6))
    await take_in(laboratory)
    key = ((await watch(laboratory)).series_id, "")
    async with laboratory.database.transaction() as session:
        found = await store.newest_points(session, [key, (10**9, "")], 2)
        whole = await store.points_of(session, [key])
        assert await store.counts(session, [key, (10**9, "")]) == {key: len(ids)}
    assert found == {key: whole[key][-2:], (10**9, ""): []}
    assert [point.run_id for point in found[key]] == ids[-2:]
