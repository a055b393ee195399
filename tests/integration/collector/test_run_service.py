"""RunService against a running collector."""

import asyncio
from typing import Any

import grpc
import pytest
from support import uploads
from support.embedded_collector import Running, ScriptedHost, listed, reason_of
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.tables import Audit
from tesserabench.v1 import measurement_pb2, run_pb2, run_service_pb2
from tesserabench.wire import MAX_MESSAGE_BYTES


@pytest.fixture
async def alpha(running: Running) -> ScriptedHost:
    host = ScriptedHost(clients=running.clients, name="alpha")
    await host.register()
    return host


async def refused(call: Any) -> tuple[grpc.StatusCode, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), reason_of(caught.value), caught.value.details() or ""


def state_in(answer: object) -> run_service_pb2.WatchRunResponse:
    assert isinstance(answer, run_service_pb2.WatchRunResponse), answer
    return answer


async def test_what_was_asked_for_is_what_is_shown(running: Running) -> None:
    spec = run_pb2.RunSpec(
        suite="core",
        tier=run_pb2.TIER_FULL,
        device="simulated",
        include=["matmul"],
        exclude=["n=1024"],
        overrides=[run_pb2.ParameterOverride(parameter="n", value="256")],
        trials=3,
        mode=measurement_pb2.TIMING_MODE_HOT,
        seed=2**64 - 1,
        drill={"matmul": 1.25},
        selector=run_pb2.HostSelector(conditions=["rack=a1"], count=2),
    )
    spec.case_timeout.FromMilliseconds(1500)
    request = run_service_pb2.CreateRunRequest(
        project="kernels",
        spec=spec,
        revision=run_pb2.Revision(commit="abcdef1", branch="feature", base_branch="main", pull_request="7"),
        gate=run_pb2.GateSpec(baseline="branch:main", confirm=False),
        labels={"team": "blas"},
        priority=5,
        trigger=run_pb2.TRIGGER_KIND_CI,
    )
    created = await running.clients.runs.CreateRun(request, timeout=10)
    shown = await running.clients.run(created.name)
    assert shown == created
    assert shown.spec == spec
    assert shown.revision == request.revision
    assert shown.gate == request.gate
    assert (shown.project, shown.priority, shown.trigger) == ("kernels", 5, run_pb2.TRIGGER_KIND_CI)
    assert dict(shown.labels) == {"team": "blas"}
    assert shown.requested_by.name == "anonymous"
    assert len(shown.attempts) == 2
    assert 3590 < shown.deadline.ToSeconds() - shown.create_time.ToSeconds() <= 3601


async def test_a_run_before_any_host_says_that_none_is_known(running: Running) -> None:
    run = await running.clients.create_run(suite="anything")
    assert "no agent has registered yet" in run.reason


@pytest.mark.parametrize(
    ("fields", "reason", "part"),
    [
        ({"suite": "cor"}, "UNKNOWN_SUITE", "did you mean core?"),
        ({"overrides": [run_pb2.ParameterOverride(parameter="m", value="1")]}, "UNKNOWN_PARAMETER", "known: n"),
        ({"drill": {"matmull": 1.1}}, "INVALID_FIELD", "did you mean matmul?"),
        ({"drill": {"matmul": 0.5}}, "INVALID_FIELD", "spec.drill[matmul]: 0.5: give a factor above 1"),
        ({"include": ["("]}, "INVALID_FIELD", "spec.include[0]: '(': not a regular expression"),
        ({"selector": run_pb2.HostSelector(conditions=["gpu=="])}, "INVALID_FIELD", "conditions[0]: 'gpu=='"),
        ({"device": "tpu"}, "INVALID_FIELD", "spec.device: 'tpu'"),
        ({"suite": ""}, "INVALID_FIELD", "spec.suite: is required"),
    ],
)
async def test_a_wrong_request_names_field_value_and_remedy(
    running: Running, alpha: ScriptedHost, fields: dict[str, Any], reason: str, part: str
) -> None:
    code, told, text = await refused(running.clients.create_run(**fields))
    assert (code, told) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert part in text
    assert not (await alpha.sync()).assignments


async def test_a_deadline_in_the_past_is_refused(running: Running) -> None:
    request = run_service_pb2.CreateRunRequest(spec=run_pb2.RunSpec(suite="core"))
    request.deadline.FromJsonString("2020-01-01T00:00:00Z")
    code, _, text = await refused(running.clients.runs.CreateRun(request, timeout=10))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "lies in the past" in text


async def test_a_dry_run_names_hosts_and_creates_nothing(running: Running, alpha: ScriptedHost) -> None:
    planned = await running.clients.create_run(dry_run=True)
    assert "would run on 1 of: alpha (simulated)" in planned.reason
    assert (planned.name, planned.spec.trials) == ("", 5)
    selector = run_pb2.HostSelector(conditions=["gpu=h100", "colour=red"])
    nowhere = await running.clients.create_run(dry_run=True, selector=selector)
    assert "no host knows the condition colour" in nowhere.reason
    assert "alpha: gpu=h100: the host has no gpu" in nowhere.reason
    listed_runs = await running.clients.runs.ListRuns(run_service_pb2.ListRunsRequest(), timeout=10)
    assert not listed_runs.runs


@pytest.mark.parametrize("dry_run", [False, True])
async def test_the_same_code_twice_is_not_slowed(running: Running, alpha: ScriptedHost, dry_run: bool) -> None:
    spec = run_pb2.RunSpec(suite="core", drill={"copy": 1.1})
    request = run_service_pb2.CreateRunRequest(spec=spec, identical=True, dry_run=dry_run)
    code, _, text = await refused(running.clients.runs.CreateRun(request, timeout=10))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "spec.drill: 'copy': what is identical is the same code twice" in text


async def test_a_dry_run_looks_for_the_baseline_that_is_named(running: Running, alpha: ScriptedHost) -> None:
    request = run_service_pb2.CreateRunRequest(
        spec=run_pb2.RunSpec(suite="core"), gate=run_pb2.GateSpec(baseline="nope"), dry_run=True
    )
    empty = await running.clients.runs.CreateRun(request, timeout=10)
    assert "there is nothing to compare with: project 'default' has no runs yet" in empty.reason
    made = await running.clients.create_run()
    unknown = await running.clients.runs.CreateRun(request, timeout=10)
    assert "'nope' names nothing measured in project 'default' in suite 'core'" in unknown.reason
    request.gate.baseline = made.name
    known = await running.clients.runs.CreateRun(request, timeout=10)
    assert f"would be compared with {made.name}" in known.reason


async def test_the_same_request_id_gives_the_same_run(running: Running) -> None:
    first, second = await asyncio.gather(*(running.clients.create_run(request_id="build-7") for _ in range(2)))
    assert first.name == second.name
    assert (await running.clients.create_run(request_id="build-8")).name != first.name
    code, reason, text = await refused(running.clients.create_run(request_id="build-7", priority=3))
    assert (code, reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert first.name in text


async def test_runs_are_listed_newest_first_in_pages_and_filtered(running: Running) -> None:
    names = []
    for number in range(5):
        revision = run_pb2.Revision(commit=f"{number}abcdef0", branch="even" if number % 2 == 0 else "odd")
        names.append((await running.clients.create_run(revision=revision)).name)
    stub = running.clients.runs
    seen, token = [], ""
    while True:
        page = await stub.ListRuns(run_service_pb2.ListRunsRequest(page_size=2, page_token=token), timeout=10)
        seen += [run.name for run in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert seen == names[::-1]
    even = await stub.ListRuns(run_service_pb2.ListRunsRequest(branch="even"), timeout=10)
    assert [run.name for run in even.runs] == [names[4], names[2], names[0]]
    prefix = await stub.ListRuns(run_service_pb2.ListRunsRequest(commit="3ABC"), timeout=10)
    assert [run.name for run in prefix.runs] == [names[3]]
    running_ = run_service_pb2.ListRunsRequest(state=run_pb2.RUN_STATE_RUNNING)
    assert not (await stub.ListRuns(running_, timeout=10)).runs
    wrong = run_service_pb2.ListRunsRequest(page_token="nonsense")
    assert (await refused(stub.ListRuns(wrong, timeout=10)))[1] == "INVALID_PAGE_TOKEN"


async def test_a_run_that_is_not_there(running: Running) -> None:
    for call in (
        running.clients.run("runs/99"),
        running.clients.runs.CancelRun(run_service_pb2.CancelRunRequest(name="runs/99"), timeout=10),
        running.clients.runs.RetryRun(run_service_pb2.RetryRunRequest(name="runs/99"), timeout=10),
        running.clients.runs.ListRunLogs(run_service_pb2.ListRunLogsRequest(name="runs/99"), timeout=10),
    ):
        assert (await refused(call))[:2] == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")


async def test_watching_shows_every_state_and_ends_with_the_run(running: Running, alpha: ScriptedHost) -> None:
    run = await running.clients.create_run()
    watch = running.clients.runs.WatchRun(run_service_pb2.WatchRunRequest(name=run.name), timeout=30)

    async def states() -> list[int]:
        return [answer.run.state async for answer in watch]

    seen = asyncio.ensure_future(states())
    held = listed((await alpha.sync()).assignments[0])
    await alpha.sync(held)
    await running.clients.wait_for(run.name, run_pb2.RUN_STATE_RUNNING)
    await alpha.finish(held)
    async with asyncio.timeout(20):
        told = await seen
    assert told[0] == run_pb2.RUN_STATE_QUEUED
    assert told[-1] == run_pb2.RUN_STATE_FINISHED
    assert told == sorted(told)


async def test_watching_again_with_the_cursor_skips_what_was_seen(running: Running) -> None:
    run = await running.clients.create_run()
    first = running.clients.runs.WatchRun(run_service_pb2.WatchRunRequest(name=run.name), timeout=30)
    seen = state_in(await first.read())
    first.cancel()
    request = run_service_pb2.WatchRunRequest(name=run.name, cursor=seen.cursor)
    second = running.clients.runs.WatchRun(request, timeout=30)
    reading = asyncio.ensure_future(second.read())
    await running.clients.runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name), timeout=10)
    async with asyncio.timeout(10):
        answer = state_in(await reading)
    assert answer.run.state == run_pb2.RUN_STATE_FINISHED
    assert await second.read() == grpc.aio.EOF
    # Who watches a finished run is told its end, whatever the cursor says.
    third = running.clients.runs.WatchRun(
        run_service_pb2.WatchRunRequest(name=run.name, cursor=answer.cursor), timeout=10
    )
    assert state_in(await third.read()).run.state == run_pb2.RUN_STATE_FINISHED


async def test_logs_are_paged_and_the_last_token_waits_for_more(running: Running, alpha: ScriptedHost) -> None:
    run = await running.clients.create_run()
    held = await alpha.take()
    await alpha.upload(held, [uploads.log_lines(1, "one", "two", "three", trial=0)])
    stub = running.clients.runs

    async def page(token: str, size: int = 2) -> run_service_pb2.ListRunLogsResponse:
        request = run_service_pb2.ListRunLogsRequest(name=run.name, page_size=size, page_token=token)
        answer: run_service_pb2.ListRunLogsResponse = await stub.ListRunLogs(request, timeout=10)
        return answer

    first = await page("")
    assert [(entry.text, entry.host, entry.trial) for entry in first.entries] == [
        ("one", "alpha", 0),
        ("two", "alpha", 0),
    ]
    second = await page(first.next_page_token)
    assert [entry.text for entry in second.entries] == ["three"]
    empty = await page(second.next_page_token)
    assert not empty.entries
    await alpha.upload(held, [uploads.log_lines(2, "four")])
    assert [entry.text for entry in (await page(empty.next_page_token)).entries] == ["four"]


async def test_failed_cases_are_counted_by_outcome(running: Running, alpha: ScriptedHost) -> None:
    run = await running.clients.create_run()
    held = await alpha.take()
    incorrect = measurement_pb2.OUTCOME_INCORRECT
    records = [
        uploads.trial_started(1),
        uploads.case_finished(2, "a"),
        uploads.case_finished(3, "b", outcome=incorrect),
        uploads.case_finished(4, "c", outcome=incorrect),
        uploads.case_finished(5, "c", outcome=incorrect, trial=1),
        uploads.case_finished(6, "d", outcome=measurement_pb2.OUTCOME_TIMEOUT),
        uploads.attempt_finished(7),
    ]
    await alpha.upload(held, records)
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert done.outcome == measurement_pb2.OUTCOME_OK
    assert dict(done.failures) == {"incorrect": 2, "timeout": 1}


async def test_retrying_asks_for_the_same_again_as_a_child(running: Running) -> None:
    run = await running.clients.create_run(labels={"a": "b"}, revision=run_pb2.Revision(commit="abcdef1"))
    again = await running.clients.runs.RetryRun(run_service_pb2.RetryRunRequest(name=run.name), timeout=10)
    assert again.name != run.name
    assert (again.parent, again.trigger) == (run.name, run_pb2.TRIGGER_KIND_RETRY)
    assert (again.spec, again.revision, again.labels) == (run.spec, run.revision, run.labels)


async def test_cancelling_twice_changes_nothing_the_second_time(running: Running) -> None:
    run = await running.clients.create_run()
    first = await running.clients.runs.CancelRun(
        run_service_pb2.CancelRunRequest(name=run.name, reason="a"), timeout=10
    )
    second = await running.clients.runs.CancelRun(
        run_service_pb2.CancelRunRequest(name=run.name, reason="b"), timeout=10
    )
    assert first == second


@pytest.mark.parametrize(("times", "part"), [(1, str(MAX_MESSAGE_BYTES)), (3, "larger than max")])
async def test_a_message_over_the_limit_is_refused_with_a_sentence(running: Running, times: int, part: str) -> None:
    big = run_service_pb2.CancelRunRequest(name="runs/1", reason="x" * (times * MAX_MESSAGE_BYTES + 1000))
    async with grpc.aio.insecure_channel(
        running.collector.addresses.grpc, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        call = channel.unary_unary(
            "/tesserabench.v1.RunService/CancelRun",
            request_serializer=run_service_pb2.CancelRunRequest.SerializeToString,
            response_deserializer=run_pb2.Run.FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(big, timeout=30)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert part in (caught.value.details() or "")
    if times == 1:
        assert reason_of(caught.value) == "MESSAGE_TOO_LARGE"


async def test_every_change_leaves_an_audit_row(running: Running, database: Database) -> None:
    run = await running.clients.create_run()
    await running.clients.runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name, reason="no"), timeout=10)
    async with database.transaction() as session:
        rows = await session.scalars(Audit.__table__.select().with_only_columns(Audit.action).order_by(Audit.id))
        assert list(rows) == ["run.created", "run.cancelled"]


async def test_a_queued_run_says_what_it_waits_for_now(running: Running) -> None:
    first, second = await running.clients.create_run(), await running.clients.create_run()
    assert "no agent has registered yet" in first.reason
    alpha = ScriptedHost(clients=running.clients, name="alpha")
    await alpha.register()
    assert (await running.clients.run(first.name)).reason == ""
    held = await alpha.take()
    assert (await running.clients.run(second.name)).reason == f"waits for a host: alpha is busy with {first.name}"
    await alpha.sync(held, unready_reason="too little memory")
    waiting = await running.clients.run(second.name)
    assert waiting.reason == "waits for a host: alpha takes no work: too little memory"
    running.clock.advance(31)
    assert "alpha has not been heard of since" in (await running.clients.run(second.name)).reason
