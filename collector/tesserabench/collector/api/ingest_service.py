"""IngestService: the upload of an attempt's log. Each batch is answered when its records are committed."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
from tesserabench.collector.api.actor import require_host
from tesserabench.collector.api.records import RecordReader, malformed
from tesserabench.collector.core import metrics
from tesserabench.collector.core.ingest import Ingest, UploadHeader
from tesserabench.collector.core.ingest_work import Committed, OpenLog
from tesserabench.collector.errors import InvalidArgumentError, invalid_field
from tesserabench.v1 import ingest_service_pb2 as pb
from tesserabench.v1.ingest_service_pb2_grpc import IngestServiceServicer
from tesserabench.wire.names import ResourceNameError, parse_attempt

WINDOW = 8
"""Batches of one stream that may wait for their commit; further ones are not read."""

Context = grpc.aio.ServicerContext[pb.UploadRequest, pb.UploadResponse]
_Answers = asyncio.Queue[asyncio.Future[Committed] | BaseException | None]


class IngestService(IngestServiceServicer):
    """Serves agents' uploads."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._reader = RecordReader(lambda: time.time_ns() // 1000)

    async def Upload(  # noqa: N802 - named by the contract
        self,
        request_iterator: AsyncIterator[pb.UploadRequest],
        context: Context,
    ) -> AsyncIterator[pb.UploadResponse]:
        """Take a log in; answers come in the order of the batches."""
        requests = aiter(request_iterator)
        log = await self._ingest.open(_header(await anext(requests, None)))
        answers: _Answers = asyncio.Queue(WINDOW)
        # Reading goes on while commits are under way. A task group cannot stand around a yield, so the task is ended
        # in `finally`, and with the call when the generator is dropped without being closed.
        reading = asyncio.create_task(self._read(log, requests, answers))
        # The stub's type of a callback is a class that no function is of.
        cast("Any", context).add_done_callback(lambda _context: reading.cancel())
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, BaseException):
                    raise answer
                committed = await answer
                yield pb.UploadResponse(committed_sequence=committed.sequence, late=committed.late)
        finally:
            reading.cancel()
            _abandon(answers)

    async def _read(self, log: OpenLog, requests: AsyncIterator[pb.UploadRequest], answers: _Answers) -> None:
        """Submit batches until the stream ends; an error is told after the answers to what came before it."""
        try:
            async for request in requests:
                if not request.HasField("batch"):
                    raise malformed("message", request.WhichOneof("message"), "only batches follow the header")  # noqa: TRY301 - told below
                await answers.put(await self._ingest.submit(log, self._reader.read(request.batch)))
        except Exception as error:  # noqa: BLE001 - raised again by the reader of the queue
            if isinstance(error, InvalidArgumentError):
                metrics.INGEST_BATCHES.labels(outcome="malformed").inc()
            await answers.put(error)
        else:
            await answers.put(None)


def _header(request: pb.UploadRequest | None) -> UploadHeader:
    if request is None or not request.HasField("header"):
        raise malformed("message", request and request.WhichOneof("message"), "the first message is the header")
    header = request.header
    require_host(header.host)
    try:
        attempt = parse_attempt(header.attempt)
    except ResourceNameError as error:
        raise invalid_field("header.attempt", header.attempt, str(error)) from None
    return UploadHeader(host=header.host, attempt=attempt, epoch=header.epoch, schema_version=header.schema_version)


def _abandon(answers: _Answers) -> None:
    """Nobody waits for these commits any more; the agent will ask again."""
    while not answers.empty():
        answer = answers.get_nowait()
        if isinstance(answer, asyncio.Future):
            answer.cancel()
