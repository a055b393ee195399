"""BaselineService: what runs are compared with."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.api import pages
from tesserabench.collector.api.actor import require_project
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.result_translation import baseline_message
from tesserabench.collector.core import baselines, runs
from tesserabench.collector.core.baselines import Change
from tesserabench.collector.errors import NotFoundError
from tesserabench.collector.store import baselines as store
from tesserabench.collector.store import projects, references
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.projects import DEFAULT_PROJECT
from tesserabench.collector.store.tables import Baseline, Project
from tesserabench.v1 import baseline_service_pb2 as pb
from tesserabench.v1 import baseline_service_pb2_grpc
from tesserabench.wire.names import parse_baseline, parse_run
from tesserabench.wire.reasons import Reason


class BaselineService(baseline_service_pb2_grpc.BaselineServiceServicer):
    """Serves people who decide what counts as normal."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def ListBaselines(  # noqa: N802 - named by the contract
        self,
        request: pb.ListBaselinesRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.ListBaselinesResponse:
        """A project's baselines by name."""
        project = request.project or DEFAULT_PROJECT
        require_project(project)
        position = pages.position(request, [str, str])
        after = (str(position[0]), str(position[1])) if position else None
        size = pages.size_of(request)
        async with self._database.transaction() as session:
            found = await store.page(session, project, suite=request.suite, after=after, size=size + 1)
        rows, more = pages.cut(found, size)
        token = pages.next_token(request, [rows[-1][0].name, rows[-1][0].suite]) if more else ""
        messages = [baseline_message(row, run, name) for row, run, name in rows]
        return pb.ListBaselinesResponse(baselines=messages, next_page_token=token)

    async def GetBaseline(  # noqa: N802 - named by the contract
        self,
        request: pb.GetBaselineRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Baseline:
        """One baseline."""
        name = parse_baseline(request.name)
        require_project(name.project)
        async with self._database.transaction() as session:
            project = await _project(session, name.project)
            return await _message(session, project, await baselines.get(session, project, name.id, request.suite))

    async def SetBaseline(  # noqa: N802 - named by the contract
        self,
        request: pb.SetBaselineRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Baseline:
        """Let a name point to a run."""
        name = parse_baseline(request.name)
        actor = require_project(name.project)
        run_id = parse_run(request.run)
        async with self._database.transaction() as session:
            project = await _project(session, name.project)
            run = await references.by_id(session, project.id, run_id)
            if run is None:
                raise runs.not_found(run_id)
            change = Change(actor=actor.name, comment=request.comment, now=self._clock())
            row = await baselines.put(session, project, name.id, run, pin=request.pin, change=change)
            return await _message(session, project, row)

    async def PinBaseline(  # noqa: N802 - named by the contract
        self,
        request: pb.PinBaselineRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Baseline:
        """Protect a baseline from being moved."""
        return await self._pin(request.name, request.suite, pinned=True, comment=request.comment)

    async def UnpinBaseline(  # noqa: N802 - named by the contract
        self,
        request: pb.UnpinBaselineRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Baseline:
        """Let a baseline move again."""
        return await self._pin(request.name, request.suite, pinned=False, comment="")

    async def _pin(self, full_name: str, suite: str, *, pinned: bool, comment: str) -> pb.Baseline:
        name = parse_baseline(full_name)
        actor = require_project(name.project)
        async with self._database.transaction() as session:
            project = await _project(session, name.project)
            row = await baselines.get(session, project, name.id, suite)
            change = Change(actor=actor.name, comment=comment, now=self._clock())
            await baselines.pin(session, project, row, pinned=pinned, change=change)
            return await _message(session, project, row)


async def _project(session: AsyncSession, name: str) -> Project:
    project = await projects.find(session, name)
    if project is None:
        message = f"project {name!r} has no baselines yet; trigger a run in it first"
        raise NotFoundError(message, reason=Reason.BASELINE_NOT_FOUND)
    return project


async def _message(session: AsyncSession, project: Project, row: Baseline) -> pb.Baseline:
    run = await references.by_id(session, project.id, row.run_id)
    assert run is not None
    return baseline_message(row, run, project.name)
