import asyncio

import pytest
from sqlalchemy import func, select
from support.laboratory import FINISHED, JUDGING, Conditions, Laboratory, Request, branch, drilled
from tesserabench.collector.core import runs
from tesserabench.collector.core.spec import GateSpec, Revision, RunSpec
from tesserabench.collector.store import comparisons
from tesserabench.collector.store.tables import Baseline, RegressionEvent

SLOW = Conditions(factors={"gemm[n=512]": 1.10})


async def head_of(laboratory: Laboratory, name: str = "branch:main") -> int | None:
    async with laboratory.database.transaction() as session:
        return await session.scalar(select(Baseline.run_id).where(Baseline.name == name))


async def content_of(laboratory: Laboratory, run_id: int) -> dict[str, object]:
    async with laboratory.database.transaction() as session:
        found = await comparisons.find(session, run_id)
        assert found is not None
        return found.content


async def test_the_first_run_is_inconclusive_and_becomes_the_baseline(laboratory: Laboratory) -> None:
    run_id = await laboratory.run()
    run = await laboratory.get(run_id)
    assert (run.state, run.outcome, run.verdict) == (FINISHED, "ok", "inconclusive")
    assert "nothing to compare with" in run.verdict_reason
    assert await head_of(laboratory) == run_id


async def test_an_unchanged_run_passes_and_moves_the_head(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run()
    run = await laboratory.get(second)
    assert (run.verdict, run.severity) == ("pass", None)
    assert "3 unchanged" in run.verdict_reason
    assert await head_of(laboratory) == second
    assert await laboratory.regressions() == []


async def test_a_regression_counts_once_it_has_been_measured_again(laboratory: Laboratory) -> None:
    first = await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    run = await laboratory.get(second)
    assert (run.state, run.verdict) == (JUDGING, None)
    assert "1 suspected" in run.reason
    (regression,) = await laboratory.regressions()
    assert (regression.state, regression.severity, regression.drill) == ("suspected", "critical", False)

    child = await laboratory.confirm(second, SLOW)
    run = await laboratory.get(second)
    assert (run.state, run.verdict, run.severity) == (FINISHED, "regressed", "critical")
    assert "gemm[n=512] time +10.0 % (critical)" in run.verdict_reason
    (regression,) = await laboratory.regressions()
    assert (regression.state, regression.run_id, regression.base_run_id) == ("confirmed", second, first)
    assert regression.confirming_run_id == child
    assert regression.change == pytest.approx(0.10, abs=0.001)
    assert regression.evidence["head"]["launches"] == 5
    assert await head_of(laboratory) == first


async def test_the_confirming_run_measures_the_suspected_cases_on_the_same_host(laboratory: Laboratory) -> None:
    await laboratory.run()
    request = Request(
        spec=RunSpec(suite="core", trials=5, exclude=("nothing",)),
        revision=Revision(branch="main", commit="abcdef1234"),
    )
    second = await laboratory.run(request, SLOW)
    child = await laboratory.confirmation(second)
    assert child is not None
    spec = RunSpec.from_json(child.spec)
    assert spec.include == (r"^gemm\[n=512\]$",)
    assert spec.exclude == ()
    assert (spec.selector.hosts, spec.selector.count, spec.trials) == (("node-1",), 1, 5)
    assert (child.trigger, child.priority, child.commit) == ("confirmation", 10, "abcdef1234")
    assert spec.seed != RunSpec.from_json((await laboratory.get(second)).spec).seed


async def test_what_is_not_seen_again_is_no_regression(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    await laboratory.confirm(second)
    run = await laboratory.get(second)
    assert (run.verdict, run.severity) == ("inconclusive", None)
    assert "not again" in run.verdict_reason
    (regression,) = await laboratory.regressions()
    assert regression.state == "resolved"
    content = await content_of(laboratory, second)
    entries = content["entries"]
    assert isinstance(entries, list)
    suspected = [entry for entry in entries if entry["case"]["id"] == "gemm[n=512]"]
    assert [entry["reason"] for entry in suspected] == ["VERDICT_REASON_NOT_REPRODUCED"] * 2


async def test_what_could_not_be_measured_again_stays_suspected(laboratory: Laboratory) -> None:
    first = await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    failing = Conditions(failures={"gemm[n=512]": ("device_error", "signal 11")})
    await laboratory.confirm(second, failing)
    run = await laboratory.get(second)
    assert run.verdict == "inconclusive"
    assert "signal 11" in run.verdict_reason
    assert [regression.state for regression in await laboratory.regressions()] == ["suspected"]
    assert await head_of(laboratory) == first


async def test_a_confirming_run_that_never_starts_is_waited_for_within_bounds(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    laboratory.clock.advance(601)
    await laboratory.judge(second)
    run = await laboratory.get(second)
    assert (run.state, run.verdict) == (FINISHED, "inconclusive")
    assert "was not measured within 600 s" in run.verdict_reason
    child = await laboratory.confirmation(second)
    assert child is not None
    assert (child.state, child.outcome) == (FINISHED, "cancelled")
    assert [regression.state for regression in await laboratory.regressions()] == ["suspected"]


async def test_a_gate_may_ask_for_no_second_measurement(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(Request(gate=GateSpec(confirm=False)), SLOW)
    assert (await laboratory.get(second)).verdict == "regressed"
    assert await laboratory.confirmation(second) is None
    (regression,) = await laboratory.regressions()
    assert (regression.state, regression.confirming_run_id) == ("confirmed", None)


async def test_a_known_regression_is_not_measured_again(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    await laboratory.confirm(second, SLOW)
    third = await laboratory.run(conditions=SLOW)
    assert (await laboratory.get(third)).verdict == "regressed"
    assert await laboratory.confirmation(third) is None
    assert len(await laboratory.regressions()) == 1


async def test_a_regression_ends_when_a_later_run_is_back_at_the_level(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    await laboratory.confirm(second, SLOW)
    third = await laboratory.run()
    assert (await laboratory.get(third)).verdict == "pass"
    (regression,) = await laboratory.regressions()
    assert regression.state == "fixed"
    async with laboratory.database.transaction() as session:
        comments = (await session.scalars(select(RegressionEvent.comment).order_by(RegressionEvent.id))).all()
    assert comments[-1].startswith(f"level returned in runs/{third}")
    for state in ("fixed", "verified"):
        await laboratory.run()
        assert [row.state for row in await laboratory.regressions()] == [state]


async def test_a_level_that_hovers_around_the_limit_has_one_finding_and_is_no_baseline(laboratory: Laboratory) -> None:
    first = await laboratory.run()
    slow = Conditions(factors={"gemm[n=512]": 1.03})
    await laboratory.confirm(await laboratory.run(conditions=slow), slow)
    for factor in (1.015, 1.03, 1.014, 1.03):
        await laboratory.run(conditions=Conditions(factors={"gemm[n=512]": factor}))
        assert [row.state for row in await laboratory.regressions()] == ["confirmed"]
        assert await head_of(laboratory) == first
    async with laboratory.database.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(RegressionEvent)) == 2
    await laboratory.run()
    assert [row.state for row in await laboratory.regressions()] == ["fixed"]


async def test_a_regression_that_comes_back_is_the_same_one(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    await laboratory.confirm(second, SLOW)
    await laboratory.run()
    laboratory.clock.advance(29 * 86400)
    again = await laboratory.run(conditions=SLOW)
    await laboratory.confirm(again, SLOW)
    (regression,) = await laboratory.regressions()
    assert regression.state == "confirmed"
    for _ in range(3):
        await laboratory.run()
    laboratory.clock.advance(31 * 86400)
    later = await laboratory.run(conditions=SLOW)
    await laboratory.confirm(later, SLOW)
    assert [regression.state for regression in await laboratory.regressions()] == ["verified", "confirmed"]


async def test_drills_are_judged_and_never_a_baseline(laboratory: Laboratory) -> None:
    first = await laboratory.run()
    second = await laboratory.run(drilled(gemm=1.10))
    await laboratory.confirm(second)
    assert (await laboratory.get(second)).verdict == "regressed"
    assert [regression.drill for regression in await laboratory.regressions()] == [True]
    harmless = await laboratory.run(drilled(copy=1.001))
    assert (await laboratory.get(harmless)).verdict == "pass"
    assert await head_of(laboratory) == first


async def test_a_drill_resolves_no_real_regression(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    await laboratory.confirm(second, SLOW)
    await laboratory.run(drilled(copy=1.001))
    assert [regression.state for regression in await laboratory.regressions()] == ["confirmed"]


async def test_a_branch_is_compared_with_its_base_and_keeps_its_own_findings(laboratory: Laboratory) -> None:
    base = await laboratory.run(branch("main"))
    change = await laboratory.run(branch("speedup"), SLOW)
    await laboratory.confirm(change, SLOW)
    run = await laboratory.get(change)
    assert run.verdict == "regressed"
    (regression,) = await laboratory.regressions()
    assert (regression.branch, regression.base_run_id) == ("speedup", base)
    await laboratory.run(branch("main"))
    assert [regression.state for regression in await laboratory.regressions()] == ["confirmed"]
    await laboratory.run(branch("speedup"))
    assert [regression.state for regression in await laboratory.regressions()] == ["fixed"]
    assert await head_of(laboratory, "branch:speedup") is not None


async def test_two_branches_with_the_same_fault_have_a_finding_each(laboratory: Laboratory) -> None:
    await laboratory.run(branch("main"))
    for name in ("one", "two"):
        await laboratory.confirm(await laboratory.run(branch(name), SLOW), SLOW)
    found = await laboratory.regressions()
    assert [(regression.branch, regression.state) for regression in found] == [
        ("one", "confirmed"),
        ("two", "confirmed"),
    ]


async def test_a_named_reference_is_what_a_gate_compares_with(laboratory: Laboratory) -> None:
    slow = await laboratory.run(branch("main"), Conditions(level=2e6))
    await laboratory.run(branch("main"))
    run_id = await laboratory.run(Request(gate=GateSpec(baseline=f"run:{slow}")))
    run = await laboratory.get(run_id)
    assert run.verdict == "improved"


async def test_a_reference_that_is_not_there_is_told(laboratory: Laboratory) -> None:
    await laboratory.run(branch("main"))
    run_id = await laboratory.run(Request(gate=GateSpec(baseline="baseline:relase")))
    run = await laboratory.get(run_id)
    assert run.verdict == "inconclusive"
    assert "'baseline:relase' names nothing measured" in run.verdict_reason


async def test_failing_cases_are_inconclusive_and_no_baseline(laboratory: Laboratory) -> None:
    first = await laboratory.run()
    failing = Conditions(failures={"gemm[n=512]": ("incorrect", "error 3 over the limit 0.001")})
    second = await laboratory.run(conditions=failing)
    run = await laboratory.get(second)
    assert (run.outcome, run.verdict) == ("ok", "inconclusive")
    assert "error 3 over the limit" in run.verdict_reason
    assert await head_of(laboratory) == first


async def test_a_run_that_broke_off_is_judged_by_what_it_has_and_no_baseline(laboratory: Laboratory) -> None:
    first = await laboratory.run()
    cut = Conditions(cases=("copy[n=1]",), outcome="timeout", reason="took longer than 60 s")
    second = await laboratory.run(conditions=cut)
    run = await laboratory.get(second)
    assert (run.outcome, run.reason, run.verdict) == ("timeout", "took longer than 60 s", "pass")
    assert "2 of the base were not measured" in run.verdict_reason
    assert await head_of(laboratory) == first


async def test_another_environment_is_neither_regressed_nor_passed(laboratory: Laboratory) -> None:
    await laboratory.run()
    moved = Conditions(level=2e6, comparability="class-b")
    second = await laboratory.run(conditions=moved)
    run = await laboratory.get(second)
    assert run.verdict == "inconclusive"
    assert "driver class-a against class-b" in run.verdict_reason
    assert await laboratory.regressions() == []
    third = await laboratory.run(conditions=moved)
    assert (await laboratory.get(third)).verdict == "pass"


async def test_a_run_is_compared_with_one_of_its_own_host(laboratory: Laboratory) -> None:
    await laboratory.host("node-2")
    await laboratory.run()
    await laboratory.run(conditions=Conditions(host="node-2", level=2e6))
    third = await laboratory.run()
    assert (await laboratory.get(third)).verdict == "pass"


async def test_a_partial_run_is_judged_and_does_not_replace_a_whole_one(laboratory: Laboratory) -> None:
    first = await laboratory.run()
    spec = RunSpec(suite="core", trials=5, include=("copy",))
    second = await laboratory.run(Request(spec=spec))
    run = await laboratory.get(second)
    assert run.verdict == "pass"
    assert "not measured" not in run.verdict_reason
    assert await head_of(laboratory) == first


async def test_a_removed_case_is_named_and_the_head_moves_on(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=Conditions(cases=("copy[n=1]", "gemm[n=512]")))
    run = await laboratory.get(second)
    assert "1 of the base was not measured" in run.verdict_reason
    assert await head_of(laboratory) == second


async def test_what_is_likely_worse_is_no_baseline_though_nothing_was_decided(laboratory: Laboratory) -> None:
    first = await laboratory.run(conditions=Conditions(noise=45))
    again = await laboratory.run(conditions=Conditions(noise=45))
    assert await head_of(laboratory) == again > first
    second = await laboratory.run(conditions=Conditions(noise=45, factors={"gemm[n=512]": 1.08}))
    run = await laboratory.get(second)
    assert run.verdict == "inconclusive", run.verdict_reason
    assert await head_of(laboratory) == again


async def test_a_quick_look_does_not_replace_a_thorough_baseline(laboratory: Laboratory) -> None:
    first = await laboratory.run()
    await laboratory.run(Request(spec=RunSpec(suite="core", trials=1)))
    assert await head_of(laboratory) == first


async def test_looking_twice_changes_nothing(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    await laboratory.judge(second)
    await laboratory.confirm(second, SLOW)
    before = await laboratory.get(second)
    await laboratory.judge(second)
    after = await laboratory.get(second)
    assert (before.revision_number, before.verdict) == (after.revision_number, after.verdict)
    async with laboratory.database.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(RegressionEvent)) == 2


async def test_two_replicas_that_judge_the_same_run_do_it_once(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.ask()
    await laboratory.measure(second, SLOW)
    await asyncio.gather(*(laboratory.judge(second) for _ in range(4)))
    assert len(await laboratory.regressions()) == 1
    child = await laboratory.confirmation(second)
    assert child is not None
    await laboratory.measure(child.id, SLOW)
    await asyncio.gather(*(laboratory.judge(second) for _ in range(4)))
    async with laboratory.database.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(RegressionEvent)) == 2


async def test_two_runs_that_regress_at_the_same_time_share_the_finding(laboratory: Laboratory) -> None:
    await laboratory.run()
    ids = [await laboratory.ask() for _ in range(2)]
    for run_id in ids:
        await laboratory.measure(run_id, SLOW)
    await asyncio.gather(*(laboratory.judge(run_id) for run_id in ids))
    assert [regression.state for regression in await laboratory.regressions()] == ["suspected"]
    for run_id in ids:
        await laboratory.confirm(run_id, SLOW)
    assert [(await laboratory.get(run_id)).verdict for run_id in ids] == ["regressed", "regressed"]
    assert [regression.state for regression in await laboratory.regressions()] == ["confirmed"]


async def test_what_one_run_cannot_show_again_another_one_may(laboratory: Laboratory) -> None:
    await laboratory.run()
    first, second = await laboratory.run(conditions=SLOW), await laboratory.run(conditions=SLOW)
    await laboratory.confirm(first)
    assert [row.state for row in await laboratory.regressions()] == ["resolved"]
    await laboratory.confirm(second, SLOW)
    assert (await laboratory.get(second)).verdict == "regressed"
    assert [row.state for row in await laboratory.regressions()] == ["confirmed"]


async def test_a_cancelled_run_is_judged_no_further(laboratory: Laboratory) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    async with laboratory.database.transaction() as session:
        await runs.cancel(session, second, actor="tester", reason="", now=laboratory.clock.now)
    await laboratory.judge(second)
    run = await laboratory.get(second)
    assert (run.outcome, run.verdict) == ("cancelled", None)
    # Nobody measures its suspicion again: a later run at the old level ends it.
    assert [row.state for row in await laboratory.regressions()] == ["suspected"]
    await laboratory.run()
    assert [row.state for row in await laboratory.regressions()] == ["resolved"]


async def test_history_of_a_restless_series_asks_for_more_than_its_launches_show(laboratory: Laboratory) -> None:
    levels = [0.992e6, 1.008e6] * 5
    for level in levels:
        await laboratory.run(conditions=Conditions(level=level))
    assert await head_of(laboratory) == len(levels)
    run_id = await laboratory.run(conditions=Conditions(level=1.06e6))
    run = await laboratory.get(run_id)
    assert run.verdict == "inconclusive"
    assert "Cannot be told" in run.verdict_reason
