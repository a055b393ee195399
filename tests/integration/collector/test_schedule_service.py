"""Schedules against a running collector."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from support.embedded_collector import Running, ScriptedHost, reason_of
from support.waiting import wait_until_async
from tesserabench.v1 import run_pb2, run_service_pb2, schedule_service_pb2

NIGHTLY = "projects/default/schedules/nightly"


async def create(running: Running, name: str = NIGHTLY, seconds: int = 3600) -> schedule_service_pb2.Schedule:
    schedule = schedule_service_pb2.Schedule(
        name=name,
        spec=run_pb2.RunSpec(suite="core", device="simulated"),
        revision=run_pb2.Revision(branch="main"),
        interval=Duration(seconds=seconds),
        labels={"kind": "nightly"},
    )
    request = schedule_service_pb2.CreateScheduleRequest(schedule=schedule)
    created: schedule_service_pb2.Schedule = await running.clients.schedules.CreateSchedule(request, timeout=10)
    return created


async def runs(running: Running) -> list[run_pb2.Run]:
    answer = await running.clients.runs.ListRuns(run_service_pb2.ListRunsRequest(), timeout=10)
    return list(answer.runs)


async def wait_for_runs(running: Running, count: int) -> list[run_pb2.Run]:
    async def enough() -> list[run_pb2.Run]:
        found = await runs(running)
        return found if len(found) >= count else []

    found = await wait_until_async(enough, seconds=15, what=f"{count} runs of the schedule")
    assert len(found) == count
    return found


async def the_schedule(running: Running) -> schedule_service_pb2.Schedule:
    answer = await running.clients.schedules.ListSchedules(schedule_service_pb2.ListSchedulesRequest(), timeout=10)
    schedule: schedule_service_pb2.Schedule = answer.schedules[0]
    return schedule


async def cancel(running: Running, run: run_pb2.Run) -> None:
    await running.clients.runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name), timeout=10)


async def test_a_schedule_starts_its_first_run_at_once_and_then_keeps_to_its_grid(running: Running) -> None:
    created = await create(running)
    (run,) = await wait_for_runs(running, 1)
    assert (run.trigger, run.requested_by.name) == (run_pb2.TRIGGER_KIND_SCHEDULE, "collector")
    assert (run.revision.branch, dict(run.labels)) == ("main", {"kind": "nightly"})
    shown = await the_schedule(running)
    assert shown.last_run == run.name
    assert shown.next_time.ToSeconds() == created.next_time.ToSeconds() + 3600
    await cancel(running, run)
    running.clock.advance(3600)
    assert (await wait_for_runs(running, 2))[0].name != run.name


async def test_missed_times_give_one_run_and_not_many(running: Running) -> None:
    await create(running)
    (run,) = await wait_for_runs(running, 1)
    await cancel(running, run)
    running.clock.advance(5 * 3600 + 60)
    await wait_for_runs(running, 2)
    following = (await the_schedule(running)).next_time.ToDatetime(tzinfo=running.clock().tzinfo)
    assert 0 < (following - running.clock()).total_seconds() <= 3600


async def test_a_schedule_is_passed_over_while_its_last_run_goes_on(running: Running) -> None:
    before = await create(running, seconds=600)
    await wait_for_runs(running, 1)
    running.clock.advance(601)

    async def moved() -> bool:
        return (await the_schedule(running)).next_time.ToSeconds() > before.next_time.ToSeconds() + 600

    await wait_until_async(moved, seconds=15, what="the schedule to move on")
    assert len(await runs(running)) == 1


async def test_a_run_that_ended_well_is_the_schedules_last_success(running: Running) -> None:
    alpha = ScriptedHost(clients=running.clients, name="alpha")
    await alpha.register()
    await create(running)
    (run,) = await wait_for_runs(running, 1)
    assert not (await the_schedule(running)).HasField("last_success_time")
    await alpha.finish(await alpha.take())
    await running.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
    assert (await the_schedule(running)).HasField("last_success_time")


async def test_a_paused_schedule_starts_nothing_until_it_is_resumed(running: Running) -> None:
    await create(running)
    (run,) = await wait_for_runs(running, 1)
    await cancel(running, run)
    paused = await running.clients.schedules.PauseSchedule(
        schedule_service_pb2.PauseScheduleRequest(name=NIGHTLY), timeout=10
    )
    assert paused.paused
    running.clock.advance(2 * 3600)
    resumed = await running.clients.schedules.ResumeSchedule(
        schedule_service_pb2.ResumeScheduleRequest(name=NIGHTLY), timeout=10
    )
    assert not resumed.paused
    assert resumed.next_time.ToDatetime(tzinfo=running.clock().tzinfo) > running.clock()
    assert len(await runs(running)) == 1
    running.clock.advance(3600)
    await wait_for_runs(running, 2)


async def test_a_schedule_is_deleted_and_its_runs_stay(running: Running) -> None:
    await create(running)
    await wait_for_runs(running, 1)
    await running.clients.schedules.DeleteSchedule(schedule_service_pb2.DeleteScheduleRequest(name=NIGHTLY), timeout=10)
    answer = await running.clients.schedules.ListSchedules(schedule_service_pb2.ListSchedulesRequest(), timeout=10)
    assert not answer.schedules
    assert len(await runs(running)) == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.clients.schedules.DeleteSchedule(
            schedule_service_pb2.DeleteScheduleRequest(name=NIGHTLY), timeout=10
        )
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.NOT_FOUND, "SCHEDULE_NOT_FOUND")


async def test_a_taken_name_and_a_short_interval_are_refused(running: Running) -> None:
    await create(running)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await create(running)
    assert (caught.value.code(), reason_of(caught.value)) == (grpc.StatusCode.ALREADY_EXISTS, "SCHEDULE_EXISTS")
    with pytest.raises(grpc.aio.AioRpcError, match=r"schedule\.interval: '59s': give 60 s"):
        await create(running, name="projects/default/schedules/often", seconds=59)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (run_pb2.RunSpec(suite="core", drill={"copy": 1.1}), "drill"),
        (run_pb2.RunSpec(suite="core", duet=run_pb2.Duet()), "duet"),
    ],
)
async def test_the_same_code_twice_is_neither_slowed_nor_of_two_arms(
    running: Running, spec: run_pb2.RunSpec, field: str
) -> None:
    schedule = schedule_service_pb2.Schedule(name=NIGHTLY, spec=spec, identical=True)
    schedule.interval.FromSeconds(3600)
    request = schedule_service_pb2.CreateScheduleRequest(schedule=schedule)
    with pytest.raises(grpc.aio.AioRpcError, match=rf"schedule\.spec\.{field}.*leave this or schedule\.identical out"):
        await running.clients.schedules.CreateSchedule(request, timeout=10)


async def test_schedules_are_listed_in_pages(running: Running) -> None:
    for name in ("b", "a", "c"):
        await create(running, name=f"projects/kernels/schedules/{name}")
    request = schedule_service_pb2.ListSchedulesRequest(project="kernels", page_size=2)
    page = await running.clients.schedules.ListSchedules(request, timeout=10)
    assert [item.name[-1] for item in page.schedules] == ["a", "b"]
    request.page_token = page.next_page_token
    page = await running.clients.schedules.ListSchedules(request, timeout=10)
    assert ([item.name[-1] for item in page.schedules], page.next_page_token) == (["c"], "")
