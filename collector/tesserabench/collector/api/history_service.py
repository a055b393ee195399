"""HistoryService: what was measured over time, and where it changed."""

from tesserabench.collector.api import pages
from tesserabench.collector.api.actor import require_project, require_seen
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.enums import word
from tesserabench.collector.api.history_translation import history_message, series_message
from tesserabench.collector.api.translation import moment
from tesserabench.collector.core import series_history
from tesserabench.collector.store import history_pages as store
from tesserabench.collector.store import projects
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.projects import DEFAULT_PROJECT
from tesserabench.v1 import history_service_pb2 as pb
from tesserabench.v1 import history_service_pb2_grpc, measurement_pb2
from tesserabench.wire.names import parse_series

_POINTS = 500


class HistoryService(history_service_pb2_grpc.HistoryServiceServicer):
    """Serves people who look back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ListSeries(  # noqa: N802 - named by the contract
        self,
        request: pb.ListSeriesRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.ListSeriesResponse:
        """Series by case, primary metrics first."""
        name = request.project or DEFAULT_PROJECT
        require_project(name)
        position = pages.position(request, [str, int, int])
        after = (str(position[0]), int(position[1]), int(position[2])) if position else None
        size = pages.size_of(request)
        async with self._database.transaction() as session:
            project = await projects.find(session, name)
            if project is None:
                return pb.ListSeriesResponse()
            wanted = store.SeriesFilter(
                project=name,
                line=series_history.line_of(request.branch, project),
                suite=request.suite,
                benchmark=request.benchmark,
                metric=request.metric,
                mode=word(measurement_pb2.TimingMode, request.mode),
                device=request.device,
                state=word(pb.SeriesState, request.state),
                primary_only=request.primary_only,
            )
            rows, more = pages.cut(await store.page(session, wanted, after=after, size=size + 1), size)
            series = [series_message(row[0], row[1], row[2]) for row in rows]
        token = pages.next_token(request, store.place(rows[-1][0])) if more else ""
        return pb.ListSeriesResponse(series=series, next_page_token=token)

    async def GetHistory(  # noqa: N802 - named by the contract
        self,
        request: pb.GetHistoryRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.History:
        """Points of a series, oldest first, with what was found in them."""
        position = pages.position(request, [int])
        size = pages.size_of(request, _POINTS)
        window = store.Window(
            since=moment(request, "start_time"),
            after=int(position[0]) if position else None,
            size=size + 1,
        )
        series_id = parse_series(request.name)
        async with self._database.transaction() as session:
            _, project = await series_history.find(session, series_id)
            require_seen(project.name, series_history.missing(series_id))
            history = await series_history.read(session, series_id, request.branch, window)
            points, more = pages.cut(history.points, size)
            token = pages.next_token(request, [points[-1][0].run_id]) if more else ""
            message = history_message(history, token=token)
        del message.points[size:]
        return message
