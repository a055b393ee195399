"""Identical code, measured twice: counted, told, and followed by wider limits where the gate errs too often."""

from collections.abc import Mapping, Sequence

import pytest
from sqlalchemy import select
from support.judging_services import Stubs
from support.laboratory import Conditions, Laboratory
from tesserabench.collector.core import false_alarms, runs, schedules
from tesserabench.collector.core.runs import NewRun
from tesserabench.collector.core.schedules import NewSchedule
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.store.tables import Baseline, IdenticalComparison, Run, Schedule
from tesserabench.collector.store.words import IdenticalRun
from tesserabench.collector.work.schedules import Scheduler
from tesserabench.v1 import regression_service_pb2, result_service_pb2

MODEL = "Simulated 1"


async def pair(laboratory: Laboratory, factors: Mapping[str, float]) -> Run:
    """Let a schedule measure the same code twice, the second time so much slower; gives the second run."""
    scheduler = Scheduler(laboratory.database, laboratory.clock)
    await scheduler.step()
    async with laboratory.database.transaction() as session:
        first = (await session.scalars(select(Run).order_by(Run.id.desc()).limit(1))).one()
    assert first.identical == "first"
    await laboratory.measure(first.id)
    assert (await laboratory.get(first.id)).verdict is None, "by itself it says nothing"
    await scheduler.step()
    await scheduler.step()
    async with laboratory.database.transaction() as session:
        second = (await session.scalars(select(Run).where(Run.parent_id == first.id))).one()
        assert (await session.scalars(select(Schedule))).one().last_run_id == second.id
    assert RunSpec.from_json(second.spec).seed != RunSpec.from_json(first.spec).seed
    assert RunSpec.from_json(second.spec).selector.hosts == ("node-1",)
    await laboratory.measure(second.id, Conditions(factors=factors))
    await laboratory.judge(second.id)
    laboratory.clock.advance(3600)
    return await laboratory.get(second.id)


async def plan(laboratory: Laboratory) -> None:
    await laboratory.host("node-1")
    async with laboratory.database.transaction() as session:
        new = NewSchedule(
            project="default", name="aa", spec=RunSpec(suite="core", trials=5), interval_seconds=3600, identical=True
        )
        await schedules.create(session, new, actor="tester", now=laboratory.clock())


async def test_identical_code_is_compared_and_counted_and_opens_nothing(laboratory: Laboratory) -> None:
    await plan(laboratory)
    run = await pair(laboratory, {})
    assert (run.state, run.verdict) == ("finished", "pass")
    assert run.verdict_reason == "The same code again: 0 false alarm(s) among 3 result(s)."
    wrong = await pair(laboratory, {"gemm[n=512]": 1.06})
    assert wrong.verdict == "inconclusive"
    assert await laboratory.regressions() == []
    assert await laboratory.confirmation(wrong.id) is None
    async with laboratory.database.transaction() as session:
        rows = (await session.scalars(select(IdenticalComparison).order_by(IdenticalComparison.run_id))).all()
        assert (await session.scalars(select(Baseline))).all() == []
        (rate,) = await false_alarms.rates(session, "default", laboratory.clock())
    assert [(row.host_class, row.comparisons, row.false_alarms) for row in rows] == [(MODEL, 3, 0), (MODEL, 3, 1)]
    (excess,) = rows[1].excesses
    assert excess == pytest.approx(2.94, abs=0.05)
    assert (rate.comparisons, rate.false_alarms, rate.limit_factor) == (6, 1, 1.0)
    assert rate.sentence() == "False alarms of identical code on Simulated 1: 1 of 6, 16.7 % (3.0 % to 56.4 %)."


async def test_a_person_may_ask_for_the_same_code_twice(laboratory: Laboratory) -> None:
    await laboratory.host("node-1")
    async with laboratory.database.transaction() as session:
        spec = RunSpec(suite="core", trials=5)
        new = NewRun(project="default", spec=spec, identical=IdenticalRun.FIRST)
        first = (await runs.create(session, new, actor="tester", now=laboratory.clock())).id
    await laboratory.measure(first)
    await Scheduler(laboratory.database, laboratory.clock).step()
    async with laboratory.database.transaction() as session:
        second = (await session.scalars(select(Run).where(Run.parent_id == first))).one()
    await laboratory.measure(second.id)
    await laboratory.judge(second.id)
    assert (await laboratory.get(second.id)).verdict_reason.startswith("The same code again: 0 false alarm(s)")
    async with laboratory.database.transaction() as session:
        (rate,) = await false_alarms.rates(session, "default", laboratory.clock())
    assert rate.comparisons == 3


async def counted(laboratory: Laboratory, *, run: int, comparisons: int, excesses: Sequence[float]) -> None:
    """Many comparisons of identical code at once, as if they had been made."""
    async with laboratory.database.transaction() as session:
        row = IdenticalComparison(
            run_id=run, host_class=MODEL, project_id=1, suite="core", base_run_id=run, comparisons=comparisons
        )
        row.false_alarms, row.inconclusive, row.excesses = len(excesses), 0, list(excesses)
        row.at = laboratory.clock()
        session.add(row)


async def test_limits_are_raised_where_identical_code_differs_and_reports_say_so(
    laboratory: Laboratory, stubs: Stubs
) -> None:
    base = await laboratory.run()
    await counted(laboratory, run=base, comparisons=300, excesses=[1.2, 1.5, 1.7, 1.75, 1.8, 1.85, 1.9, 1.95, 3.0])
    slower = Conditions(factors={"gemm[n=512]": 1.035})
    run_id = await laboratory.run(conditions=slower)
    run = await laboratory.get(run_id)
    assert run.verdict in {"pass", "inconclusive"}, "what identical code does is no regression"
    request = result_service_pb2.GetRunComparisonRequest(run=f"runs/{run_id}")
    comparison = await stubs.results.GetRunComparison(request)
    (note,) = [note for note in comparison.notes if "identical code" in note]
    assert "9 of 300, 3.0 %" in note
    assert "1.9 times as large" in note
    entry = next(entry for entry in comparison.entries if entry.metric == "time" and entry.case.id == "gemm[n=512]")
    assert entry.minimum_effect == pytest.approx(0.038)
    assert "1.9 times the usual" in entry.explanation
    asked = result_service_pb2.CompareRequest(base=f"run:{base}", head=f"run:{run_id}")
    assert [note for note in (await stubs.results.Compare(asked)).notes if "identical code" in note] == [note]
    score = await stubs.regressions.GetDetectorScore(regression_service_pb2.GetDetectorScoreRequest())
    (rate,) = score.false_alarm_rates
    assert (rate.host_class, rate.comparisons, rate.false_alarms) == (MODEL, 300, 9)
    assert rate.limit_factor == pytest.approx(1.9)
    # A quarter later nobody knows any more, and the limits are the usual ones.
    laboratory.clock.advance(91 * 86400)
    async with laboratory.database.transaction() as session:
        assert await false_alarms.rates(session, "default", laboratory.clock()) == []
