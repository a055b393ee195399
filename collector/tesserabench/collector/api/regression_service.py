"""RegressionService: findings and what people do about them."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.api import pages
from tesserabench.collector.api.actor import current_actor, require_all_projects, require_project
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.enums import word
from tesserabench.collector.api.regression_translation import (
    device_alone,
    regression_message,
    whole_regression_message,
)
from tesserabench.collector.api.score_translation import score_message
from tesserabench.collector.api.translation import moment
from tesserabench.collector.core import detector_score, regressions, triage
from tesserabench.collector.core.actors import Actor
from tesserabench.collector.core.regressions import Act
from tesserabench.collector.core.remarks import one_line
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.words import FindingKind
from tesserabench.v1 import comparison_pb2, regression_service_pb2_grpc, run_pb2
from tesserabench.v1 import regression_service_pb2 as pb
from tesserabench.wire.names import parse_regression, parse_run, regression_name

_Change = Callable[[AsyncSession, int, Act], Awaitable[None]]
"""Does something to a finding, by its id, as somebody."""


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
        """Findings, worst and newest first."""
        wanted = _wanted(request)
        position = pages.position(request, [int, int])
        size = pages.size_of(request)
        async with self._database.transaction() as session:
            after = (int(position[0]), int(position[1])) if position else None
            rows, more = pages.cut(await store.page(session, wanted, after=after, size=size + 1), size)
            counts = await store.member_counts(session, [row[0].id for row in rows])
        token = pages.next_token(request, [store.rank(rows[-1][0].severity), rows[-1][0].id]) if more else ""
        messages = [_seen(row, regression_message(row, member_count=counts.get(row[0].id, 0))) for row in rows]
        return pb.ListRegressionsResponse(regressions=messages, next_page_token=token)

    async def GetRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.GetRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """One finding with its history and its series."""
        async with self._database.transaction() as session:
            return await self._read(session, parse_regression(request.name))

    async def AcknowledgeRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.AcknowledgeRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """Somebody has seen it."""

        async def change(session: AsyncSession, number: int, act: Act) -> None:
            await triage.acknowledge(session, number, owner=one_line(request.owner), act=act)

        return await self._change(request.name, request.comment, change)

    async def AssignRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.AssignRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """Somebody is to look after it."""

        async def change(session: AsyncSession, number: int, act: Act) -> None:
            await triage.assign(session, number, owner=one_line(request.owner), act=act)

        return await self._change(request.name, request.comment, change)

    async def IgnoreRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.IgnoreRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """It does not matter, for good or until some time."""

        async def change(session: AsyncSession, number: int, act: Act) -> None:
            await triage.ignore(session, number, until=moment(request, "until"), act=act)

        return await self._change(request.name, request.comment, change)

    async def ResolveRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.ResolveRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """It is answered."""

        async def change(session: AsyncSession, number: int, act: Act) -> None:
            resolution = word(pb.Resolution, request.resolution) or "fixed"
            other = parse_regression(request.duplicate_of) if request.duplicate_of else None
            await triage.resolve(session, number, resolution=resolution, duplicate_of=other, act=act)

        return await self._change(request.name, request.comment, change)

    async def AcceptRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.AcceptRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """The new level is wanted."""

        async def change(session: AsyncSession, number: int, act: Act) -> None:
            await triage.accept(session, number, act=act)

        return await self._change(request.name, request.comment, change)

    async def ReopenRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.ReopenRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """It is open again after all."""

        async def change(session: AsyncSession, number: int, act: Act) -> None:
            await triage.reopen(session, number, act=act)

        return await self._change(request.name, request.comment, change)

    async def CommentRegression(  # noqa: N802 - named by the contract
        self,
        request: pb.CommentRegressionRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """Write something down."""

        async def change(session: AsyncSession, number: int, act: Act) -> None:
            await triage.comment(session, number, act=act)

        return await self._change(request.name, request.comment, change)

    async def GiveRegressionFeedback(  # noqa: N802 - named by the contract
        self,
        request: pb.GiveRegressionFeedbackRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Regression:
        """Say whether the detector was right."""

        async def change(session: AsyncSession, number: int, act: Act) -> None:
            await triage.feedback(session, number, right=request.right, act=act)

        return await self._change(request.name, request.comment, change)

    async def GetDetectorScore(  # noqa: N802 - named by the contract
        self,
        request: pb.GetDetectorScoreRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.DetectorScore:
        """How right the detector has been."""
        project = request.project or current_actor().project
        require_project(project)
        given = timedelta(microseconds=request.window.ToMicroseconds()) if request.HasField("window") else None
        async with self._database.transaction() as session:
            return score_message(await detector_score.read(session, project, self._clock(), window=given))

    async def _change(self, name: str, comment: str, change: _Change) -> pb.Regression:
        """Let the caller do something to a finding, if it is one that the caller may touch; gives it as it is then."""
        regression_id = parse_regression(name)
        async with self._database.transaction() as session:
            actor = _require_touched(await _find(session, regression_id))
            await change(session, regression_id, Act(actor=actor.name, comment=one_line(comment), now=self._clock()))
            return await self._read(session, regression_id)

    async def _read(self, session: AsyncSession, regression_id: int) -> pb.Regression:
        await session.flush()
        row = await _find(session, regression_id)
        events = await store.events(session, regression_id)
        return _seen(row, whole_regression_message(row, events, await store.members(session, regression_id)))


async def _find(session: AsyncSession, regression_id: int) -> store.RegressionRow:
    """A finding that the caller may see: one of its project, or about a device that its project measured on.

    Raises:
        NotFoundError: there is none, or not for this caller, who learns no more than that.
    """
    row = await regressions.get(session, regression_id)
    actor = current_actor()
    if actor.may_use_project(row[3]) or await store.may_see(session, [regression_id], actor.project):
        return row
    raise regressions.missing(regression_id)


def _require_touched(row: store.RegressionRow) -> Actor:
    """The caller, if it may answer a finding that it may see.

    Raises:
        PermissionDeniedError: it is about a device, which is not one project's alone.
    """
    if row[0].kind == FindingKind.SLOW_DEVICE:
        return require_all_projects(f"{regression_name(row[0].id)} is about a device that every project may use")
    return current_actor()


def _seen(row: store.RegressionRow, message: pb.Regression) -> pb.Regression:
    """A finding as the caller may see it: of one that another project's runs showed, what it says of the device."""
    return message if current_actor().may_use_project(row[3]) else device_alone(message)


def _wanted(request: pb.ListRegressionsRequest) -> store.RegressionFilter:
    project = request.project or current_actor().project
    require_project(project)
    return store.RegressionFilter(
        project=project,
        states=_words(pb.RegressionState, request.states),
        kinds=_words(pb.FindingKind, request.kinds),
        causes=_words(comparison_pb2.CauseKind, request.causes),
        min_severity=word(run_pb2.Severity, request.min_severity),
        suite=request.suite,
        owner=request.owner,
        subject=request.subject,
        run_id=parse_run(request.run) if request.run else None,
    )


def _words(enum: object, values: Iterable[int]) -> tuple[str, ...]:
    return tuple(found for found in (word(enum, value) for value in values) if found)
