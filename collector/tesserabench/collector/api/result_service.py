"""ResultService: results of runs, and comparisons."""

from sqlalchemy.exc import DataError
from tesserabench.collector.api import pages
from tesserabench.collector.api.actor import require_project
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.result_translation import result_message
from tesserabench.collector.api.translation import from_json
from tesserabench.collector.core import runs
from tesserabench.collector.core.comparing import compare_references
from tesserabench.collector.core.judging import Judging
from tesserabench.collector.errors import FailedPreconditionError, invalid_field
from tesserabench.collector.store import comparisons as comparison_store
from tesserabench.collector.store import results as store
from tesserabench.collector.store.projects import DEFAULT_PROJECT
from tesserabench.collector.store.results import PAGE_KEY, ResultRow
from tesserabench.collector.store.words import RunState
from tesserabench.v1 import comparison_pb2, result_service_pb2, result_service_pb2_grpc
from tesserabench.wire import MAX_MESSAGE_BYTES
from tesserabench.wire.names import parse_run, run_name
from tesserabench.wire.reasons import Reason

_DEFAULT_PAGE = 200
_LARGEST_PAGE_WITH_SAMPLES = 100
_LARGEST_ANSWER_BYTES = MAX_MESSAGE_BYTES // 2


class ResultService(result_service_pb2_grpc.ResultServiceServicer):
    """Serves people who look at numbers."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging
        self._database = judging.database

    async def ListResults(  # noqa: N802 - named by the contract
        self,
        request: result_service_pb2.ListResultsRequest,
        context: Context,  # noqa: ARG002
    ) -> result_service_pb2.ListResultsResponse:
        """What the cases of a run gave, by case, host and trial."""
        run_id = parse_run(request.run)
        after = pages.position(request, [str, str, int, int, int, int])
        size = pages.size_of(request, _DEFAULT_PAGE)
        if request.with_samples:
            size = min(size, _LARGEST_PAGE_WITH_SAMPLES)
        async with self._database.transaction() as session:
            require_project((await runs.view(session, run_id)).project)
            try:
                found = await store.page(session, run_id, pattern=request.case_pattern, after=after, size=size + 1)
            except DataError as error:
                reason = str(error.orig).splitlines()[0]
                remedy = f"not a regular expression ({reason}); escape what is meant literally"
                raise invalid_field("case_pattern", request.case_pattern, remedy) from None
            rows, more = pages.cut(found, size)
            records = [(row[0].attempt_id, row[0].epoch, row[0].sequence) for row in rows]
            measured = await store.measurements_of(session, records, with_samples=request.with_samples)
        answer = result_service_pb2.ListResultsResponse()
        told_bytes = 0
        for row, record in zip(rows, records, strict=True):
            message = result_message(row, measured.get(record, ()), with_samples=request.with_samples)
            told_bytes += message.ByteSize()
            if answer.results and told_bytes > _LARGEST_ANSWER_BYTES:
                more = True
                break
            answer.results.append(message)
        if more:
            answer.next_page_token = pages.next_token(request, _page_key(rows[len(answer.results) - 1]))
        return answer

    async def Compare(  # noqa: N802 - named by the contract
        self,
        request: result_service_pb2.CompareRequest,
        context: Context,  # noqa: ARG002
    ) -> comparison_pb2.Comparison:
        """Compare two runs, commits, branches or baselines."""
        name = request.project or DEFAULT_PROJECT
        require_project(name)
        content = await compare_references(self._judging, name, request.base, request.head, suite=request.suite)
        return from_json(content, comparison_pb2.Comparison())

    async def GetRunComparison(  # noqa: N802 - named by the contract
        self,
        request: result_service_pb2.GetRunComparisonRequest,
        context: Context,  # noqa: ARG002
    ) -> comparison_pb2.Comparison:
        """The comparison that decided a run's verdict."""
        run_id = parse_run(request.run)
        async with self._database.transaction() as session:
            view = await runs.view(session, run_id)
            require_project(view.project)
            found = await comparison_store.find(session, run_id)
        if view.run.state != RunState.FINISHED:
            message = f"{run_name(run_id)} is {view.run.state} and has no verdict yet; wait until it has finished"
            raise FailedPreconditionError(message, reason=Reason.RUN_PENDING)
        if found is None or view.run.verdict is None:
            why = "it confirms another run" if view.run.parent_id and not view.run.verdict else "nothing was to judge"
            message = (
                f"{run_name(run_id)} ended with {view.run.outcome} and was never judged: {why}; compare it yourself"
            )
            raise FailedPreconditionError(message, reason=Reason.RUN_FINISHED)
        return from_json(found.content, comparison_pb2.Comparison())


def _page_key(row: ResultRow) -> list[pages.Key]:
    return [getattr(row[0], column.key) for column in PAGE_KEY]
