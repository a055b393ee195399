"""RegressionService: findings and what people do about them."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.api import pages
from tesserabench.collector.api.actor import current_actor, require_project
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.enums import word
from tesserabench.collector.api.result_translation import regression_message
from tesserabench.collector.core import regressions
from tesserabench.collector.core.regressions import Cause
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.database import Database
from tesserabench.v1 import regression_service_pb2 as pb
from tesserabench.v1 import regression_service_pb2_grpc, run_pb2
from tesserabench.wire.names import parse_regression, parse_run


class RegressionService(regression_service_pb2_grpc.RegressionServiceServicer):
    """Serves people who look after findings."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def ListRegressions(  # noqa: N802 - named by the contract
        self,
        request: pb.ListRegressionsRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.ListRegressionsResponse:
        """Regressions, worst and newest first."""
        project = request.project or current_actor().project
        require_project(project)
        wanted = store.RegressionFilter(
            project=project,
            states=tuple(state for state in (word(pb.RegressionState, value) for value in request.states) if state),
            min_severity=word(run_pb2.Severity, request.min_severity),
            suite=request.suite,
            run_id=parse_run(request.run) if request.run else None,
        )
        position = pages.position(request, [int, int])
        size = pages.size_of(request)
        async with self._database.transaction() as session:
            after = (int(position[0]), int(position[1])) if position else None
            rows, more = pages.cut(await store.page(session, wanted, after=after, size=size + 1), size)
        token = pages.next_token(request, [store.rank(rows[-1][0].severity), rows[-1][0].id]) if more else ""
        return pb.ListRegressionsResponse(regressions=map(regression_message, rows), next_page_token=token)

    async def GetRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.GetRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """One regression with its history."""
        async with self._database.transaction() as session:
            return await self._read(session, parse_regression(request.name))

    async def AcknowledgeRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.AcknowledgeRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """Somebody has seen it."""
        regression_id = parse_regression(request.name)
        async with self._database.transaction() as session:
            cause = await self._cause(session, regression_id, request.comment)
            await regressions.acknowledge(session, regression_id, owner=request.owner, cause=cause)
            return await self._read(session, regression_id)

    async def IgnoreRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.IgnoreRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """It does not matter."""
        regression_id = parse_regression(request.name)
        async with self._database.transaction() as session:
            cause = await self._cause(session, regression_id, request.comment)
            await regressions.ignore(session, regression_id, cause=cause)
            return await self._read(session, regression_id)

    async def ResolveRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.ResolveRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """It is fixed or accepted."""
        regression_id = parse_regression(request.name)
        async with self._database.transaction() as session:
            cause = await self._cause(session, regression_id, request.comment)
            await regressions.resolve(session, regression_id, cause=cause)
            return await self._read(session, regression_id)

    async def ReopenRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.ReopenRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """It is open again after all."""
        regression_id = parse_regression(request.name)
        async with self._database.transaction() as session:
            cause = await self._cause(session, regression_id, request.comment)
            await regressions.reopen(session, regression_id, cause=cause)
            return await self._read(session, regression_id)

    async def _cause(self, session: AsyncSession, regression_id: int, comment: str) -> Cause:
        """The caller as the cause of a step, if the regression is one that the caller may touch."""
        actor = require_project((await regressions.get(session, regression_id))[3])
        return Cause(actor=actor.name, comment=comment, now=self._clock())

    async def _read(self, session: AsyncSession, regression_id: int) -> pb.Regression:
        await session.flush()
        row = await regressions.get(session, regression_id)
        require_project(row[3])
        return regression_message(row, await store.events(session, regression_id))
