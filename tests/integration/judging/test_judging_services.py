import re
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from sqlalchemy import select, update
from support.judging_services import Stubs
from support.laboratory import CASES, Conditions, Laboratory, Request, branch, drilled
from support.statuses import reason_of
from tesserabench.collector.core.spec import Revision, RunSpec
from tesserabench.collector.store.tables import Audit, CaseResult, Measurement
from tesserabench.v1 import (
    baseline_service_pb2,
    comparison_pb2,
    measurement_pb2,
    regression_service_pb2,
    result_service_pb2,
    run_pb2,
)
from tesserabench.wire.reasons import Reason

SLOW = Conditions(factors={"gemm[n=512]": 1.10})
MAIN = "projects/default/baselines/branch:main"


async def refused(call: Awaitable[Any], code: grpc.StatusCode, reason: Reason, says: str) -> None:
    """The call fails with this code and reason, and its sentence matches."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert (caught.value.code(), reason_of(caught.value)) == (code, reason)
    assert re.search(says, caught.value.details() or ""), caught.value.details()


async def confirmed(laboratory: Laboratory) -> int:
    """A confirmed regression's run."""
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    await laboratory.confirm(second, SLOW)
    return second


async def test_results_are_listed_page_by_page(laboratory: Laboratory, stubs: Stubs) -> None:
    run_id = await laboratory.run()
    seen: list[tuple[str, int]] = []
    token = ""
    while True:
        request = result_service_pb2.ListResultsRequest(run=f"runs/{run_id}", page_size=4, page_token=token)
        page = await stubs.results.ListResults(request)
        assert len(page.results) <= 4
        seen += [(result.result.case.id, result.trial) for result in page.results]
        token = page.next_page_token
        if not token:
            break
    assert seen == [(case, trial) for case in CASES for trial in range(5)]


async def test_a_result_says_all_that_was_measured(laboratory: Laboratory, stubs: Stubs) -> None:
    run_id = await laboratory.run()
    request = result_service_pb2.ListResultsRequest(run=f"runs/{run_id}", case_pattern="^gemm", with_samples=True)
    page = await stubs.results.ListResults(request)
    assert len(page.results) == 5
    result = page.results[0]
    assert (result.host, result.device_uuid, result.device_model) == ("node-1", "uuid-node-1", "Simulated 1")
    assert (result.epoch, result.late, result.comparability) == (1, False, "class-a")
    assert result.result.mode == measurement_pb2.TIMING_MODE_COLD
    assert result.result.outcome == measurement_pb2.OUTCOME_OK
    assert (result.result.case.benchmark, result.result.case.parameters["n"], result.result.order) == ("gemm", "1", 1)
    time, rate = result.result.measurements
    assert (time.metric, time.unit, time.better, time.primary) == ("time", "ns", measurement_pb2.BETTER_LOWER, True)
    assert time.value == pytest.approx(1e6, rel=1e-3)
    assert (time.statistics.count, len(time.samples.values)) == (30, 30)
    assert time.statistics.q1 < time.statistics.median < time.statistics.q3
    assert not time.statistics.HasField("p99")
    assert all(value == round(value) for value in time.samples.values)
    assert not rate.HasField("statistics")
    assert not rate.HasField("samples")


async def test_samples_come_only_when_asked_for(laboratory: Laboratory, stubs: Stubs) -> None:
    run_id = await laboratory.run()
    page = await stubs.results.ListResults(result_service_pb2.ListResultsRequest(run=f"runs/{run_id}"))
    assert not any(
        measurement.HasField("samples") for result in page.results for measurement in result.result.measurements
    )


async def test_a_page_with_many_samples_is_cut_to_what_a_message_may_hold(laboratory: Laboratory, stubs: Stubs) -> None:
    run_id = await laboratory.run()
    many = b"\x00" * 8 * 400_000
    async with laboratory.database.transaction() as session:
        sampled = Measurement.samples.is_not(None)
        await session.execute(update(Measurement).where(sampled).values(samples=many))
    request = result_service_pb2.ListResultsRequest(run=f"runs/{run_id}", with_samples=True)
    page = await stubs.results.ListResults(request)
    assert 0 < len(page.results) < 15
    assert page.next_page_token
    request.page_token = page.next_page_token
    again = await stubs.results.ListResults(request)
    first, last = again.results[0], page.results[-1]
    assert (first.result.case.id, first.trial) > (last.result.case.id, last.trial)


async def test_late_results_are_listed_and_marked(laboratory: Laboratory, stubs: Stubs) -> None:
    run_id = await laboratory.run()
    async with laboratory.database.transaction() as session:
        await session.execute(update(CaseResult).values(late=True))
    page = await stubs.results.ListResults(result_service_pb2.ListResultsRequest(run=f"runs/{run_id}"))
    assert all(result.late for result in page.results)


async def test_wrong_questions_about_results_are_answered_clearly(laboratory: Laboratory, stubs: Stubs) -> None:
    run_id = await laboratory.run()
    ask = stubs.results.ListResults
    await refused(
        ask(result_service_pb2.ListResultsRequest(run="runs/99")),
        grpc.StatusCode.NOT_FOUND,
        Reason.RUN_NOT_FOUND,
        "runs/99 does not exist",
    )
    await refused(
        ask(result_service_pb2.ListResultsRequest(run=f"runs/{run_id}", case_pattern="gemm[")),
        grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_FIELD,
        r"case_pattern: 'gemm\[': not a regular expression",
    )
    await refused(
        ask(result_service_pb2.ListResultsRequest(run=f"runs/{run_id}", page_token="nonsense")),
        grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_PAGE_TOKEN,
        "page_token",
    )


async def test_two_references_are_compared(laboratory: Laboratory, stubs: Stubs) -> None:
    old, new = "aaaa1111", "bbbb2222"
    first = await laboratory.run(Request(revision=Revision(branch="main", commit=old)))
    second = await laboratory.run(Request(revision=Revision(branch="speedup", commit=new)), Conditions(level=0.8e6))
    run = f"run:{first}"
    for base, head in ((run, f"run:{second}"), (old, new), ("commit:aaaa", "branch:speedup"), ("main", "speedup")):
        request = result_service_pb2.CompareRequest(base=base, head=head)
        comparison = await stubs.results.Compare(request)
        assert comparison.verdict == run_pb2.VERDICT_IMPROVED, (base, head)
        assert comparison.entries[0].base.run == f"runs/{first}"
        assert comparison.entries[0].head.run == f"runs/{second}"
        assert comparison.entries[0].change == pytest.approx(-0.2, abs=0.001)
    assert comparison.head == f"speedup (runs/{second})"


async def test_a_reference_that_is_not_there_names_its_neighbours(laboratory: Laboratory, stubs: Stubs) -> None:
    await laboratory.run(branch("release-2024"))
    request = result_service_pb2.CompareRequest(base="branch:relaese-2024", head="run:1")
    says = "nearest names are .*release-2024"
    await refused(stubs.results.Compare(request), grpc.StatusCode.NOT_FOUND, Reason.REFERENCE_NOT_FOUND, says)
    request = result_service_pb2.CompareRequest(base="run:1", head="run:1", project="elsewhere")
    says = "project 'elsewhere' has measured nothing"
    await refused(stubs.results.Compare(request), grpc.StatusCode.NOT_FOUND, Reason.REFERENCE_NOT_FOUND, says)


async def test_an_ambiguous_commit_is_told(laboratory: Laboratory, stubs: Stubs) -> None:
    for commit in ("abcd1111", "abcd2222"):
        await laboratory.run(Request(revision=Revision(branch="main", commit=commit)))
    request = result_service_pb2.CompareRequest(base="commit:abcd", head="run:1")
    says = "begins several commits"
    await refused(stubs.results.Compare(request), grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, says)


async def test_a_run_without_results_cannot_be_compared_yet(laboratory: Laboratory, stubs: Stubs) -> None:
    await laboratory.run()
    waiting = await laboratory.ask()
    request = result_service_pb2.CompareRequest(base="run:1", head=f"run:{waiting}")
    says = "is queued and has no results"
    await refused(stubs.results.Compare(request), grpc.StatusCode.FAILED_PRECONDITION, Reason.RUN_PENDING, says)


async def test_the_comparison_of_a_verdict_is_kept(laboratory: Laboratory, stubs: Stubs) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    request = result_service_pb2.GetRunComparisonRequest(run=f"runs/{second}")
    says = f"runs/{second} is judging"
    await refused(
        stubs.results.GetRunComparison(request), grpc.StatusCode.FAILED_PRECONDITION, Reason.RUN_PENDING, says
    )
    child = await laboratory.confirm(second, SLOW)
    comparison = await stubs.results.GetRunComparison(request)
    worst = comparison.entries[0]
    assert (worst.case.id, worst.metric, worst.regression) == ("gemm[n=512]", "time", "regressions/1")
    assert (comparison.verdict, comparison.severity) == (run_pb2.VERDICT_REGRESSED, run_pb2.SEVERITY_CRITICAL)
    assert comparison.base == "branch:main (runs/1)"
    says = "never judged: it confirms another run"
    request = result_service_pb2.GetRunComparisonRequest(run=f"runs/{child}")
    await refused(
        stubs.results.GetRunComparison(request), grpc.StatusCode.FAILED_PRECONDITION, Reason.RUN_FINISHED, says
    )


async def test_an_unconfirmed_suspicion_says_why(laboratory: Laboratory, stubs: Stubs) -> None:
    await laboratory.run()
    second = await laboratory.run(conditions=SLOW)
    laboratory.clock.advance(601)
    await laboratory.judge(second)
    comparison = await stubs.results.GetRunComparison(result_service_pb2.GetRunComparisonRequest(run=f"runs/{second}"))
    suspected = [entry for entry in comparison.entries if entry.regression]
    assert [entry.reason for entry in suspected] == [comparison_pb2.VERDICT_REASON_NOT_CONFIRMED]


async def test_a_regression_goes_through_peoples_hands(laboratory: Laboratory, stubs: Stubs) -> None:
    second = await confirmed(laboratory)
    name = "regressions/1"
    found = await stubs.regressions.GetRegression(regression_service_pb2.GetRegressionRequest(name=name))
    assert found.state == regression_service_pb2.REGRESSION_STATE_CONFIRMED
    assert (found.project, found.run, found.evidence.metric) == ("default", f"runs/{second}", "time")
    assert [event.state for event in found.events] == [
        regression_service_pb2.REGRESSION_STATE_SUSPECTED,
        regression_service_pb2.REGRESSION_STATE_CONFIRMED,
    ]
    assert {event.actor.name for event in found.events} == {"detector"}

    request = regression_service_pb2.AcknowledgeRegressionRequest(name=name, comment="mine", owner="ada")
    acknowledged = await stubs.regressions.AcknowledgeRegression(request)
    assert acknowledged.state == regression_service_pb2.REGRESSION_STATE_ACKNOWLEDGED
    assert (acknowledged.owner, acknowledged.events[-1].comment) == ("ada", "mine")
    assert acknowledged.events[-1].actor.name == "anonymous"

    resolve = regression_service_pb2.ResolveRegressionRequest(name=name, comment="fixed")
    resolved = await stubs.regressions.ResolveRegression(resolve)
    assert resolved.state == regression_service_pb2.REGRESSION_STATE_FIXED
    closed = r"regressions/1 is open \(fixed\) and cannot be called fixed now; possible: tbctl regression accept 1"
    await refused(
        stubs.regressions.ResolveRegression(resolve),
        grpc.StatusCode.FAILED_PRECONDITION,
        Reason.REGRESSION_OPEN,
        closed,
    )
    reopen = regression_service_pb2.ReopenRegressionRequest(name=name, comment="not yet")
    reopened = await stubs.regressions.ReopenRegression(reopen)
    assert reopened.state == regression_service_pb2.REGRESSION_STATE_CONFIRMED
    await refused(
        stubs.regressions.ReopenRegression(reopen),
        grpc.StatusCode.FAILED_PRECONDITION,
        Reason.REGRESSION_OPEN,
        r"regressions/1 is open \(confirmed\) and cannot be reopened now; possible: tbctl regression ack 1",
    )
    ignore = regression_service_pb2.IgnoreRegressionRequest(name=name, comment="a known driver fault")
    ignored = await stubs.regressions.IgnoreRegression(ignore)
    assert ignored.state == regression_service_pb2.REGRESSION_STATE_IGNORED
    async with laboratory.database.transaction() as session:
        actions = (await session.scalars(select(Audit.action).where(Audit.resource == name).order_by(Audit.id))).all()
    assert actions == [
        "regression.acknowledged",
        "regression.fixed",
        "regression.reopened",
        "regression.ignored",
    ]


async def test_ignoring_needs_a_reason(laboratory: Laboratory, stubs: Stubs) -> None:
    await confirmed(laboratory)
    request = regression_service_pb2.IgnoreRegressionRequest(name="regressions/1", comment=" ")
    await refused(
        stubs.regressions.IgnoreRegression(request),
        grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_FIELD,
        "comment: '': say why",
    )


async def test_an_ignored_regression_fails_no_gate_until_it_gets_worse(laboratory: Laboratory, stubs: Stubs) -> None:
    minor = Conditions(factors={"gemm[n=512]": 1.04})
    await laboratory.run()
    second = await laboratory.run(conditions=minor)
    await laboratory.confirm(second, minor)
    request = regression_service_pb2.IgnoreRegressionRequest(name="regressions/1", comment="a known driver fault")
    await stubs.regressions.IgnoreRegression(request)
    third = await laboratory.run(drilled(gemm=1.0001), minor)
    assert (await laboratory.get(third)).drill
    fourth = await laboratory.run(branch("main"), minor)
    assert (await laboratory.get(fourth)).verdict == "pass"
    comparison = await stubs.results.GetRunComparison(result_service_pb2.GetRunComparisonRequest(run=f"runs/{fourth}"))
    (entry,) = [entry for entry in comparison.entries if entry.regression]
    assert "ignored as regressions/1" in entry.explanation
    # The level of the ignored regression is the normal one from now on; twice as much is news again.
    worse = Conditions(factors={"gemm[n=512]": 1.04 * 1.12})
    fifth = await laboratory.run(branch("main"), worse)
    await laboratory.confirm(fifth, worse)
    assert (await laboratory.get(fifth)).verdict == "regressed"
    assert [row.state for row in await laboratory.regressions() if not row.drill] == ["ignored", "confirmed"]


async def test_regressions_are_listed_worst_first_page_by_page(laboratory: Laboratory, stubs: Stubs) -> None:
    await laboratory.run()
    slow = Conditions(factors={"copy[n=1]": 1.04, "gemm[n=512]": 1.2, "reduce[n=1]": 1.07})
    second = await laboratory.run(conditions=slow)
    await laboratory.confirm(second, slow)
    names: list[tuple[str, str]] = []
    token = ""
    while True:
        request = regression_service_pb2.ListRegressionsRequest(page_size=1, page_token=token)
        page = await stubs.regressions.ListRegressions(request)
        for found in page.regressions:
            names.append((run_pb2.Severity.Name(found.severity), found.evidence.case.benchmark))
            assert not found.events
        token = page.next_page_token
        if not token:
            break
    assert names == [("SEVERITY_CRITICAL", "gemm"), ("SEVERITY_MAJOR", "reduce"), ("SEVERITY_MINOR", "copy")]


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 1),
        ({"project": "default"}, 1),
        ({"project": "other"}, 0),
        ({"suite": "core"}, 1),
        ({"suite": "memory"}, 0),
        ({"min_severity": run_pb2.SEVERITY_CRITICAL}, 1),
        ({"run": "runs/2"}, 1),
        ({"run": "runs/3"}, 1),
        ({"run": "runs/1"}, 0),
        ({"states": [regression_service_pb2.REGRESSION_STATE_SUSPECTED]}, 0),
        ({"states": [regression_service_pb2.REGRESSION_STATE_CONFIRMED]}, 1),
    ],
)
async def test_regressions_are_filtered(
    laboratory: Laboratory, stubs: Stubs, fields: dict[str, Any], count: int
) -> None:
    await confirmed(laboratory)
    page = await stubs.regressions.ListRegressions(regression_service_pb2.ListRegressionsRequest(**fields))
    assert len(page.regressions) == count


async def test_a_regression_that_is_not_there(laboratory: Laboratory, stubs: Stubs) -> None:
    request = regression_service_pb2.GetRegressionRequest(name="regressions/4")
    says = "regressions/4 does not exist"
    await refused(
        stubs.regressions.GetRegression(request), grpc.StatusCode.NOT_FOUND, Reason.REGRESSION_NOT_FOUND, says
    )


async def test_baselines_are_set_pinned_and_moved(laboratory: Laboratory, stubs: Stubs) -> None:
    first = await laboratory.run()
    name = "projects/default/baselines/release-1"
    request = baseline_service_pb2.SetBaselineRequest(name=name, run=f"runs/{first}", comment="the first", pin=True)
    made = await stubs.baselines.SetBaseline(request)
    assert (made.name, made.suite, made.run, made.pinned, made.automatic) == (
        name,
        "core",
        f"runs/{first}",
        True,
        False,
    )
    assert (made.comment, made.updated_by.name) == ("the first", "anonymous")
    second = await laboratory.run()
    request = baseline_service_pb2.SetBaselineRequest(name=name, run=f"runs/{second}")
    says = f"is pinned to runs/{first}; unpin it first"
    await refused(
        stubs.baselines.SetBaseline(request), grpc.StatusCode.FAILED_PRECONDITION, Reason.BASELINE_PINNED, says
    )
    await stubs.baselines.UnpinBaseline(baseline_service_pb2.UnpinBaselineRequest(name=name))
    moved = await stubs.baselines.SetBaseline(request)
    assert (moved.run, moved.pinned, moved.comment) == (f"runs/{second}", False, "the first")
    page = await stubs.baselines.ListBaselines(baseline_service_pb2.ListBaselinesRequest(page_size=1))
    assert [found.name for found in page.baselines] == [MAIN]
    assert page.baselines[0].automatic
    rest = await stubs.baselines.ListBaselines(
        baseline_service_pb2.ListBaselinesRequest(page_size=1, page_token=page.next_page_token)
    )
    assert ([found.name for found in rest.baselines], rest.next_page_token) == ([name], "")
    async with laboratory.database.transaction() as session:
        actions = (await session.scalars(select(Audit.action).where(Audit.resource == name).order_by(Audit.id))).all()
    assert actions == ["baseline.set", "baseline.unpinned", "baseline.set"]


async def test_a_pinned_head_is_left_where_it_is(laboratory: Laboratory, stubs: Stubs) -> None:
    first = await laboratory.run()
    await stubs.baselines.PinBaseline(baseline_service_pb2.PinBaselineRequest(name=MAIN, comment="for the audit"))
    await laboratory.run()
    found = await stubs.baselines.GetBaseline(baseline_service_pb2.GetBaselineRequest(name=MAIN))
    assert (found.run, found.pinned) == (f"runs/{first}", True)


async def test_a_head_moved_by_hand_accepts_the_new_level(laboratory: Laboratory, stubs: Stubs) -> None:
    second = await confirmed(laboratory)
    await stubs.baselines.SetBaseline(baseline_service_pb2.SetBaselineRequest(name=MAIN, run=f"runs/{second}"))
    later = await laboratory.run(conditions=SLOW)
    assert (await laboratory.get(later)).verdict == "pass"
    assert [row.state for row in await laboratory.regressions()] == ["accepted"]


async def test_only_worthy_runs_become_baselines(laboratory: Laboratory, stubs: Stubs) -> None:
    async def attempt_to_set(run_id: int, code: grpc.StatusCode, reason: Reason, says: str) -> None:
        request = baseline_service_pb2.SetBaselineRequest(name=MAIN, run=f"runs/{run_id}")
        await refused(stubs.baselines.SetBaseline(request), code, reason, says)

    await laboratory.run()
    broken = await laboratory.run(conditions=Conditions(outcome="timeout", reason="too long"))
    drill = await laboratory.run(drilled(copy=1.001))
    waiting = await laboratory.ask()
    await attempt_to_set(waiting, grpc.StatusCode.FAILED_PRECONDITION, Reason.RUN_PENDING, "is queued")
    await attempt_to_set(broken, grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, "ended with timeout")
    await attempt_to_set(drill, grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, "slowed on purpose")
    await attempt_to_set(99, grpc.StatusCode.NOT_FOUND, Reason.RUN_NOT_FOUND, "runs/99 does not exist")


async def test_a_baseline_that_is_not_there(laboratory: Laboratory, stubs: Stubs) -> None:
    await laboratory.run(Request(spec=RunSpec(suite="core", trials=5)))
    name = "projects/default/baselines/nothing"
    for call in (
        stubs.baselines.GetBaseline(baseline_service_pb2.GetBaselineRequest(name=name)),
        stubs.baselines.PinBaseline(baseline_service_pb2.PinBaselineRequest(name=MAIN, suite="other")),
        stubs.baselines.UnpinBaseline(baseline_service_pb2.UnpinBaselineRequest(name="projects/none/baselines/x")),
    ):
        await refused(call, grpc.StatusCode.NOT_FOUND, Reason.BASELINE_NOT_FOUND, "does not exist|no baselines yet")
