"""Runs that are asked for again and again, on a grid of an interval that begins when the schedule is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import audit, planning, runs
from tesserabench.collector.core.actors import COLLECTOR
from tesserabench.collector.core.runs import NewRun
from tesserabench.collector.core.spec import GateSpec, Revision, RunSpec
from tesserabench.collector.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    invalid_field,
)
from tesserabench.collector.store import projects as project_store
from tesserabench.collector.store import schedules as store
from tesserabench.collector.store.tables import Schedule
from tesserabench.collector.store.words import IdenticalRun, TriggerKind
from tesserabench.wire.names import schedule_name
from tesserabench.wire.reasons import Reason

SHORTEST_INTERVAL_SECONDS = 60
LONGEST_INTERVAL_SECONDS = 366 * 86_400

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule to create."""

    project: str
    name: str
    spec: RunSpec
    interval_seconds: float
    revision: Revision = field(default_factory=Revision)
    gate: GateSpec = field(default_factory=GateSpec)
    labels: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False
    identical: bool = False
    """Every time it measures the same code twice and counts what the gate says wrongly."""


def next_on_grid(anchor: datetime, interval_seconds: int, now: datetime) -> datetime:
    """The first time of the grid that lies after now: what was missed in between is not made up for."""
    passed = (now - anchor) // timedelta(seconds=interval_seconds)
    return anchor + timedelta(seconds=interval_seconds) * (max(passed, -1) + 1)


async def create(session: AsyncSession, request: NewSchedule, *, actor: str, now: datetime) -> Schedule:
    """A new schedule, whose first run is due at once.

    Raises:
        InvalidArgumentError: something in the request is wrong; names field, value and remedy.
        AlreadyExistsError: the project has a schedule of this name.
    """
    interval = round(request.interval_seconds)
    if not SHORTEST_INTERVAL_SECONDS <= request.interval_seconds <= LONGEST_INTERVAL_SECONDS:
        raise invalid_field("schedule.interval", f"{request.interval_seconds:g}s", "give 60 s to 366 days")
    if request.identical:
        runs.require_plain(request.spec, within="schedule.")
    await planning.plan(session, request.spec)
    project = await project_store.get_or_create(session, request.project)
    if await store.find(session, request.project, request.name) is not None:
        message = f"{schedule_name(request.project, request.name)} exists; delete it first, or choose another name"
        raise AlreadyExistsError(message, reason=Reason.SCHEDULE_EXISTS)
    schedule = Schedule(
        project_id=project.id,
        name=request.name,
        spec=request.spec.to_json(),
        revision=request.revision.to_json(),
        gate=request.gate.to_json(),
        labels=dict(request.labels),
        interval_seconds=interval,
        paused=request.paused,
        identical=request.identical,
        next_at=now,
        created_at=now,
        created_by=actor,
    )
    session.add(schedule)
    resource = schedule_name(request.project, request.name)
    await audit.record(session, actor, "schedule.created", resource, {"interval_seconds": interval})
    return schedule


async def get(session: AsyncSession, project: str, name: str, *, lock: bool = False) -> Schedule:
    """A project's schedule.

    Raises:
        NotFoundError: it has none of this name.
    """
    schedule = await store.find(session, project, name, lock=lock)
    if schedule is None:
        message = f"{schedule_name(project, name)} does not exist; list the schedules to find its name"
        raise NotFoundError(message, reason=Reason.SCHEDULE_NOT_FOUND)
    return schedule


async def pause(session: AsyncSession, project: str, name: str, *, paused: bool, actor: str, now: datetime) -> Schedule:
    """Stop a schedule, or let it go on with the next time of its grid; harmless when it is so already.

    Raises:
        NotFoundError: there is no such schedule.
    """
    schedule = await get(session, project, name, lock=True)
    if schedule.paused == paused:
        return schedule
    schedule.paused = paused
    if not paused:
        schedule.next_at = next_on_grid(schedule.created_at, schedule.interval_seconds, now)
    action = "schedule.paused" if paused else "schedule.resumed"
    await audit.record(session, actor, action, schedule_name(project, name))
    return schedule


async def delete(session: AsyncSession, project: str, name: str, *, actor: str) -> None:
    """Remove a schedule; its runs stay.

    Raises:
        NotFoundError: there is no such schedule.
    """
    schedule = await get(session, project, name, lock=True)
    await session.delete(schedule)
    await audit.record(session, actor, "schedule.deleted", schedule_name(project, name))


async def start_due(session: AsyncSession, now: datetime) -> bool:
    """Create the run of one schedule that is due, if there is one; false when none is.

    A schedule whose last run has not ended is passed over, so that runs never pile up behind a slow or absent host.
    """
    found = await store.lock_due(session, now)
    if found is None:
        return False
    schedule, project = found
    due_at = schedule.next_at
    schedule.next_at = next_on_grid(schedule.created_at, schedule.interval_seconds, now)
    resource = schedule_name(project, schedule.name)
    if await store.last_run_goes_on(session, schedule):
        _log.warning("schedule.passed_over", schedule=resource, run=schedule.last_run_id)
        return True
    request = NewRun(
        project=project,
        spec=RunSpec.from_json(schedule.spec),
        revision=Revision.from_json(schedule.revision),
        gate=GateSpec.from_json(schedule.gate),
        labels=dict(schedule.labels),
        trigger=TriggerKind.SCHEDULE,
        request_id=f"schedule/{schedule.id}/{due_at.isoformat()}",
        schedule_id=schedule.id,
        identical=IdenticalRun.FIRST if schedule.identical else IdenticalRun.NEITHER,
    )
    try:
        run = await runs.create(session, request, actor=COLLECTOR, now=now)
    except InvalidArgumentError as error:
        # Its suite is gone, say. The next time may be better, and ScheduleMissed tells people meanwhile.
        await audit.record(session, COLLECTOR, "schedule.failed", resource, {"reason": error.message})
        _log.exception("schedule.failed", schedule=resource)
        return True
    schedule.last_run_id = run.id
    return True
