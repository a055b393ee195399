"""Two collectors on one database: any of them answers anybody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio
from support.embedded_collector import Running, ScriptedHost, running_collector
from support.waiting import wait_until_async
from tesserabench.v1 import run_pb2, run_service_pb2, schedule_service_pb2


@pytest_asyncio.fixture
async def replicas(database_dsn: str, tmp_path: Path) -> AsyncIterator[tuple[Running, Running]]:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running_collector(database_dsn, tmp_path / "a"))
        second = await stack.enter_async_context(running_collector(database_dsn, tmp_path / "b"))
        yield first, second


async def test_a_run_asked_for_at_one_wakes_a_host_that_polls_the_other(replicas: tuple[Running, Running]) -> None:
    here, there = replicas
    alpha = ScriptedHost(clients=here.clients, name="alpha")
    await alpha.register()
    poll = asyncio.ensure_future(alpha.sync(max_wait=10.0))
    await asyncio.sleep(0)
    run = await there.clients.create_run()
    async with asyncio.timeout(4):
        answer = await poll
    assert answer.assignments[0].name.startswith(run.name)


async def test_a_host_may_go_on_with_another_replica_and_a_watcher_sees_it(replicas: tuple[Running, Running]) -> None:
    here, there = replicas
    alpha = ScriptedHost(clients=here.clients, name="alpha")
    await alpha.register()
    run = await here.clients.create_run()
    held = await alpha.take()
    watch = here.clients.runs.WatchRun(run_service_pb2.WatchRunRequest(name=run.name), timeout=30)
    await watch.read()
    moved = ScriptedHost(clients=there.clients, name="alpha")
    assert not (await moved.sync(held)).superseded
    await moved.finish(held)

    async def finished() -> bool:
        answer = await watch.read()
        assert isinstance(answer, run_service_pb2.WatchRunResponse), answer
        return answer.run.state == run_pb2.RUN_STATE_FINISHED

    await wait_until_async(finished, seconds=20, what="the watcher to see the end")


async def test_time_is_kept_once_whoever_keeps_it(replicas: tuple[Running, Running]) -> None:
    here, there = replicas
    alpha = ScriptedHost(clients=here.clients, name="alpha")
    await alpha.register()
    runs = [await here.clients.create_run() for _ in range(3)]
    await alpha.sync()
    for replica in replicas:
        replica.clock.advance(21)

    async def withdrawn() -> bool:
        return (await there.clients.run(runs[0].name)).attempts[0].epoch == 2

    await wait_until_async(withdrawn, seconds=10, what="the offer to be withdrawn")
    for replica in replicas:
        replica.clock.advance(3600)
    for run in runs:
        done = await there.clients.wait_for(run.name, run_pb2.RUN_STATE_FINISHED)
        assert done.attempts[0].epoch <= 2


async def test_a_schedule_that_is_due_gives_one_run(replicas: tuple[Running, Running]) -> None:
    here, there = replicas
    schedule = schedule_service_pb2.Schedule(
        name="projects/default/schedules/often", spec=run_pb2.RunSpec(suite="core", device="simulated")
    )
    schedule.interval.seconds = 60
    request = schedule_service_pb2.CreateScheduleRequest(schedule=schedule)
    await here.clients.schedules.CreateSchedule(request, timeout=10)

    async def moved() -> bool:
        listed = await there.clients.schedules.ListSchedules(schedule_service_pb2.ListSchedulesRequest(), timeout=10)
        return bool(listed.schedules[0].last_run)

    await wait_until_async(moved, seconds=10, what="the schedule's first run")
    runs = await there.clients.runs.ListRuns(run_service_pb2.ListRunsRequest(), timeout=10)
    assert len(runs.runs) == 1
