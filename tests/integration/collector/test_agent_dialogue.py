"""The dialogue between hosts and the collector: registration, offers, leases, cancellation."""

import asyncio
from typing import Any

import grpc
import pytest
from support import uploads
from support.embedded_collector import Running, ScriptedHost, inventory, listed, reason_of
from support.waiting import wait_until_async
from tesserabench.v1 import agent_service_pb2, host_service_pb2, measurement_pb2, run_pb2, run_service_pb2

OTHER_PROCESS = "process-1111111111"


async def attempt_of(running: Running, run: run_pb2.Run) -> run_pb2.Attempt:
    return (await running.clients.run(run.name)).attempts[0]


async def wait_for_attempt(
    running: Running, run: run_pb2.Run, state: run_pb2.AttemptState.ValueType, epoch: int = 1
) -> run_pb2.Attempt:
    async def reached() -> run_pb2.Attempt | None:
        attempt = await attempt_of(running, run)
        return attempt if (attempt.state, attempt.epoch) == (state, epoch) else None

    what = f"the attempt to be {run_pb2.AttemptState.Name(state)} in epoch {epoch}"
    attempt = await wait_until_async(reached, seconds=10, what=what)
    assert attempt is not None
    return attempt


@pytest.fixture
def alpha(running: Running) -> ScriptedHost:
    return ScriptedHost(clients=running.clients, name="alpha")


async def test_a_run_goes_from_request_to_end(running: Running, alpha: ScriptedHost) -> None:
    answer = await alpha.register()
    assert answer.pacing.heartbeat.seconds == 10
    run = await running.clients.create_run()
    assert run.state == run_pb2.RUN_STATE_QUEUED
    offer = await alpha.sync()
    assert offer.assignments[0].spec.suite == "core"
    assert offer.assignments[0].spec.trials == 5
    assert offer.assignments[0].spec.seed > 0
    assert offer.assignments[0].project == "default"
    held = listed(offer.assignments[0], cases_done=1, cases_total=2, current_case="core/matmul", phase="measure")
    await alpha.sync(held)
    now = await running.clients.run(run.name)
    assert now.state == run_pb2.RUN_STATE_RUNNING
    assert (now.progress.cases_done, now.progress.cases_total, now.progress.phase) == (1, 2, "measure")
    assert now.attempts[0].host == "alpha"
    await alpha.finish(held)
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert done.outcome == measurement_pb2.OUTCOME_OK
    assert done.HasField("end_time")


async def test_an_offer_is_repeated_until_it_is_listed(running: Running, alpha: ScriptedHost) -> None:
    await alpha.register()
    await running.clients.create_run()
    first, second = await alpha.sync(), await alpha.sync()
    assert first.assignments[0].name == second.assignments[0].name
    assert first.assignments[0].epoch == second.assignments[0].epoch == 1
    assert not (await alpha.sync(listed(first.assignments[0]))).assignments


async def test_a_held_poll_is_woken_by_a_new_run(running: Running, alpha: ScriptedHost) -> None:
    await alpha.register()
    poll = asyncio.ensure_future(alpha.sync(max_wait=10.0))
    await asyncio.sleep(0)
    run = await running.clients.create_run()
    async with asyncio.timeout(4):
        answer = await poll
    assert answer.assignments[0].name.startswith(run.name)


async def test_an_idle_poll_ends_when_it_asked_to(alpha: ScriptedHost) -> None:
    await alpha.register()
    answer = await alpha.sync(max_wait=0.2)
    assert not answer.assignments
    assert answer.pacing.lease.seconds == 30


async def test_a_host_that_never_registered_is_told_so(alpha: ScriptedHost) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await alpha.sync()
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.NOT_FOUND, "HOST_NOT_REGISTERED")


async def test_the_newest_process_wins_and_the_older_is_told_while_it_waits(
    running: Running, alpha: ScriptedHost
) -> None:
    await alpha.register()
    waiting = asyncio.ensure_future(alpha.sync(max_wait=10.0))
    newer = ScriptedHost(clients=running.clients, name="alpha", process_id=OTHER_PROCESS)
    await asyncio.sleep(0)
    await newer.register()
    async with asyncio.timeout(4):
        assert (await waiting).superseded
    assert (await alpha.sync()).superseded
    assert not (await newer.sync()).superseded


async def test_another_schema_version_is_refused_with_the_ones_that_are_taken(alpha: ScriptedHost) -> None:
    alpha.schema_version = 99
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await alpha.register()
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(caught.value) == "SCHEMA_VERSION_UNSUPPORTED"
    assert "99" in str(caught.value.details())
    assert "takes 1" in str(caught.value.details())


async def test_an_offer_that_nobody_takes_goes_back_with_the_next_epoch(running: Running, alpha: ScriptedHost) -> None:
    await alpha.register()
    run = await running.clients.create_run()
    await alpha.sync()
    running.clock.advance(21)
    attempt = await wait_for_attempt(running, run, run_pb2.ATTEMPT_STATE_QUEUED, epoch=2)
    assert "did not take it in time" in attempt.reason
    late = agent_service_pb2.HeldAttempt(name=attempt.name, epoch=1)
    answer = await alpha.sync(late)
    assert answer.cancellations[0].epoch == 1
    assert "epoch 2" in answer.cancellations[0].reason


async def test_a_silent_host_is_unreachable_and_goes_on_when_it_comes_back(
    running: Running, alpha: ScriptedHost
) -> None:
    await alpha.register()
    run = await running.clients.create_run()
    held = await alpha.take()
    running.clock.advance(31)
    await wait_for_attempt(running, run, run_pb2.ATTEMPT_STATE_UNREACHABLE)
    assert not (await alpha.sync(held)).cancellations
    assert (await attempt_of(running, run)).state == run_pb2.ATTEMPT_STATE_RUNNING
    await alpha.finish(held)
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert done.attempts[0].epoch == 1


async def test_a_host_that_stays_away_loses_its_attempt_to_another(running: Running, alpha: ScriptedHost) -> None:
    await alpha.register()
    run = await running.clients.create_run()
    held = await alpha.take()
    running.clock.advance(31)
    await wait_for_attempt(running, run, run_pb2.ATTEMPT_STATE_UNREACHABLE)
    running.clock.advance(601)
    attempt = await wait_for_attempt(running, run, run_pb2.ATTEMPT_STATE_QUEUED, epoch=2)
    assert "was not heard of for 600 s" in attempt.reason
    beta = ScriptedHost(clients=running.clients, name="beta")
    await beta.register()
    again = await beta.take()
    assert again.epoch == 2
    # The first host comes back with results of the old epoch: they are kept, late, and it is told to stop.
    answer = await alpha.upload(held, [uploads.trial_started(1), uploads.case_finished(2)])
    assert answer.late
    assert (await alpha.sync(held)).cancellations[0].epoch == 1
    await beta.finish(again, cases=1)
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert (done.outcome, done.attempts[0].host) == (measurement_pb2.OUTCOME_OK, "beta")


async def test_a_restarted_agent_that_closes_as_interrupted_gets_the_attempt_again(
    running: Running, alpha: ScriptedHost
) -> None:
    await alpha.register()
    run = await running.clients.create_run()
    held = await alpha.take()
    await alpha.upload(held, [uploads.trial_started(1), uploads.case_finished(2)])
    restarted = ScriptedHost(clients=running.clients, name="alpha", process_id=OTHER_PROCESS)
    await restarted.register()
    await restarted.sync(agent_service_pb2.HeldAttempt(name=held.name, epoch=1, closing=True))
    interrupted = measurement_pb2.OUTCOME_INTERRUPTED
    await restarted.upload(held, [uploads.attempt_finished(3, interrupted, "the agent was restarted")])
    attempt = await wait_for_attempt(running, run, run_pb2.ATTEMPT_STATE_QUEUED, epoch=2)
    assert "the agent was restarted" in attempt.reason
    again = await restarted.take()
    await restarted.finish(again)
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert (done.outcome, done.attempts[0].epoch) == (measurement_pb2.OUTCOME_OK, 2)


async def test_an_attempt_that_its_host_forgot_is_handed_out_again_after_a_grace(
    running: Running, alpha: ScriptedHost
) -> None:
    await alpha.register()
    run = await running.clients.create_run()
    await alpha.take()
    restarted = ScriptedHost(clients=running.clients, name="alpha", process_id=OTHER_PROCESS)
    await restarted.register()
    answer = await restarted.sync()
    assert not answer.assignments, "its closing record may still come"
    running.clock.advance(16)
    attempt = await wait_for_attempt(running, run, run_pb2.ATTEMPT_STATE_QUEUED, epoch=2)
    assert "does not know it any more" in attempt.reason


async def test_an_attempt_is_given_up_after_three_tries(running: Running, alpha: ScriptedHost) -> None:
    await alpha.register()
    run = await running.clients.create_run()
    for epoch in (1, 2, 3):
        held = await alpha.take()
        assert held.epoch == epoch
        records = [uploads.attempt_finished(1, measurement_pb2.OUTCOME_INTERRUPTED, "the host was restarted")]
        await alpha.upload(held, records)
        if epoch < 3:
            await wait_for_attempt(running, run, run_pb2.ATTEMPT_STATE_QUEUED, epoch=epoch + 1)
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert done.outcome == measurement_pb2.OUTCOME_INTERRUPTED
    assert "the host was restarted" in done.reason


async def test_cancelling_a_queued_run_ends_it_at_once(running: Running) -> None:
    run = await running.clients.create_run()
    request = run_service_pb2.CancelRunRequest(name=run.name, reason="not needed")
    done = await running.clients.runs.CancelRun(request, timeout=10)
    assert (done.state, done.outcome) == (run_pb2.RUN_STATE_FINISHED, measurement_pb2.OUTCOME_CANCELLED)
    assert done.reason == "cancelled by anonymous: not needed"


async def test_cancelling_a_running_run_is_told_to_its_host_which_then_closes_it(
    running: Running, alpha: ScriptedHost
) -> None:
    await alpha.register()
    run = await running.clients.create_run()
    held = await alpha.take()
    poll = asyncio.ensure_future(alpha.sync(held, max_wait=10.0))
    await asyncio.sleep(0)
    await running.clients.runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name), timeout=10)
    async with asyncio.timeout(4):
        answer = await poll
    assert answer.cancellations[0].name == held.name
    assert (await running.clients.run(run.name)).state == run_pb2.RUN_STATE_RUNNING
    await alpha.upload(held, [uploads.attempt_finished(1, measurement_pb2.OUTCOME_CANCELLED, "cancelled")])
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert done.outcome == measurement_pb2.OUTCOME_CANCELLED


async def test_a_cancelled_run_on_a_host_that_has_gone_ends_without_it(running: Running, alpha: ScriptedHost) -> None:
    await alpha.register()
    run = await running.clients.create_run()
    await alpha.take()
    running.clock.advance(31)
    await wait_for_attempt(running, run, run_pb2.ATTEMPT_STATE_UNREACHABLE)
    await running.clients.runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name), timeout=10)
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert done.outcome == measurement_pb2.OUTCOME_CANCELLED
    assert "out of contact" in done.reason


async def test_a_host_has_one_attempt_at_a_time_and_takes_the_next_when_it_is_free(
    running: Running, alpha: ScriptedHost
) -> None:
    await alpha.register()
    first, second = await running.clients.create_run(), await running.clients.create_run()
    held = await alpha.take()
    assert held.name.startswith(first.name)
    assert not (await alpha.sync(held)).assignments
    await alpha.finish(held)
    await running.clients.wait_for(first.name, run_pb2.RUN_STATE_FINISHED)
    assert (await alpha.take()).name.startswith(second.name)


async def test_higher_priority_goes_first_and_then_the_older(running: Running, alpha: ScriptedHost) -> None:
    await running.clients.create_run()
    await running.clients.create_run()
    urgent = await running.clients.create_run(priority=10)
    await alpha.register()
    assert (await alpha.sync()).assignments[0].name.startswith(urgent.name)


async def test_conditions_hosts_and_devices_decide_who_gets_a_run(running: Running, alpha: ScriptedHost) -> None:
    gpu = ScriptedHost(clients=running.clients, name="gpu", inventory=inventory(gpu=True, labels={"rack": "a1"}))
    await alpha.register()
    await gpu.register()
    selector = run_pb2.HostSelector(conditions=["gpu=h100,driver>=570"])
    by_condition = await running.clients.create_run(device="auto", selector=selector)
    assert not (await alpha.sync()).assignments
    answer = await gpu.sync()
    assert answer.assignments[0].name.startswith(by_condition.name)
    assert answer.assignments[0].spec.device == "cuda", "auto is settled by the host's devices"
    by_name = await running.clients.create_run(selector=run_pb2.HostSelector(hosts=["alpha"]))
    assert (await alpha.sync()).assignments[0].name.startswith(by_name.name)


async def test_a_run_that_no_host_matches_does_not_hold_up_the_ones_behind_it(
    running: Running, alpha: ScriptedHost
) -> None:
    await alpha.register()
    for _ in range(70):
        await running.clients.create_run(selector=run_pb2.HostSelector(conditions=["gpu=h100"]))
    mine = await running.clients.create_run()
    assert (await alpha.sync()).assignments[0].name.startswith(mine.name)


@pytest.mark.parametrize(
    "fields",
    [{"draining": True}, {"unready_reason": "disk"}, {"spool": agent_service_pb2.SpoolState(full=True)}],
    ids=["draining", "unready", "spool full"],
)
async def test_a_host_that_takes_no_work_gets_none(
    running: Running, alpha: ScriptedHost, fields: dict[str, Any]
) -> None:
    await alpha.register()
    await running.clients.create_run()
    assert not (await alpha.sync(**fields)).assignments
    host = await running.clients.hosts.GetHost(host_service_pb2.GetHostRequest(name="hosts/alpha"), timeout=10)
    assert host.unready_reason


async def test_a_cordoned_host_finishes_what_it_runs_and_gets_nothing_new(
    running: Running, alpha: ScriptedHost
) -> None:
    await alpha.register()
    await running.clients.create_run()
    held = await alpha.take()
    request = host_service_pb2.CordonHostRequest(name="hosts/alpha", reason="fan")
    await running.clients.hosts.CordonHost(request, timeout=10)
    answer = await alpha.sync(held)
    assert answer.cordoned
    assert not answer.cancellations
    await alpha.finish(held)
    await running.clients.create_run()
    assert not (await alpha.sync()).assignments
    await running.clients.hosts.UncordonHost(host_service_pb2.UncordonHostRequest(name="hosts/alpha"), timeout=10)
    assert (await alpha.sync()).assignments


async def test_a_run_on_two_hosts_gets_two_different_hosts(running: Running, alpha: ScriptedHost) -> None:
    beta = ScriptedHost(clients=running.clients, name="beta")
    await alpha.register()
    await beta.register()
    run = await running.clients.create_run(selector=run_pb2.HostSelector(count=2))
    on_alpha, on_beta = await alpha.take(), await beta.take()
    assert on_alpha.name != on_beta.name
    await alpha.finish(on_alpha)
    assert not (await alpha.sync()).assignments
    assert (await running.clients.run(run.name)).state == run_pb2.RUN_STATE_RUNNING
    await beta.upload(on_beta, [uploads.attempt_finished(1, measurement_pb2.OUTCOME_DEVICE_LOST, "fell off the bus")])
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert done.outcome == measurement_pb2.OUTCOME_DEVICE_LOST
    assert done.reason == "fell off the bus"


async def test_many_hosts_at_once_never_get_the_same_attempt(running: Running) -> None:
    hosts = [ScriptedHost(clients=running.clients, name=f"host-{number}") for number in range(12)]
    await asyncio.gather(*(host.register() for host in hosts))
    runs = [await running.clients.create_run() for _ in range(8)]
    answers = await asyncio.gather(*(host.sync() for host in hosts))
    given = [answer.assignments[0].name for answer in answers if answer.assignments]
    # A host may look at the moment when another has what it wanted: it gets the rest with its next word.
    for host, answer in zip(hosts, answers, strict=True):
        if not answer.assignments and len(given) < len(runs):
            given += [item.name for item in (await host.sync()).assignments]
    assert sorted(name.rsplit("/attempts", 1)[0] for name in given) == sorted(run.name for run in runs)


async def test_a_run_that_nobody_takes_ends_with_every_host_and_why_not(running: Running, alpha: ScriptedHost) -> None:
    await alpha.register()
    run = await running.clients.create_run(selector=run_pb2.HostSelector(conditions=["gpu=h100"]))
    assert "no host matches yet" in run.reason
    running.clock.advance(3601)
    done = await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert done.outcome == measurement_pb2.OUTCOME_NO_ELIGIBLE_HOST
    assert "alpha: gpu=h100: the host has no gpu" in done.reason


async def test_an_attempt_that_the_collector_does_not_know_is_cancelled_and_not_an_error(
    running: Running, alpha: ScriptedHost
) -> None:
    await alpha.register()
    answer = await alpha.sync(agent_service_pb2.HeldAttempt(name="runs/77/attempts/88", epoch=1))
    assert answer.cancellations[0].name == "runs/77/attempts/88"
    closing = agent_service_pb2.HeldAttempt(name="runs/77/attempts/88", epoch=1, closing=True)
    assert not (await alpha.sync(closing)).cancellations
