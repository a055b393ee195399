"""A collector in memory: the three calls an agent makes, over real gRPC, with faults on demand."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from tesserabench.v1 import agent_service_pb2 as agent_pb
from tesserabench.v1 import ingest_service_pb2 as ingest_pb
from tesserabench.v1 import system_service_pb2 as system_pb
from tesserabench.v1.agent_service_pb2_grpc import AgentServiceServicer, add_AgentServiceServicer_to_server
from tesserabench.v1.ingest_service_pb2_grpc import IngestServiceServicer, add_IngestServiceServicer_to_server
from tesserabench.v1.run_pb2 import RunSpec
from tesserabench.v1.system_service_pb2_grpc import SystemServiceServicer, add_SystemServiceServicer_to_server
from tesserabench.wire.channel import server_options
from tesserabench.wire.reasons import DOMAIN, Reason

Key = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error that a call answers with."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "a planted fault"


@dataclass(slots=True)
class Stored:
    """What was committed of one attempt."""

    records: list[ingest_pb.Record] = field(default_factory=list)
    late: bool = False

    @property
    def committed(self) -> int:
        """Last committed sequence."""
        return self.records[-1].sequence if self.records else 0

    @property
    def closing(self) -> ingest_pb.AttemptFinished | None:
        """The closing record, when it is there."""
        if self.records and self.records[-1].HasField("attempt_finished"):
            return self.records[-1].attempt_finished
        return None

    @property
    def results(self) -> list[ingest_pb.CaseFinished]:
        """The case results, in order."""
        return [record.case_finished for record in self.records if record.HasField("case_finished")]


class FakeCollector:
    """State, faults and servicers in one place. Everything public is for tests to read and set."""

    def __init__(self) -> None:
        self.address = "127.0.0.1:0"
        self.heartbeat_seconds = 1.0
        self.max_batch_bytes = 1 << 20
        self.registrations: list[agent_pb.RegisterRequest] = []
        self.questions: list[agent_pb.SyncRequest] = []
        self.headers: list[ingest_pb.UploadHeader] = []
        self.tokens: set[str] = set()
        """Every authorization header that was seen."""
        self.refused: list[str] = []
        """The authorization headers of the calls that were refused."""
        self.stored: dict[Key, Stored] = {}
        self.batches = 0
        self.duplicates = 0
        self.token: str | None = None
        self.register_fault: Fault | None = None
        self.sync_fault: Fault | None = None
        self.upload_fault: Callable[[Key], Fault | None] = lambda _key: None
        self.ack_delay_seconds = 0.0
        self.break_stream_after_batches: int | None = None
        """Abort a stream after so many of its batches were committed, before the answer is sent; once."""
        self.cancellations: dict[Key, str] = {}
        self.superseded = False
        self._wanted: dict[Key, agent_pb.Assignment] = {}
        self._changed = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    # Life

    async def start(self, address: str = "127.0.0.1:0") -> None:
        """Listen; a given address is that of an earlier start."""
        server = grpc.aio.server(options=server_options())
        add_AgentServiceServicer_to_server(_AgentServicer(self), server)
        add_IngestServiceServicer_to_server(_IngestServicer(self), server)
        add_SystemServiceServicer_to_server(_SystemServicer(self), server)
        port = server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Be gone at once: every call and stream breaks."""
        if self._server is not None:
            await self._server.stop(grace=0)
            self._server = None

    async def restart(self) -> None:
        """Come back on the same address."""
        await self.start(self.address)

    # Wishes

    async def assign(self, run: int, spec: RunSpec, *, attempt: int = 1, epoch: int = 1) -> Key:
        """Want an attempt to run; offered until it is seen listed."""
        name = f"runs/{run}/attempts/{attempt}"
        assignment = agent_pb.Assignment(name=name, epoch=epoch, project="demo", spec=spec)
        assignment.accept_deadline.FromSeconds(int(time.time()) + 60)
        self._wanted[name, epoch] = assignment
        await self.wake()
        return name, epoch

    async def cancel(self, key: Key, reason: str = "somebody cancelled the run") -> None:
        """Want a held attempt to stop."""
        self.cancellations[key] = reason
        await self.wake()

    async def wake(self) -> None:
        """Let held polls look again."""
        async with self._changed:
            self._changed.notify_all()

    # Observations

    def of(self, key: Key) -> Stored:
        """What is committed of an attempt."""
        return self.stored.get(key, Stored())

    @property
    def held(self) -> dict[Key, agent_pb.HeldAttempt]:
        """The attempts that the last question listed."""
        return {(item.name, item.epoch): item for item in self.questions[-1].held} if self.questions else {}

    async def until(self, condition: Callable[[], bool], *, seconds: float = 30, what: str = "a condition") -> None:
        """Wait until `condition` holds; the state only changes with calls, so that those wake the waiter."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            last = self.questions[-1] if self.questions else None
            raise AssertionError(f"waited {seconds} s for {what}; last question: {last}") from None

    async def until_refused(self, authorization: str, *, seconds: float = 30) -> None:
        """Wait until a call with this header has been refused."""
        await self.until(lambda: authorization in self.refused, seconds=seconds, what=f"a refusal of {authorization!r}")

    async def until_closed(self, key: Key, *, seconds: float = 60) -> ingest_pb.AttemptFinished:
        """Wait for the closing record of an attempt."""
        await self.until(lambda: self.of(key).closing is not None, seconds=seconds, what=f"the end of {key}")
        closing = self.of(key).closing
        assert closing is not None
        return closing

    # Answers

    async def register(self, request: agent_pb.RegisterRequest) -> agent_pb.RegisterResponse:
        """Take a registration."""
        async with self._changed:
            self.registrations.append(request)
            self._changed.notify_all()
        response = agent_pb.RegisterResponse(collector_version="fake", pacing=self._pacing())
        response.server_time.GetCurrentTime()
        return response

    async def sync(self, request: agent_pb.SyncRequest) -> agent_pb.SyncResponse:
        """Answer at once when something is wanted, otherwise hold the question."""
        held = {(item.name, item.epoch) for item in request.held}
        async with self._changed:
            self.questions.append(request)
            for key in held:
                self._wanted.pop(key, None)
            self._changed.notify_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(request.max_wait.ToNanoseconds() / 1e9):
                    await self._changed.wait_for(lambda: self._has_news(held) or self.sync_fault is not None)
        response = agent_pb.SyncResponse(
            superseded=self.superseded, pacing=self._pacing(), assignments=self._wanted.values()
        )
        for key in held & self.cancellations.keys():
            response.cancellations.add(name=key[0], epoch=key[1], reason=self.cancellations[key])
        response.server_time.GetCurrentTime()
        return response

    async def store(self, key: Key, batch: ingest_pb.RecordBatch) -> int:
        """Commit a batch if it continues what is committed, and say how far that is now."""
        stored = self.stored.setdefault(key, Stored())
        async with self._changed:
            self.batches += 1
            fresh = [record for record in batch.records if record.sequence > stored.committed]
            self.duplicates += len(batch.records) - len(fresh)
            if fresh and fresh[0].sequence == stored.committed + 1:
                stored.records.extend(fresh)
            self._wanted.pop(key, None)
            self._changed.notify_all()
        return stored.committed

    def _has_news(self, held: set[Key]) -> bool:
        return self.superseded or bool(self._wanted) or bool(held & self.cancellations.keys())

    def _pacing(self) -> agent_pb.Pacing:
        pacing = agent_pb.Pacing(max_batch_bytes=self.max_batch_bytes)
        pacing.heartbeat.FromNanoseconds(int(self.heartbeat_seconds * 1e9))
        pacing.lease.FromSeconds(30)
        return pacing

    async def admit(self, context: Any, fault: Fault | None) -> None:
        """Note the token, and refuse the call when a fault is planted or the token is wrong."""
        headers = {str(name): str(value) for name, value in context.invocation_metadata() or ()}
        authorization = headers.get("authorization", "")
        self.tokens.add(authorization)
        if self.token is not None and authorization != f"Bearer {self.token}":
            fault = Fault(code=grpc.StatusCode.UNAUTHENTICATED, reason=Reason.TOKEN_INVALID, message="unknown token")
        if fault is not None:
            async with self._changed:
                self.refused.append(authorization)
                self._changed.notify_all()
            await _refuse(context, fault)


async def _refuse(context: Any, fault: Fault) -> None:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=fault.reason, domain=DOMAIN))
    status = status_pb2.Status(code=fault.code.value[0], message=fault.message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(fault.code, fault.message)


class _AgentServicer(AgentServiceServicer):
    def __init__(self, collector: FakeCollector) -> None:
        self._collector = collector

    async def Register(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, N802
        await self._collector.admit(context, self._collector.register_fault)
        return await self._collector.register(request)

    async def Sync(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, N802
        await self._collector.admit(context, self._collector.sync_fault)
        response = await self._collector.sync(request)
        await self._collector.admit(context, self._collector.sync_fault)
        return response


class _SystemServicer(SystemServiceServicer):
    def __init__(self, collector: FakeCollector) -> None:
        self._collector = collector

    async def GetServerInfo(self, _request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, N802
        await self._collector.admit(context, None)
        return system_pb.ServerInfo(version="fake", schema_versions=[1])


class _IngestServicer(IngestServiceServicer):
    def __init__(self, collector: FakeCollector) -> None:
        self._collector = collector

    async def Upload(self, requests, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, N802
        collector = self._collector
        await collector.admit(context, None)
        key: Key | None = None
        batches = 0
        async for request in requests:
            if request.HasField("header"):
                collector.headers.append(request.header)
                key = (request.header.attempt, request.header.epoch)
                await collector.admit(context, collector.upload_fault(key))
                continue
            assert key is not None
            committed = await collector.store(key, request.batch)
            batches += 1
            if collector.break_stream_after_batches == batches:
                collector.break_stream_after_batches = None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "a planted break before the answer")
            await asyncio.sleep(collector.ack_delay_seconds)
            yield ingest_pb.UploadResponse(committed_sequence=committed, late=collector.of(key).late)


@contextlib.asynccontextmanager
async def running_collector() -> AsyncIterator[FakeCollector]:
    """A collector that listens, and is stopped at the end."""
    collector = FakeCollector()
    await collector.start()
    try:
        yield collector
    finally:
        await collector.stop()
