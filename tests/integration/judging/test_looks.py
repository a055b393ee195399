"""Runs that are looked at again until they are decided, or until looks and budget are gone."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support.laboratory import FINISHED, JUDGING, Conditions, Laboratory, Request, at_once
from tesserabench.analysis.compare import compare
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.spending import Spending
from tesserabench.collector.core import judging, runs
from tesserabench.collector.core.spec import DuetSpec, GateSpec, Revision, RunSpec
from tesserabench.collector.store import comparisons
from tesserabench.collector.store import looks as look_store
from tesserabench.collector.store.look_tables import Look
from tesserabench.collector.store.tables import Host, Run

GEMM = "gemm[n=512]"
SLOW = Conditions(factors={GEMM: 1.10})
SLOW_ELSEWHERE = Conditions(factors={GEMM: 1.10}, host="node-2")
ELSEWHERE = Conditions(host="node-2")


class SuddenDeathError(Exception):
    """The collector is gone."""


def gated(commit: str = "fade123", branch: str = "main", **gate: Any) -> Request:
    spec = RunSpec(suite="core", trials=5, device="simulated")
    return Request(revision=Revision(branch=branch, commit=commit), gate=GateSpec(**gate), spec=spec)


async def looks_of(laboratory: Laboratory, run_id: int) -> Sequence[tuple[Look, Run]]:
    async with laboratory.database.transaction() as session:
        return [(look, measuring) for look, measuring in await look_store.of_runs(session, [run_id])]


async def entry_of(laboratory: Laboratory, run_id: int, case: str = GEMM) -> dict[str, Any]:
    async with laboratory.database.transaction() as session:
        found = await comparisons.find(session, run_id)
        assert found is not None
        entries = found.content["entries"]
        return next(entry for entry in entries if entry["case"]["id"] == case and entry["metric"] == "time")


async def look(laboratory: Laboratory, run_id: int, conditions: Conditions) -> Look:
    """Let the look that a run waits for be measured, and the run be judged with it."""
    await laboratory.confirm(run_id, conditions)
    return (await looks_of(laboratory, run_id))[-1][0]


async def test_a_result_that_cannot_be_told_is_measured_again_until_it_can(laboratory: Laboratory) -> None:
    await laboratory.run()
    noisy = Conditions(noise=50)
    once = await laboratory.run(gated(branch="fix"), noisy)
    assert (await laboratory.get(once)).verdict == "inconclusive"
    assert await laboratory.confirmation(once) is None

    run_id = await laboratory.run(gated(branch="fix", looks=3), noisy)
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict) == (JUDGING, None)
    ((asked, measuring),) = await looks_of(laboratory, run_id)
    assert (asked.number, asked.interleaved, asked.base_run_id is not None) == (2, False, True)
    assert measuring.trigger == "confirmation"
    await look(laboratory, run_id, Conditions())
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict) == (FINISHED, "pass")
    assert len(await looks_of(laboratory, run_id)) == 1
    entry = await entry_of(laboratory, run_id)
    assert [seen["number"] for seen in entry["looks"]] == [1, 2]
    assert "look 2 " in entry["explanation"]


async def test_another_host_that_shows_it_too_confirms_a_regression(laboratory: Laboratory) -> None:
    await laboratory.run(gated("base111"))
    there = await laboratory.run(gated("base111"), ELSEWHERE)
    run_id = await laboratory.run(gated(looks=2, branch="fix"), SLOW)
    ((asked, measuring),) = await looks_of(laboratory, run_id)
    assert (asked.hosts, asked.base_run_id) == (["node-2"], there)
    spec = RunSpec.from_json(measuring.spec)
    assert (spec.selector.hosts, spec.include) == (("node-2",), (r"^gemm\[n=512\]$",))
    assert spec.seed != RunSpec.from_json((await laboratory.get(run_id)).spec).seed
    await look(laboratory, run_id, SLOW_ELSEWHERE)
    run = await laboratory.get(run_id)
    assert (run.verdict, run.severity) == ("regressed", "critical")
    entry = await entry_of(laboratory, run_id)
    assert "Look 1 +10.0 % (node-1), look 2 +10.0 % (node-2, other order)." in entry["explanation"]
    assert [regression.state for regression in await laboratory.regressions()] == ["confirmed"]


async def test_what_one_host_shows_and_another_does_not_points_at_the_host(laboratory: Laboratory) -> None:
    await laboratory.run(gated("base111"))
    await laboratory.run(gated("base111"), ELSEWHERE)
    run_id = await laboratory.run(gated(looks=3, branch="fix"), SLOW)
    await look(laboratory, run_id, ELSEWHERE)
    run = await laboratory.get(run_id)
    assert run.state == JUDGING
    (_, (asked, _)) = await looks_of(laboratory, run_id)
    assert asked.hosts == ["node-1"]
    await look(laboratory, run_id, SLOW)
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict) == (FINISHED, "inconclusive")
    entry = await entry_of(laboratory, run_id)
    assert (entry["reason"], entry["cause"]) == ("VERDICT_REASON_NOT_REPRODUCED", "CAUSE_KIND_HOST")
    assert "seen again on node-1 and not on node-2" in entry["explanation"]
    assert [regression.state for regression in await laboratory.regressions()] == ["resolved"]


async def test_a_host_that_takes_no_work_is_not_waited_for(laboratory: Laboratory) -> None:
    await laboratory.run(gated("base111"))
    await laboratory.run(gated("base111"), ELSEWHERE)
    async with laboratory.database.transaction() as session:
        host = await session.get_one(Host, await laboratory.host("node-2"))
        host.draining = True
    run_id = await laboratory.run(gated(looks=2, branch="fix"), SLOW)
    ((asked, _),) = await looks_of(laboratory, run_id)
    assert asked.hosts == ["node-1"]


async def test_a_host_that_is_gone_is_not_waited_for_where_another_can_tell(laboratory: Laboratory) -> None:
    await laboratory.run(gated("base111"))
    await laboratory.run(gated("base111"), ELSEWHERE)
    run_id = await laboratory.run(gated(looks=3, branch="fix"), SLOW)
    child = await laboratory.confirmation(run_id)
    assert child is not None
    await laboratory.measure(child.id, Conditions(failures={GEMM: ("device_error", "signal 11")}, host="node-2"))
    async with laboratory.database.transaction() as session:
        (await session.get_one(Host, await laboratory.host("node-1"))).cordoned = True
    await laboratory.judge(run_id)
    assert [asked.hosts for asked, _ in await looks_of(laboratory, run_id)] == [["node-2"], ["node-2"]]


async def test_the_same_code_is_measured_in_turns_with_its_base(laboratory: Laboratory) -> None:
    await laboratory.run(gated("same123"))
    request = Request(
        revision=Revision(branch="main", commit="same123"),
        gate=GateSpec(looks=2),
        spec=RunSpec(suite="core", trials=5, device="simulated", drill={"gemm": 1.10}),
    )
    run_id = await laboratory.run(request)
    ((asked, measuring),) = await looks_of(laboratory, run_id)
    spec = RunSpec.from_json(measuring.spec)
    assert (asked.interleaved, asked.base_run_id, spec.drill) == (True, None, {"gemm": 1.10})
    assert spec.duet is not None
    # The machine is slower by now, both sides of it.
    await look(laboratory, run_id, Conditions(level=1.2e6))
    run = await laboratory.get(run_id)
    assert (run.verdict, run.severity) == ("regressed", "critical")
    assert "in turns with the base" in (await entry_of(laboratory, run_id))["explanation"]


async def test_a_slower_machine_is_no_regression_of_the_same_code(laboratory: Laboratory) -> None:
    await laboratory.run(gated("same123"))
    run_id = await laboratory.run(gated("same123", looks=2), SLOW)
    await look(laboratory, run_id, SLOW)
    run = await laboratory.get(run_id)
    assert (run.verdict, run.severity) == ("inconclusive", None)
    assert (await entry_of(laboratory, run_id))["reason"] == "VERDICT_REASON_NOT_REPRODUCED"


async def test_the_budget_ends_looking_and_is_named(laboratory: Laboratory) -> None:
    await laboratory.run()
    run_id = await laboratory.run(gated(budget_seconds=300.0), SLOW)
    async with laboratory.database.transaction() as session:
        view = await runs.view(session, run_id, now=laboratory.clock.now)
        assert view.reason == "measuring 1 undecided result again, look 2 of 4, 0 of 5 minutes used"
    laboratory.clock.advance(299)
    await laboratory.judge(run_id)
    assert (await laboratory.get(run_id)).state == JUDGING
    laboratory.clock.advance(2)
    await laboratory.judge(run_id)
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict) == (FINISHED, "inconclusive")
    assert "was not measured within 300 s" in run.verdict_reason
    assert "The budget of 5 minutes is used up." in run.verdict_reason
    ((_, measuring),) = await looks_of(laboratory, run_id)
    assert (measuring.state, measuring.outcome) == (FINISHED, "cancelled")
    assert [regression.state for regression in await laboratory.regressions()] == ["suspected"]


async def test_the_launches_of_a_look_that_the_budget_cuts_off_count(laboratory: Laboratory) -> None:
    await laboratory.run()
    run_id = await laboratory.run(gated(budget_seconds=300.0), SLOW)
    ((_, measuring),) = await looks_of(laboratory, run_id)
    await laboratory.measure_partly(measuring.id, Conditions(factors=SLOW.factors, launches=3))
    laboratory.clock.advance(301)
    await laboratory.judge(run_id)
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict, run.severity) == (FINISHED, "regressed", "critical")
    entry = await entry_of(laboratory, run_id)
    assert "cut off after 3 of 5 launches" in entry["explanation"]
    assert [seen["launches"] for seen in entry["looks"]] == [5, 3]
    assert [regression.state for regression in await laboratory.regressions()] == ["confirmed"]


async def test_a_look_is_planned_to_end_before_the_budget_does(laboratory: Laboratory) -> None:
    await laboratory.run()
    slow = Conditions(factors={GEMM: 1.20}, case_seconds=20)
    # Five launches would take all of it; a host has to take them first.
    run_id = await laboratory.run(gated(budget_seconds=100.0), slow)
    ((asked, _),) = await looks_of(laboratory, run_id)
    assert (asked.launches, asked.expected_seconds) == (4, 80.0)


async def test_all_series_together_have_the_same_share_of_the_error_at_the_first_look(laboratory: Laboratory) -> None:
    await laboratory.run()
    run_id = await laboratory.ask(gated(looks=3))
    await laboratory.measure(run_id, SLOW)
    seen: list[tuple[float, float]] = []

    async def noted(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if function is compare:
            seen.append((args[2].confidence, kwargs["rules"](args[1].series[0]).confidence))
        return function(*args, **kwargs)

    await judging.judge(replace(laboratory.judging, offload=noted), run_id)
    level = Spending(error=1 - Policy().confidence, looks=4).level(1)
    ((of_all, of_one),) = seen
    assert of_all == pytest.approx(1 - level)
    assert of_one == pytest.approx(1 - level)


async def test_a_short_budget_goes_to_what_is_worst(laboratory: Laboratory) -> None:
    await laboratory.run()
    slow = Conditions(factors={GEMM: 1.20, "copy[n=1]": 1.04}, case_seconds=20)
    # Five launches of one case take 100 s, and no three of both.
    run_id = await laboratory.run(gated(budget_seconds=130.0), slow)
    ((asked, measuring),) = await looks_of(laboratory, run_id)
    assert RunSpec.from_json(measuring.spec).include == (r"^gemm\[n=512\]$",)
    assert (asked.launches, asked.expected_seconds) == (5, 100.0)
    await look(laboratory, run_id, slow)
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict, run.severity) == (FINISHED, "regressed", "critical")
    left = await entry_of(laboratory, run_id, "copy[n=1]")
    assert left["reason"] == "VERDICT_REASON_NOT_CONFIRMED"
    assert "of the budget is left, too little for another look" in left["explanation"]
    states = {regression.severity: regression.state for regression in await laboratory.regressions()}
    assert states == {"critical": "confirmed", "minor": "suspected"}


async def test_a_budget_too_small_for_anything_says_so(laboratory: Laboratory) -> None:
    await laboratory.run()
    slow = Conditions(factors={GEMM: 1.20}, case_seconds=20)
    run_id = await laboratory.run(gated(budget_seconds=10.0), slow)
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict) == (FINISHED, "inconclusive")
    assert "10 s of the budget is left, too little for another look." in run.verdict_reason
    assert await looks_of(laboratory, run_id) == []


async def test_undecided_results_say_why_they_were_not_looked_at_again(laboratory: Laboratory) -> None:
    await laboratory.run()
    restless = Conditions(factors={GEMM: 1.15}, noise=80, case_seconds=20)
    run_id = await laboratory.run(gated(budget_seconds=10.0), restless)
    assert (await laboratory.get(run_id)).state == FINISHED
    assert "too little for another look" in (await entry_of(laboratory, run_id))["explanation"]


async def test_a_look_that_fails_is_followed_by_another(laboratory: Laboratory) -> None:
    await laboratory.run()
    run_id = await laboratory.run(gated(looks=2), SLOW)
    await look(laboratory, run_id, Conditions(failures={GEMM: ("device_error", "signal 11")}))
    assert (await laboratory.get(run_id)).state == JUDGING
    await look(laboratory, run_id, SLOW)
    run = await laboratory.get(run_id)
    assert (run.verdict, run.severity) == ("regressed", "critical")
    entry = await entry_of(laboratory, run_id)
    assert "look 2 gave nothing" in entry["explanation"]
    assert "signal 11" in entry["looks"][1]["reason"]


async def test_a_collector_that_dies_at_any_step_goes_on(laboratory: Laboratory) -> None:
    await laboratory.run()
    run_id = await laboratory.ask(gated(looks=2))
    await laboratory.measure(run_id, SLOW)

    async def dies(function: Any, /, *arguments: Any, **named: Any) -> Any:
        await at_once(function, *arguments, **named)
        raise SuddenDeathError

    async def half() -> None:
        """Everything up to the transaction that writes, and then again as a whole, twice at once."""
        with pytest.raises(SuddenDeathError):
            await judging.judge(
                judging.Judging(
                    database=laboratory.database,
                    offload=dies,
                    clock=laboratory.clock,
                    patience=laboratory.judging.patience,
                ),
                run_id,
            )
        await asyncio.gather(laboratory.judge(run_id), laboratory.judge(run_id))
        await laboratory.judge(run_id)

    await half()
    assert [look.number for look, _ in await looks_of(laboratory, run_id)] == [2]
    child = await laboratory.confirmation(run_id)
    assert child is not None
    await laboratory.measure(child.id, Conditions(failures={GEMM: ("device_error", "signal 11")}))
    await half()
    assert [look.number for look, _ in await looks_of(laboratory, run_id)] == [2, 3]
    child = await laboratory.confirmation(run_id)
    assert child is not None
    await laboratory.measure(child.id, SLOW)
    await half()
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict) == (FINISHED, "regressed")
    assert len(await laboratory.regressions()) == 1


async def test_cancelling_a_run_cancels_its_look(laboratory: Laboratory) -> None:
    await laboratory.run()
    run_id = await laboratory.run(gated(looks=2), SLOW)
    async with laboratory.database.transaction() as session:
        await runs.cancel(session, run_id, actor="tester", reason="enough", now=laboratory.clock.now)
    ((_, measuring),) = await looks_of(laboratory, run_id)
    assert (measuring.state, measuring.outcome) == (FINISHED, "cancelled")
    await laboratory.judge(run_id)
    run = await laboratory.get(run_id)
    assert (run.outcome, run.verdict) == ("cancelled", None)


async def test_what_only_looking_again_shows_becomes_a_regression(laboratory: Laboratory) -> None:
    await laboratory.run()
    run_id = await laboratory.run(gated(looks=3), Conditions(factors={GEMM: 1.15}, noise=80))
    assert await laboratory.regressions() == []
    while (await laboratory.get(run_id)).state == JUDGING:
        await look(laboratory, run_id, Conditions(factors={GEMM: 1.15}))
    run = await laboratory.get(run_id)
    assert (run.verdict, run.severity) == ("regressed", "critical")
    (regression,) = await laboratory.regressions()
    assert (regression.state, regression.run_id) == ("confirmed", run_id)


def two_arms(**gate: Any) -> Request:
    spec = RunSpec(
        suite="core", trials=5, device="simulated", include=(r"^gemm",), drill={"gemm": 1.03}, duet=DuetSpec()
    )
    return Request(gate=GateSpec(**gate), spec=spec)


async def test_two_arms_get_more_workers_until_they_tell(laboratory: Laboratory) -> None:
    restless = Conditions(noise=40)
    once = await laboratory.run(two_arms(), restless)
    assert (await laboratory.get(once)).verdict == "inconclusive"
    run_id = await laboratory.run(two_arms(looks=2), restless)
    run = await laboratory.get(run_id)
    assert (run.state, run.reason) == (JUDGING, "measuring 1 undecided result again")
    ((asked, measuring),) = await looks_of(laboratory, run_id)
    spec = RunSpec.from_json(measuring.spec)
    assert (asked.interleaved, spec.duet, spec.include) == (True, DuetSpec(), (r"^gemm\[n=512\]$",))
    assert asked.launches >= 5
    await look(laboratory, run_id, Conditions())
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict) == (FINISHED, "regressed")
    entry = await entry_of(laboratory, run_id)
    assert entry["head"]["launches"] == 5 + asked.launches
    assert "look 2 +3.0 % (node-1, in turns with the base)" in entry["explanation"]
    assert await laboratory.regressions() == []


async def test_two_arms_that_never_tell_say_that_looks_are_used_up(laboratory: Laboratory) -> None:
    restless = Conditions(noise=300)
    run_id = await laboratory.run(two_arms(looks=1), restless)
    await look(laboratory, run_id, restless)
    run = await laboratory.get(run_id)
    assert (run.state, run.verdict) == (FINISHED, "inconclusive")
    assert "1 further look did not settle it" in (await entry_of(laboratory, run_id))["explanation"]
