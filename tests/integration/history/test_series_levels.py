"""The level that runs are compared with, and what has crept away from that of a release."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from support.histories import changes, measure, take_in, watch, watching, wobbly
from support.laboratory import Laboratory, at_once
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import SeriesKey
from tesserabench.collector.core import baselines, results, series_creep, series_levels, series_watch, series_writing
from tesserabench.collector.core.baselines import Change
from tesserabench.collector.core.series_detection import DRIFT, Detected, Findings, Mark, segments_json
from tesserabench.collector.store import history as history_store
from tesserabench.collector.store import history_watches
from tesserabench.collector.store.history_tables import HistoryPoint
from tesserabench.collector.store.tables import Project, Run

KEY = SeriesKey(case_id="gemm[n=512]", mode="cold", metric="time", device="Simulated 1")


async def noise(laboratory: Laboratory) -> RunNoise | None:
    """What the gate learns from the history for a run that comes next."""
    run_id = await laboratory.ask()
    async with laboratory.database.transaction() as session:
        run = await session.get_one(Run, run_id)
        return (await results.history(session, run, ("main", ""), [KEY])).get(KEY)


async def test_the_gate_compares_with_the_level_that_nobody_has_to_be_told_about(laboratory: Laboratory) -> None:
    ids = await measure(laboratory, wobbly([1.0] * 12 + [1.12] * 10))
    await take_in(laboratory)
    before = await noise(laboratory)
    assert before is not None
    assert before.level == pytest.approx(math.log(1e6), abs=0.003)
    assert before.runs == 12
    assert 0.001 < before.deviation < 0.006
    async with laboratory.database.transaction() as session:
        row = await watch(laboratory)
        await series_levels.accept_level(session, [row.series_id], "", run_id=ids[12], now=laboratory.clock.now)
    after = await noise(laboratory)
    assert after is not None
    assert after.level == pytest.approx(math.log(1.12e6), abs=0.003)
    assert after.runs == 10


async def test_results_that_were_called_worse_never_move_the_level(laboratory: Laboratory) -> None:
    ids = await measure(laboratory, wobbly([1.0] * 9 + [1.02] * 2))
    await take_in(laboratory)
    before = await noise(laboratory)
    async with laboratory.database.transaction() as session:
        for point in await session.scalars(select(HistoryPoint).where(HistoryPoint.run_id.in_(ids[9:]))):
            point.flagged = True
    after = await noise(laboratory)
    assert before is not None
    assert after is not None
    assert (before.runs, after.runs) == (11, 9)
    # The median of the nine that nobody complained about; a run is the middle of its two launches, 0.1 % apart.
    nine = sorted(math.log(1e6 * level * 1.0005) for level in wobbly([1.0] * 9))
    assert after.level == pytest.approx(nine[4], abs=1e-5)


async def blind(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
    """Detection that sees no change: what is left for the comparison with a release."""
    found: list[Detected] = await at_once(function, *arguments, **keywords)
    return [_without_findings(item) for item in found]


def _without_findings(item: Detected) -> Detected:
    if item.findings is None:
        return item
    return item._replace(findings=None, segments=segments_json(item.findings.levels[-1:], {}))


async def a_drift_is_found_just_there(laboratory: Laboratory, run_id: int) -> None:
    """The creep stands for it: nothing is written, and nothing breaks."""
    row = await watch(laboratory)
    async with laboratory.database.transaction() as session:
        points = (await history_store.points_of(session, [(row.series_id, "")]))[row.series_id, ""]
        place = next(place for place, point in enumerate(points) if point.run_id == run_id)
        where = {"start": place, "end": len(points), "earliest": place, "latest": place}
        mark = Mark(kind=DRIFT, confirmed=True, shift=0.04, strength=1.0, **where)
        (locked,) = await history_watches.lock(session, [(row.series_id, "")])
        found = Findings(levels=(), marks=(mark,))
        moved = series_writing.Moved(watch=locked, policy=Policy(), findings=found, points=points)
        await series_writing.write_changes(session, [moved], laboratory.clock())
    assert len(await changes(laboratory)) == 1


async def test_what_creeps_away_from_a_release_is_told_once_and_taken_back(laboratory: Laboratory) -> None:
    watched = replace(watching(laboratory), offload=blind)

    async def take(levels: list[float]) -> list[int]:
        ids = await measure(laboratory, wobbly(levels))
        while await series_watch.take_in(watched):
            pass
        return ids

    ids = await take([1.0] * 10)
    async with laboratory.database.transaction() as session:
        project = (await session.scalars(select(Project))).one()
        run = await session.get_one(Run, ids[-1])
        change = Change(actor="ann", comment="", now=laboratory.clock.now)
        await baselines.put(session, project, "v1.4", run, pin=False, change=change)
    assert await series_creep.freeze_references(laboratory.database) == 1
    assert await series_creep.freeze_references(laboratory.database) == 0, "frozen once"
    await take([1.0 + 0.002 * place for place in range(8)])
    assert await changes(laboratory) == [], "one and a half per cent do not matter"
    later = await take([1.0 + 0.002 * place for place in range(8, 24)])
    (found,) = await changes(laboratory)
    assert (found.kind, found.state, found.worse, found.severity) == ("drift", "confirmed", True, "minor")
    assert found.before_run_id == ids[-1]
    assert found.run_id in later
    assert 0.02 <= found.change < 0.05
    await take([1.0 + 0.002 * place for place in range(24, 30)])
    assert len(await changes(laboratory)) == 1, "one creep is one finding, however far it goes on"
    await a_drift_is_found_just_there(laboratory, found.run_id)
    await take([1.0] * 12)
    (found,) = await changes(laboratory)
    assert found.state == "withdrawn"


async def test_a_release_is_frozen_once_its_run_has_been_taken_in(laboratory: Laboratory) -> None:
    (first,) = await measure(laboratory, [1.0])
    async with laboratory.database.transaction() as session:
        project = (await session.scalars(select(Project))).one()
        run = await session.get_one(Run, first)
        change = Change(actor="ann", comment="", now=laboratory.clock.now)
        await baselines.put(session, project, "v1.0", run, pin=True, change=change)
    assert await series_creep.freeze_references(laboratory.database) == 0
    await take_in(laboratory)
    assert await series_creep.freeze_references(laboratory.database) == 1
