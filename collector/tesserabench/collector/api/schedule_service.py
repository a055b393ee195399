"""ScheduleService: runs that are asked for again and again."""

from collections.abc import Callable
from datetime import datetime

from tesserabench.collector.api import pages
from tesserabench.collector.api.actor import require_project
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.translation import (
    duration,
    from_json,
    gate_of,
    revision_of,
    spec_of,
    timestamp,
)
from tesserabench.collector.core import schedules
from tesserabench.collector.store import schedules as store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.projects import DEFAULT_PROJECT
from tesserabench.collector.store.tables import Schedule
from tesserabench.v1 import run_pb2, schedule_service_pb2, schedule_service_pb2_grpc
from tesserabench.wire.names import parse_schedule, run_name, schedule_name


class ScheduleService(schedule_service_pb2_grpc.ScheduleServiceServicer):
    """Serves people who measure again and again."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def CreateSchedule(  # noqa: N802 - named by the contract
        self,
        request: schedule_service_pb2.CreateScheduleRequest,
        context: Context,  # noqa: ARG002
    ) -> schedule_service_pb2.Schedule:
        """Create a schedule."""
        asked = request.schedule
        name = parse_schedule(asked.name)
        actor = require_project(name.project)
        new = schedules.NewSchedule(
            project=name.project,
            name=name.id,
            spec=spec_of(asked.spec),
            interval_seconds=asked.interval.ToMicroseconds() / 1e6,
            revision=revision_of(asked.revision),
            gate=gate_of(asked.gate),
            labels=dict(asked.labels),
            paused=asked.paused,
            identical=asked.identical,
        )
        async with self._database.transaction() as session:
            schedule = await schedules.create(session, new, actor=actor.name, now=self._clock())
            return _message(schedule, name.project)

    async def ListSchedules(  # noqa: N802 - named by the contract
        self,
        request: schedule_service_pb2.ListSchedulesRequest,
        context: Context,  # noqa: ARG002
    ) -> schedule_service_pb2.ListSchedulesResponse:
        """A project's schedules by name."""
        project = request.project or DEFAULT_PROJECT
        require_project(project)
        position = pages.position(request, [str])
        size = pages.size_of(request)
        async with self._database.transaction() as session:
            found = await store.page(session, project, after=str(position[0]) if position else "", size=size + 1)
        rows, more = pages.cut(found, size)
        token = pages.next_token(request, [rows[-1].name]) if more else ""
        messages = [_message(row, project) for row in rows]
        return schedule_service_pb2.ListSchedulesResponse(schedules=messages, next_page_token=token)

    async def PauseSchedule(  # noqa: N802 - named by the contract
        self,
        request: schedule_service_pb2.PauseScheduleRequest,
        context: Context,  # noqa: ARG002
    ) -> schedule_service_pb2.Schedule:
        """Stop a schedule until it is resumed."""
        return await self._pause(request.name, paused=True)

    async def ResumeSchedule(  # noqa: N802 - named by the contract
        self,
        request: schedule_service_pb2.ResumeScheduleRequest,
        context: Context,  # noqa: ARG002
    ) -> schedule_service_pb2.Schedule:
        """Let a paused schedule go on from now."""
        return await self._pause(request.name, paused=False)

    async def DeleteSchedule(  # noqa: N802 - named by the contract
        self,
        request: schedule_service_pb2.DeleteScheduleRequest,
        context: Context,  # noqa: ARG002
    ) -> schedule_service_pb2.DeleteScheduleResponse:
        """Remove a schedule."""
        name = parse_schedule(request.name)
        actor = require_project(name.project)
        async with self._database.transaction() as session:
            await schedules.delete(session, name.project, name.id, actor=actor.name)
        return schedule_service_pb2.DeleteScheduleResponse()

    async def _pause(self, resource: str, *, paused: bool) -> schedule_service_pb2.Schedule:
        name = parse_schedule(resource)
        actor = require_project(name.project)
        async with self._database.transaction() as session:
            schedule = await schedules.pause(
                session, name.project, name.id, paused=paused, actor=actor.name, now=self._clock()
            )
            return _message(schedule, name.project)


def _message(schedule: Schedule, project: str) -> schedule_service_pb2.Schedule:
    return schedule_service_pb2.Schedule(
        name=schedule_name(project, schedule.name),
        spec=from_json(schedule.spec, run_pb2.RunSpec()),
        revision=from_json(schedule.revision, run_pb2.Revision()),
        gate=from_json(schedule.gate, run_pb2.GateSpec()),
        interval=duration(schedule.interval_seconds),
        paused=schedule.paused,
        next_time=timestamp(schedule.next_at),
        last_run=run_name(schedule.last_run_id) if schedule.last_run_id is not None else "",
        last_success_time=timestamp(schedule.last_success_at),
        labels=schedule.labels,
        identical=schedule.identical,
    )
