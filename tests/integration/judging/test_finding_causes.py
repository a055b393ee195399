"""Changes in histories become findings: one for each cause, and about the machine where the machine is at fault."""

import math
from collections.abc import Mapping
from datetime import timedelta

import pytest
from sqlalchemy import select
from support.histories import WOBBLE, end, take_in
from support.laboratory import CASES, Conditions, Laboratory, Request, at_once
from tesserabench.collector.core import finding_causes, triage
from tesserabench.collector.core.finding_causes import Asking
from tesserabench.collector.core.regressions import Act
from tesserabench.collector.core.spec import GateSpec, Revision, RunSpec
from tesserabench.collector.store.history_tables import AcceptedLevel, ChangePoint, SeriesWatch
from tesserabench.collector.store.tables import RegressionEvent, RegressionMember, Series
from tesserabench.collector.work.causes import CauseFinder

BEFORE, AFTER = 8, 5
SLOWER = {"copy[n=1]": 1.08, "gemm[n=512]": 1.12}
HOSTS = ("node-1", "node-2")


def asking(laboratory: Laboratory) -> Asking:
    return Asking(database=laboratory.database, offload=at_once, clock=laboratory.clock)


async def night(laboratory: Laboratory, number: int, factors: Mapping[str, Mapping[str, float]]) -> list[int]:
    """A run on each host, slower there by these factors, ended without a comparison."""
    ids = []
    for place, host in enumerate(HOSTS):
        commit = f"{number:07x}aaa"
        run_id = await laboratory.ask(Request(revision=Revision(commit=commit), spec=RunSpec(suite="core", trials=1)))
        wobble = {case: 1 + WOBBLE[(number * 5 + place * 3 + index * 7) % 12] for index, case in enumerate(CASES)}
        levels = {case: wobble[case] * factors.get(host, {}).get(case, 1.0) for case in CASES}
        await laboratory.measure(run_id, Conditions(host=host, factors=levels))
        await end(laboratory, run_id)
        ids.append(run_id)
    return ids


async def nights(laboratory: Laboratory, slow: Mapping[str, Mapping[str, float]]) -> tuple[list[int], list[int]]:
    """Nights as they were, then nights with something slower; all of it in the histories. Runs before and after."""
    before = [run for number in range(BEFORE) for run in await night(laboratory, number, {})]
    after = [run for number in range(BEFORE, BEFORE + AFTER) for run in await night(laboratory, number, slow)]
    await take_in(laboratory)
    return before, after


def a_step(laboratory: Laboratory, series_id: int, before: int, after: int) -> ChangePoint:
    """A change for the worse as the detector would write it."""
    levels = {"before_level": 1e6, "after_level": 1.09e6, "change": 0.09, "strength": 9.0, "severity": "major"}
    runs = {"run_id": after, "before_run_id": before, "at": laboratory.clock(), "hosts": ["node-2"]}
    return ChangePoint(series_id=series_id, line="", kind="step", state="confirmed", worse=True, **levels, **runs)


async def members(laboratory: Laboratory, regression_id: int) -> set[str]:
    async with laboratory.database.transaction() as session:
        rows = await session.scalars(select(RegressionMember).where(RegressionMember.regression_id == regression_id))
        return {row.evidence["case"]["id"] for row in rows}


async def test_a_step_of_the_code_is_one_finding_however_many_series_show_it(laboratory: Laboratory) -> None:
    before, after = await nights(laboratory, dict.fromkeys(HOSTS, SLOWER))
    await CauseFinder(asking(laboratory)).step()
    (found,) = await laboratory.regressions()
    assert (found.kind, found.state, found.cause) == ("regression", "confirmed", "code")
    assert found.severity == "critical"
    assert found.change == pytest.approx(0.12, abs=0.01)
    assert await members(laboratory, found.id) == set(SLOWER)
    told = found.attribution
    assert (told["commits"]["last_good_commit"], told["commits"]["first_bad_commit"]) == ("0000007aaa", "0000008aaa")
    assert told["commits"]["last_good_run"] in {f"runs/{run}" for run in before}
    assert told["commits"]["first_bad_run"] in {f"runs/{run}" for run in after}
    assert set(told["hosts"]) == set(HOSTS)
    assert told["evidence"]
    async with laboratory.database.transaction() as session:
        claimed = (await session.scalars(select(ChangePoint.regression_id).where(ChangePoint.worse.is_(True)))).all()
    assert claimed.count(found.id) == 2
    # Nothing new: nothing happens.
    assert await finding_causes.look(asking(laboratory)) == 0
    assert len(await laboratory.regressions()) == 1
    await it_is_ignored_for_a_while(laboratory)
    await its_level_is_accepted(laboratory)


async def it_is_ignored_for_a_while(laboratory: Laboratory) -> None:
    finder = CauseFinder(asking(laboratory))
    async with laboratory.database.transaction() as session:
        act = Act(actor="ada", comment="after the release", now=laboratory.clock())
        await triage.ignore(session, 1, until=laboratory.clock() + timedelta(days=14), act=act)
    await finder.step()
    assert [row.state for row in await laboratory.regressions()] == ["ignored"]
    laboratory.clock.advance(14 * 86400)
    await finder.step()
    assert [row.state for row in await laboratory.regressions()] == ["confirmed"]
    async with laboratory.database.transaction() as session:
        comments = (await session.scalars(select(RegressionEvent.comment).order_by(RegressionEvent.id))).all()
    assert comments[-1] == "was ignored until now"


async def its_level_is_accepted(laboratory: Laboratory) -> None:
    async with laboratory.database.transaction() as session:
        act = Act(actor="ada", comment="the safer algorithm", now=laboratory.clock())
        await triage.accept(session, 1, act=act)
    async with laboratory.database.transaction() as session:
        accepted = (await session.scalars(select(AcceptedLevel))).all()
        changes = (await session.scalars(select(ChangePoint).where(ChangePoint.regression_id == 1))).all()
    assert {(row.series_id, row.run_id) for row in accepted} == {(row.series_id, row.run_id) for row in changes}
    await finding_causes.look(asking(laboratory))
    assert [row.state for row in await laboratory.regressions()] == ["accepted"]


async def test_a_slow_machine_is_a_finding_about_the_machine(laboratory: Laboratory) -> None:
    before, after = await nights(laboratory, {"node-2": dict.fromkeys(CASES, 1.09)})
    # The detector takes one host's step out of a series; whatever calls it a change, the cause is the machine.
    async with laboratory.database.transaction() as session:
        for watch in await session.scalars(select(SeriesWatch).join(Series).where(Series.primary.is_(True))):
            session.add(a_step(laboratory, watch.series_id, before[-1], after[1]))
            watch.level = math.log(1.09e6)
    await finding_causes.look(asking(laboratory))
    (one,) = await laboratory.regressions()
    assert (one.kind, one.subject, one.cause) == ("slow_device", "devices/node-2/uuid-node-2", "host")
    assert await members(laboratory, one.id) == set(CASES)


async def test_the_history_joins_what_a_run_has_found(laboratory: Laboratory) -> None:
    slow = Conditions(factors={"gemm[n=512]": 1.12})
    for number in range(BEFORE):
        await laboratory.run(Request(revision=Revision(commit=f"{number:07x}aaa")))
    run_id = await laboratory.run(Request(revision=Revision(commit="bbbbbbbbb")), slow)
    await laboratory.confirm(run_id, slow)
    await take_in(laboratory)
    await finding_causes.look(asking(laboratory))
    (found,) = await laboratory.regressions()
    assert found.cause, "findings of runs are asked for their cause too"
    for _ in range(AFTER):
        await laboratory.run(Request(revision=Revision(commit="bbbbbbbbb")), slow)
    await take_in(laboratory)
    await finding_causes.look(asking(laboratory))
    (found,) = await laboratory.regressions()
    assert (found.state, found.run_id) == ("confirmed", run_id)
    async with laboratory.database.transaction() as session:
        changes = (await session.scalars(select(ChangePoint).where(ChangePoint.regression_id == found.id))).all()
    assert len(changes) == 1


async def test_what_the_history_takes_back_is_closed(laboratory: Laboratory) -> None:
    before, after = await laboratory.run(), await laboratory.run()
    async with laboratory.database.transaction() as session:
        series = (await session.scalars(select(Series).where(Series.primary.is_(True)).limit(1))).one()
        change = a_step(laboratory, series.id, before, after)
        session.add(change)
        watch = SeriesWatch(series_id=series.id, line="", points=9, level=math.log(1.09e6), segments=[], known=[])
        session.add(watch)
        await session.flush()
        number = change.id
    await finding_causes.look(asking(laboratory))
    assert [(row.state, row.cause) for row in await laboratory.regressions()] == [("confirmed", "unknown")]
    async with laboratory.database.transaction() as session:
        (await session.get_one(ChangePoint, number)).state = "withdrawn"
    await finding_causes.look(asking(laboratory))
    assert [row.state for row in await laboratory.regressions()] == ["resolved"]


async def test_a_level_that_is_back_fixes_what_the_history_found(laboratory: Laboratory) -> None:
    await nights(laboratory, dict.fromkeys(HOSTS, SLOWER))
    await finding_causes.look(asking(laboratory))
    for number in range(BEFORE + AFTER, BEFORE + 2 * AFTER + 2):
        await night(laboratory, number, {})
    await take_in(laboratory)
    await finding_causes.look(asking(laboratory))
    (found,) = await laboratory.regressions()
    assert found.state == "fixed"


async def test_what_is_under_review_names_the_commit_that_it_was_compared_with(laboratory: Laboratory) -> None:
    def asked(name: str, commit: str) -> Request:
        gate = GateSpec(confirm=False)
        return Request(revision=Revision(branch=name, commit=commit), spec=RunSpec(suite="core", trials=5), gate=gate)

    base = await laboratory.run(asked("main", "1111111abc"))
    found = await laboratory.run(asked("faster", "2222222abc"), Conditions(factors=SLOWER))
    await take_in(laboratory)
    assert await finding_causes.look(asking(laboratory)) > 0
    told = {row.attribution["commits"].get("last_good_commit") for row in await laboratory.regressions()}
    assert told == {"1111111abc"}
    commits = (await laboratory.regressions())[0].attribution["commits"]
    assert commits | {"commits": []} == {
        "last_good_run": f"runs/{base}",
        "last_good_commit": "1111111abc",
        "first_bad_run": f"runs/{found}",
        "first_bad_commit": "2222222abc",
        "commits": [],
    }
