"""What people do about findings, through the service: every answer, who may give it when, and what it leaves behind."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select
from support.judging_services import Stubs
from support.laboratory import Conditions, Laboratory, branch
from support.statuses import reason_of
from tesserabench.collector.core import regressions
from tesserabench.collector.core.regressions import NewFinding, Subject
from tesserabench.collector.store import projects
from tesserabench.collector.store.history_tables import AcceptedLevel
from tesserabench.collector.store.tables import Audit, Comparison, Regression, RegressionMember, Series
from tesserabench.collector.store.words import FindingKind, Severity
from tesserabench.v1 import regression_service_pb2 as pb
from tesserabench.v1.baseline_service_pb2 import PinBaselineRequest
from tesserabench.wire.reasons import Reason

ONE = "regressions/1"
SLOW = Conditions(factors={"gemm[n=512]": 1.10})


async def refused(call: Awaitable[object], code: grpc.StatusCode, reason: Reason, says: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert (caught.value.code(), reason_of(caught.value)) == (code, reason)
    assert says in (caught.value.details() or "")


async def confirmed(laboratory: Laboratory) -> int:
    await laboratory.run(branch("main"))
    second = await laboratory.run(branch("main"), SLOW)
    await laboratory.confirm(second, SLOW)
    return second


def slow_device(laboratory: Laboratory, severity: Severity = Severity.MAJOR) -> NewFinding:
    del laboratory
    return NewFinding(
        subject=Subject(project_id=1, kind=FindingKind.SLOW_DEVICE, id="devices/GPU-1"),
        summary="GPU-1 is 8 % slower than its siblings.",
        severity=severity,
        change=0.08,
        device_key="Model 1",
    )


async def opened(laboratory: Laboratory, severity: Severity = Severity.MAJOR) -> Regression:
    async with laboratory.database.transaction() as session:
        return await regressions.open_finding(session, slow_device(laboratory, severity), now=laboratory.clock())


async def closed(laboratory: Laboratory) -> Regression | None:
    async with laboratory.database.transaction() as session:
        subject = slow_device(laboratory).subject
        return await regressions.close_finding(session, subject, comment="as fast as others", now=laboratory.clock())


ANSWERS = {
    pb.RESOLUTION_UNSPECIFIED: (pb.REGRESSION_STATE_FIXED, True),
    pb.RESOLUTION_FIXED: (pb.REGRESSION_STATE_FIXED, True),
    pb.RESOLUTION_WONT_FIX: (pb.REGRESSION_STATE_WONT_FIX, True),
    pb.RESOLUTION_FALSE_POSITIVE: (pb.REGRESSION_STATE_FALSE_POSITIVE, False),
    pb.RESOLUTION_INFRASTRUCTURE: (pb.REGRESSION_STATE_INFRASTRUCTURE, None),
}


async def test_every_answer_has_a_state_and_counts_for_the_detector(laboratory: Laboratory, stubs: Stubs) -> None:
    async with laboratory.database.transaction() as session:
        await projects.get_or_create(session, "default")
    await opened(laboratory)
    for resolution, (state, right) in ANSWERS.items():
        request = pb.ResolveRegressionRequest(name=ONE, comment="so it is", resolution=resolution)
        after = await stubs.regressions.ResolveRegression(request)
        assert after.state == state
        assert (after.feedback if after.HasField("feedback") else None) is right
        assert after.HasField("triage_time")
        open_again = await stubs.regressions.ReopenRegression(pb.ReopenRegressionRequest(name=ONE))
        assert not open_again.HasField("feedback"), "the answer was taken back"


async def test_what_somebody_said_of_the_detector_stays_and_counts_once(laboratory: Laboratory, stubs: Stubs) -> None:
    both = Conditions(factors={"gemm[n=512]": 1.10, "copy[n=1]": 1.10})
    await laboratory.run(branch("main"))
    await laboratory.confirm(await laboratory.run(branch("main"), both), both)
    calls = stubs.regressions
    # An answer marks the detector, a later one marks it anew, and what is said in so many words goes before both.
    fixed = await calls.ResolveRegression(pb.ResolveRegressionRequest(name=ONE))
    assert fixed.feedback is True
    asked = pb.ResolveRegressionRequest(name=ONE, resolution=pb.RESOLUTION_INFRASTRUCTURE, comment="its fan")
    assert not (await calls.ResolveRegression(asked)).HasField("feedback")
    await calls.ReopenRegression(pb.ReopenRegressionRequest(name=ONE))
    second = "regressions/2"
    await calls.GiveRegressionFeedback(pb.GiveRegressionFeedbackRequest(name=second, right=True, comment="bisected"))
    asked = pb.ResolveRegressionRequest(name=second, resolution=pb.RESOLUTION_FALSE_POSITIVE)
    after = await calls.ResolveRegression(asked)
    assert (after.feedback, after.state) == (True, pb.REGRESSION_STATE_FALSE_POSITIVE)
    assert after.events[-1].comment.startswith("the detector was right, as anonymous said")
    await calls.ReopenRegression(pb.ReopenRegressionRequest(name=second))
    # Of one cause the mark counts once, and goes with what it was said of.
    asked = pb.ResolveRegressionRequest(name=second, resolution=pb.RESOLUTION_DUPLICATE, duplicate_of=ONE)
    await calls.ResolveRegression(asked)
    assert (await calls.GetRegression(pb.GetRegressionRequest(name=ONE))).feedback is True
    (row,) = (await calls.GetDetectorScore(pb.GetDetectorScoreRequest())).rows
    assert (row.findings, row.right, row.wrong) == (2, 1, 0)


async def test_what_people_write_is_one_line_of_a_length_that_can_be_read(laboratory: Laboratory, stubs: Stubs) -> None:
    await confirmed(laboratory)
    calls = stubs.regressions
    hostile = "red \x1b[31malert\x1b[0m\r\nsecond line\t\u202etxet\u2028end"
    after = await calls.CommentRegression(pb.CommentRegressionRequest(name=ONE, comment=hostile))
    assert after.events[-1].comment == "red [31malert [0m second line txet end"
    assigned = await calls.AssignRegression(pb.AssignRegressionRequest(name=ONE, owner=" ann\x07 lee "))
    assert assigned.owner == "ann lee"
    asked = calls.CommentRegression(pb.CommentRegressionRequest(name=ONE, comment="x" * 10_000))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked
    said = caught.value.details() or ""
    assert (caught.value.code(), len(said) < 300) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    assert said.endswith("has 10000 characters; give at most 1000")
    nothing = calls.CommentRegression(pb.CommentRegressionRequest(name=ONE, comment=" \x1b\n "))
    await refused(nothing, grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, "say something")


async def test_people_steer_a_finding_through_its_life(laboratory: Laboratory, stubs: Stubs) -> None:
    run = await confirmed(laboratory)
    calls = stubs.regressions
    laboratory.clock.advance(3600)
    assigned = await calls.AssignRegression(pb.AssignRegressionRequest(name=ONE, owner="ann"))
    assert (assigned.state, assigned.owner) == (pb.REGRESSION_STATE_ASSIGNED, "ann")
    commented = await calls.CommentRegression(pb.CommentRegressionRequest(name=ONE, comment="on the B200 too"))
    assert (commented.state, commented.events[-1].comment) == (pb.REGRESSION_STATE_ASSIGNED, "on the B200 too")
    marked = await calls.GiveRegressionFeedback(pb.GiveRegressionFeedbackRequest(name=ONE, right=False))
    assert (marked.feedback, marked.feedback_by) == (False, "anonymous")
    until = Timestamp()
    until.FromDatetime(laboratory.clock() + timedelta(days=14))
    ignored = await calls.IgnoreRegression(pb.IgnoreRegressionRequest(name=ONE, comment="later", until=until))
    assert (ignored.state, ignored.ignore_until) == (pb.REGRESSION_STATE_IGNORED, until)
    await calls.ReopenRegression(pb.ReopenRegressionRequest(name=ONE))
    accepted = await calls.AcceptRegression(pb.AcceptRegressionRequest(name=ONE, comment="the safer algorithm"))
    assert accepted.state == pb.REGRESSION_STATE_ACCEPTED
    assert (accepted.feedback, accepted.member_count, accepted.run) == (False, 1, f"runs/{run}")
    said = "the detector was wrong, as anonymous said; tbctl regression feedback changes that"
    moved = f"core runs are compared with runs/{run} now"
    assert [event.comment for event in accepted.events][-3:] == ["the safer algorithm", said, moved]
    assert accepted.reproduce == f"tbctl run reproduce {run} --case 'gemm[n=512]'"
    # Runs at the accepted level pass and move the baseline; what comes on top of it is news.
    assert (await laboratory.get(await laboratory.run(branch("main"), SLOW))).verdict == "pass"
    worse = Conditions(factors={"gemm[n=512]": 1.21})
    await laboratory.confirm(await laboratory.run(branch("main"), worse), worse)
    assert [row.state for row in await laboratory.regressions()] == ["accepted", "confirmed"]
    async with laboratory.database.transaction() as session:
        actions = (await session.scalars(select(Audit.action).where(Audit.resource == ONE).order_by(Audit.id))).all()
    assert [action.removeprefix("regression.") for action in actions] == [
        "assigned",
        "comment",
        "feedback",
        "ignored",
        "reopened",
        "accepted",
    ]
    for seconds, says in ((0, "above zero"), (300_000_000_000, "at most 3650d")):
        asked = calls.GetDetectorScore(pb.GetDetectorScoreRequest(window=Duration(seconds=seconds)))
        await refused(asked, grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD, says)
    score = await calls.GetDetectorScore(pb.GetDetectorScoreRequest())
    (row,) = score.rows
    assert (row.findings, row.right, row.wrong, row.untriaged) == (2, 0, 1, 1)
    assert dict(row.outcomes) == {"accepted": 1, "confirmed": 1}
    assert row.median_time_to_triage.ToSeconds() >= 3600
    assert row.precision_high == pytest.approx(1 - 0.2065, abs=1e-3)


@pytest.mark.parametrize("answer", ["accepted", "wont_fix"])
async def test_a_branch_is_not_blamed_for_what_was_answered_where_it_comes_from(
    laboratory: Laboratory, stubs: Stubs, answer: str
) -> None:
    await confirmed(laboratory)
    if answer == "accepted":
        await stubs.regressions.AcceptRegression(pb.AcceptRegressionRequest(name=ONE, comment="safer"))
    else:
        request = pb.ResolveRegressionRequest(name=ONE, comment="stays", resolution=pb.RESOLUTION_WONT_FIX)
        await stubs.regressions.ResolveRegression(request)
    # No good run has that level yet, so that the branch is compared with one from before.
    same = await laboratory.get(await laboratory.run(branch("feature"), SLOW))
    assert same.verdict == "pass"
    assert [row.state for row in await laboratory.regressions()] == [answer]
    worse = Conditions(factors={"gemm[n=512]": 1.5})
    await laboratory.confirm(await laboratory.run(branch("feature"), worse), worse)
    assert [(row.branch, row.state) for row in await laboratory.regressions()] == [
        ("", answer),
        ("feature", "confirmed"),
    ]


@pytest.mark.parametrize("pinned", [False, True])
async def test_what_comes_on_top_of_an_accepted_level_is_told_also_where_the_baseline_stays(
    laboratory: Laboratory, stubs: Stubs, *, pinned: bool
) -> None:
    await confirmed(laboratory)
    if pinned:
        await stubs.baselines.PinBaseline(PinBaselineRequest(name="projects/default/baselines/branch:main"))
    await stubs.regressions.AcceptRegression(pb.AcceptRegressionRequest(name=ONE, comment="safer"))
    worse = Conditions(factors={"gemm[n=512]": 3.0})
    run = await laboratory.run(branch("main"), worse)
    await laboratory.confirm(run, worse)
    assert (await laboratory.get(run)).verdict == "regressed"
    # Against the level of before it is the same one, worse; against the accepted level a new one.
    expected = ["confirmed"] if pinned else ["accepted", "confirmed"]
    assert [row.state for row in await laboratory.regressions()] == expected


async def base_of(laboratory: Laboratory, run_id: int) -> int | None:
    async with laboratory.database.transaction() as session:
        return (await session.get_one(Comparison, run_id)).base_run_id


async def test_accepting_moves_what_runs_are_compared_with_on_every_host_that_showed_it(
    laboratory: Laboratory, stubs: Stubs
) -> None:
    def slow(host: str, copy: float = 1.0) -> Conditions:
        return Conditions(host=host, factors={"gemm[n=512]": 1.10, "copy[n=1]": copy})

    for host in ("node-1", "node-2"):
        await laboratory.run(branch("main"), Conditions(host=host))
    # Both hosts show it, and each time something else got worse beside it on one of them.
    first = await laboratory.run(branch("main"), slow("node-1"))
    await laboratory.confirm(first, slow("node-1"))
    second = await laboratory.run(branch("main"), slow("node-2"))
    third = await laboratory.run(branch("main"), slow("node-1", copy=1.2))
    await laboratory.confirm(third, slow("node-1", copy=1.2))
    assert [(await laboratory.get(run_id)).verdict for run_id in (first, second, third)] == ["regressed"] * 3
    accept = pb.AcceptRegressionRequest(name=ONE, comment="the safer algorithm")
    accepted = await stubs.regressions.AcceptRegression(accept)
    assert accepted.events[-1].comment == f"core runs are compared with runs/{second} now"
    for host, base in (("node-1", first), ("node-2", second)):
        again = await laboratory.run(branch("main"), slow(host))
        assert (await base_of(laboratory, again), (await laboratory.get(again)).verdict) == (base, "pass")
    # The level itself is what on top of it is measured against, however little that is.
    on_top = await laboratory.run(branch("main"), Conditions(host="node-2", factors={"gemm[n=512]": 1.10 * 1.03}))
    assert await laboratory.confirmation(on_top) is not None


async def test_what_was_accepted_by_mistake_is_taken_back_whole(laboratory: Laboratory, stubs: Stubs) -> None:
    await confirmed(laboratory)
    await stubs.regressions.AcceptRegression(pb.AcceptRegressionRequest(name=ONE, comment="safer"))
    again = await stubs.regressions.ReopenRegression(pb.ReopenRegressionRequest(name=ONE))
    assert again.events[-1].comment == "core runs are compared with runs/1 again"
    async with laboratory.database.transaction() as session:
        assert (await session.scalars(select(AcceptedLevel))).all() == []
    after = await laboratory.run(branch("main"), SLOW)
    assert (await base_of(laboratory, after), (await laboratory.get(after)).verdict) == (1, "regressed")


async def test_a_branch_is_not_blamed_for_what_is_open_where_it_comes_from(laboratory: Laboratory) -> None:
    await confirmed(laboratory)
    same = await laboratory.get(await laboratory.run(branch("feature"), SLOW))
    assert same.verdict == "pass"
    assert [(row.branch, row.state) for row in await laboratory.regressions()] == [("", "confirmed")]
    worse = Conditions(factors={"gemm[n=512]": 1.21})
    await laboratory.confirm(await laboratory.run(branch("feature"), worse), worse)
    assert [(row.branch, row.state) for row in await laboratory.regressions()] == [
        ("", "confirmed"),
        ("feature", "confirmed"),
    ]


async def test_a_duplicate_stands_for_the_other_one(laboratory: Laboratory, stubs: Stubs) -> None:
    both = Conditions(factors={"gemm[n=512]": 1.10, "copy[n=1]": 1.10})
    await laboratory.run(branch("main"))
    await laboratory.confirm(await laboratory.run(branch("main"), both), both)
    calls = stubs.regressions
    resolve = pb.ResolveRegressionRequest(name="regressions/2", resolution=pb.RESOLUTION_DUPLICATE)
    await refused(
        calls.ResolveRegression(resolve),
        grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_FIELD,
        "name the other finding",
    )
    resolve.duplicate_of = "regressions/2"
    await refused(
        calls.ResolveRegression(resolve),
        grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_FIELD,
        "is this finding itself",
    )
    resolve.duplicate_of = ONE
    after = await calls.ResolveRegression(resolve)
    assert (after.state, after.duplicate_of) == (pb.REGRESSION_STATE_DUPLICATE, ONE)
    again = await laboratory.run(branch("main"), both)
    assert (await laboratory.get(again)).verdict == "regressed"
    assert await laboratory.confirmation(again) is None, "the other one is known"
    assert [row.state for row in await laboratory.regressions()] == ["confirmed", "duplicate"]


async def test_a_finding_about_a_device_is_one_and_comes_and_goes(laboratory: Laboratory, stubs: Stubs) -> None:
    await laboratory.run(branch("main"))
    first = await opened(laboratory)
    again = await opened(laboratory)
    assert first.id == again.id
    listed = await stubs.regressions.ListRegressions(
        pb.ListRegressionsRequest(kinds=[pb.FINDING_KIND_SLOW_DEVICE], subject="devices/GPU-1")
    )
    (found,) = listed.regressions
    assert (found.kind, found.summary, found.device_model) == (
        pb.FINDING_KIND_SLOW_DEVICE,
        "GPU-1 is 8 % slower than its siblings.",
        "Model 1",
    )
    assert not found.run
    gone = await closed(laboratory)
    assert gone is not None
    assert gone.state == "verified"
    assert await closed(laboratory) is None
    assert (await opened(laboratory)).id == first.id, "the same one, when it comes back"
    assert [row.state for row in await laboratory.regressions()] == ["confirmed"]
    await refused(
        stubs.regressions.AcceptRegression(pb.AcceptRegressionRequest(name=ONE, comment="so be it")),
        grpc.StatusCode.FAILED_PRECONDITION,
        Reason.REGRESSION_CLOSED,
        "has no level to accept",
    )
    request = pb.ResolveRegressionRequest(name=ONE, resolution=pb.RESOLUTION_INFRASTRUCTURE, comment="its fan")
    await stubs.regressions.ResolveRegression(request)
    assert (await opened(laboratory)).state == "infrastructure", "somebody knows of it"
    assert (await opened(laboratory, Severity.CRITICAL)).state == "confirmed", "it got worse"
    laboratory.clock.advance(31 * 86400)
    await closed(laboratory)
    laboratory.clock.advance(31 * 86400)
    assert (await opened(laboratory)).id != first.id, "long forgotten"


async def rows_of(laboratory: Laboratory, *rows: dict[str, Any]) -> list[int]:
    """Findings on the default branch, made by hand; `members` are their series, the first one their own."""
    async with laboratory.database.transaction() as session:
        ids = []
        for fields in rows:
            series = fields.pop("members")
            row = Regression(
                project_id=1,
                series_id=series[0],
                run_id=1,
                severity="major",
                change=0.1,
                evidence={},
                created_at=laboratory.clock(),
                updated_at=laboratory.clock(),
                **fields,
            )
            session.add(row)
            await session.flush()
            for number in series:
                values = {"regression_id": row.id, "series_id": number, "run_id": 1, "change": 0.1, "evidence": {}}
                session.add(RegressionMember(severity="major", **values))
            ids.append(row.id)
        return ids


async def series_of(laboratory: Laboratory, *cases: str) -> list[int]:
    async with laboratory.database.transaction() as session:
        rows = await session.scalars(select(Series).where(Series.primary.is_(True)))
        by_case = {row.case_id: row.id for row in rows}
    return [by_case[case] for case in cases]


async def test_of_two_that_were_ignored_until_one_day_one_wakes(laboratory: Laboratory) -> None:
    await laboratory.run(branch("main"))
    series = await series_of(laboratory, "gemm[n=512]")
    until = laboratory.clock() + timedelta(days=1)
    await rows_of(laboratory, *({"members": series, "state": "ignored", "ignored_until": until} for _ in range(2)))
    laboratory.clock.advance(86400)
    for _ in range(2):
        async with laboratory.database.transaction() as session:
            await regressions.wake_ignored(session, laboratory.clock())
    assert [row.state for row in await laboratory.regressions()] == ["confirmed", "ignored"]


@pytest.mark.parametrize("over", ["verified", "wont_fix"])
async def test_what_cannot_open_again_beside_an_open_one_is_a_new_finding(laboratory: Laboratory, over: str) -> None:
    await laboratory.run(branch("main"))
    other, slow = await series_of(laboratory, "copy[n=1]", "gemm[n=512]")
    first, second = await rows_of(
        laboratory, {"members": [other, slow], "state": over}, {"members": [other], "state": "confirmed"}
    )
    run_id = await laboratory.run(branch("main"), Conditions(factors={"gemm[n=512]": 1.30}))
    await laboratory.confirm(run_id, Conditions(factors={"gemm[n=512]": 1.30}))
    assert (await laboratory.get(run_id)).verdict == "regressed"
    found = {row.id: (row.state, row.series_id) for row in await laboratory.regressions()}
    assert found.pop(first) == (over, other)
    # Its own series is at the level of before in that run.
    assert found.pop(second) == ("fixed", other)
    assert list(found.values()) == [("confirmed", slow)]
