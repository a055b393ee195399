"""A series that the detector breaks over takes no other with it, loses nothing, and is tried again."""

from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text
from support.histories import changes, measure, points, take_in, watch, watching, wobbly
from support.laboratory import Laboratory, at_once
from tesserabench.analysis.changepoints import extend_many
from tesserabench.collector.core import metrics, missing_data, series_detection, series_watch, series_writing
from tesserabench.collector.core.series_detection import Task
from tesserabench.collector.core.series_watch import TakingInError
from tesserabench.collector.store.history_tables import HistoryBroken, HistoryDue
from tesserabench.collector.work.history import Historian

STEPPED = wobbly([1.0] * 12 + [1.12] * 8)


def is_time(value: float) -> bool:
    """Whether a value is one of the time's, which is the broken series here, and not of the bandwidth's."""
    return 5e5 < value < 5e6


async def broken(laboratory: Laboratory) -> list[HistoryBroken]:
    async with laboratory.database.transaction() as session:
        return list(await session.scalars(select(HistoryBroken)))


async def due(laboratory: Laboratory) -> list[HistoryDue]:
    async with laboratory.database.transaction() as session:
        return list(await session.scalars(select(HistoryDue)))


def found(rows: Sequence[Any]) -> list[tuple[str, str, int]]:
    return [(row.kind, row.state, row.run_id) for row in rows]


def break_detector(patch: pytest.MonkeyPatch) -> None:
    whole = extend_many

    def choke(tails: Any, additions: Any) -> Any:
        if any(is_time(value) for values, _ in additions for value in values):
            raise ZeroDivisionError("no spread")
        return whole(tails, additions)

    patch.setattr(series_detection, "extend_many", choke)


async def test_the_others_go_on_and_it_is_mended_later(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await measure(laboratory, STEPPED[:12])
    await take_in(laboratory)
    kept = await watch(laboratory)
    historian = Historian(watching(laboratory))
    with monkeypatch.context() as patch:
        break_detector(patch)
        ids += await measure(laboratory, STEPPED[12:])
        await historian.check()
        (row,) = await broken(laboratory)
        assert row.series_id == kept.series_id
        assert row.error.startswith("ZeroDivisionError: no spread (choke, line ")
        assert await due(laboratory) == [], "the runs have been taken in"
        assert [point.run_id for point in await points(laboratory)] == ids, "and nothing of them is lost"
        assert (await watch(laboratory)).segments == kept.segments, "what was known stands still"
        assert found(await changes(laboratory, metric="bandwidth")) == [("step", "confirmed", ids[12])]
        async with laboratory.database.transaction() as session:
            await missing_data.refresh(session, laboratory.clock.now)
        assert metrics.SERIES_BROKEN._values == {(): 1.0}
        # It is left alone for a while, longer each time.
        await historian.check()
        assert [row.tries for row in await broken(laboratory)] == [1]
        laboratory.clock.advance(31)
        await historian.check()
        await historian.check()
        assert [row.tries for row in await broken(laboratory)] == [2]
        laboratory.clock.advance(31)
        await historian.check()
        assert [row.tries for row in await broken(laboratory)] == [2]
    laboratory.clock.advance(31)
    await historian.check()
    assert await broken(laboratory) == []
    assert found(await changes(laboratory)) == [("step", "confirmed", ids[12])]
    assert (await watch(laboratory)).points == len(ids)


async def test_points_that_come_while_it_is_left_alone_are_not_skipped(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_detector(patch)
        ids = await measure(laboratory, STEPPED[:14])
        await take_in(laboratory)
    async with laboratory.database.transaction() as session:
        await session.execute(text("UPDATE history_broken SET not_before = not_before + interval '1 day'"))
    ids += await measure(laboratory, STEPPED[14:])
    await take_in(laboratory)
    assert [row.tries for row in await broken(laboratory)] == [1]
    assert await changes(laboratory) == []
    laboratory.clock.advance(2 * 86_400)
    await series_watch.mend(watching(laboratory))
    assert await broken(laboratory) == []
    assert found(await changes(laboratory)) == [("step", "confirmed", ids[12])]
    assert (await watch(laboratory)).points == len(ids)


async def test_an_error_while_writing_is_of_one_series_too(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = series_writing._values

    def choke(item: Any, *rest: Any) -> dict[str, Any]:
        if item.watch.series.metric == "time":
            raise KeyError("no such run")
        return values(item, *rest)

    ids = await measure(laboratory, STEPPED)
    with monkeypatch.context() as patch:
        patch.setattr(series_writing, "_values", choke)
        with pytest.raises(TakingInError):
            await series_watch.take_in(watching(laboratory))
        await Historian(watching(laboratory)).check()
    assert await due(laboratory) == []
    assert [row.error for row in await broken(laboratory)] == ["KeyError: 'no such run'"]
    assert [point.run_id for point in await points(laboratory)] == ids
    assert found(await changes(laboratory, metric="bandwidth")) == [("step", "confirmed", ids[12])]
    laboratory.clock.advance(60)
    await Historian(watching(laboratory)).check()
    assert found(await changes(laboratory)) == [("step", "confirmed", ids[12])]


async def test_a_state_that_cannot_be_read_is_made_anew(laboratory: Laboratory) -> None:
    ids = await measure(laboratory, STEPPED[:16])
    await take_in(laboratory)
    async with laboratory.database.transaction() as session:
        await session.execute(text("UPDATE series_watch SET tail = 'what an older edition wrote'"))
    ids += await measure(laboratory, STEPPED[16:])
    await take_in(laboratory)
    assert await broken(laboratory) == []
    assert found(await changes(laboratory)) == [("step", "confirmed", ids[12])]
    assert (await watch(laboratory)).points == len(ids)


def dying(*, even_for_nothing: bool) -> Callable[..., Any]:
    async def offload(function: Callable[..., Any], tasks: Sequence[Task]) -> Any:
        culprit = any(is_time(value) for task in tasks for value in task.values)
        if culprit or (even_for_nothing and not tasks):
            raise BrokenProcessPool("a process ended")
        return await at_once(function, tasks)

    return offload


async def test_a_series_that_kills_its_process_is_found_out(laboratory: Laboratory) -> None:
    await measure(laboratory, STEPPED)
    await Historian(replace(watching(laboratory), offload=dying(even_for_nothing=False))).check()
    assert await due(laboratory) == []
    assert [row.error for row in await broken(laboratory)] == ["BrokenProcessPool: a process ended"]
    assert (await watch(laboratory, metric="bandwidth")).points == len(STEPPED)


async def test_where_no_process_lives_no_series_is_blamed(laboratory: Laboratory) -> None:
    ids = await measure(laboratory, STEPPED[:3])
    await Historian(replace(watching(laboratory), offload=dying(even_for_nothing=True))).check()
    assert [(row.run_id, row.tries) for row in await due(laboratory)] == [(run_id, 1) for run_id in ids]
    assert await broken(laboratory) == []
