"""An upload service of its own on loopback, in this process, and a client for it."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
from tesserabench.collector.api.ingest_service import IngestService
from tesserabench.collector.api.interceptor import CallInterceptor
from tesserabench.collector.core.ingest import Ingest
from tesserabench.collector.core.tokens import Authenticator
from tesserabench.collector.store.database import Database
from tesserabench.v1 import ingest_service_pb2 as pb
from tesserabench.v1.ingest_service_pb2_grpc import IngestServiceStub, add_IngestServiceServicer_to_server
from tesserabench.wire import SCHEMA_VERSION
from tesserabench.wire.channel import client_options, server_options

if TYPE_CHECKING:
    # The generated code knows one class; its types know that a channel of grpc.aio gives another.
    from tesserabench.v1.ingest_service_pb2_grpc import IngestServiceAsyncStub


def utc_now() -> datetime:
    return datetime.now(UTC)


class Uploads:
    """Uploads to one server."""

    def __init__(self, stub: "IngestServiceAsyncStub", ingest: Ingest) -> None:
        self.stub = stub
        self.ingest = ingest

    async def send(
        self,
        header: pb.UploadHeader,
        batches: Iterable[Sequence[pb.Record]],
        *,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> list[pb.UploadResponse]:
        """Send all batches on one stream without waiting in between, and take every answer."""
        stream = self.stub.Upload(metadata=metadata, timeout=60)
        try:
            await stream.write(pb.UploadRequest(header=header))
            for records in batches:
                await stream.write(pb.UploadRequest(batch=pb.RecordBatch(records=records)))
            await stream.done_writing()
        except asyncio.InvalidStateError:
            # The server has ended the stream; reading tells why.
            pass
        try:
            return [answer async for answer in stream]
        finally:
            stream.cancel()


def header(
    host: str, run: int, attempt: int, *, epoch: int = 1, schema_version: int = SCHEMA_VERSION
) -> pb.UploadHeader:
    return pb.UploadHeader(
        host=host, attempt=f"runs/{run}/attempts/{attempt}", epoch=epoch, schema_version=schema_version
    )


@asynccontextmanager
async def uploads(database: Database, ingest: Ingest | None = None, *, auth: bool = False) -> AsyncIterator[Uploads]:
    """A server with its committer running, and a client connected to it."""
    ingest = ingest or Ingest(database, utc_now)
    interceptor = CallInterceptor(Authenticator(database, required=auth))
    server = grpc.aio.server(interceptors=[interceptor], options=server_options())
    add_IngestServiceServicer_to_server(IngestService(ingest), server)
    port = server.add_insecure_port("127.0.0.1:0")
    async with asyncio.TaskGroup() as group:
        committer = group.create_task(ingest.run())
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client_options()) as channel:
                yield Uploads(IngestServiceStub(channel), ingest)
        finally:
            await server.stop(1)
            committer.cancel()
