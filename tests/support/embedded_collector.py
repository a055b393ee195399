"""A collector in the test's own event loop, with clients for its services and hosts that follow a test's script."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from support import uploads
from support.waiting import wait_until_async
from tesserabench.collector.app import Collector
from tesserabench.collector.settings import Settings
from tesserabench.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    host_pb2,
    host_service_pb2_grpc,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    run_pb2,
    run_service_pb2,
    run_service_pb2_grpc,
    schedule_service_pb2_grpc,
    system_service_pb2_grpc,
)
from tesserabench.wire.channel import client_options

CALL_SECONDS = 20.0
FAST = {"heartbeat_seconds": 10, "lease_seconds": 30, "offer_seconds": 20, "check_seconds": 0.1}


class SteppedClock:
    """A clock that goes on by itself and can be put forward."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


class Clients:
    """Stubs of every service on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.agents = agent_service_pb2_grpc.AgentServiceStub(channel)
        self.ingest = ingest_service_pb2_grpc.IngestServiceStub(channel)
        self.runs = run_service_pb2_grpc.RunServiceStub(channel)
        self.hosts = host_service_pb2_grpc.HostServiceStub(channel)
        self.schedules = schedule_service_pb2_grpc.ScheduleServiceStub(channel)
        self.system = system_service_pb2_grpc.SystemServiceStub(channel)

    async def create_run(self, **fields: Any) -> run_pb2.Run:
        """Ask for a run of suite core on the simulated device; fields of the spec and of the request may be given."""
        names = run_pb2.RunSpec.DESCRIPTOR.fields_by_name
        spec = {"suite": "core", "device": "simulated"} | {key: fields.pop(key) for key in list(fields) if key in names}
        request = run_service_pb2.CreateRunRequest(spec=run_pb2.RunSpec(**spec), **fields)
        run: run_pb2.Run = await self.runs.CreateRun(request, timeout=CALL_SECONDS)
        return run

    async def run(self, name: str) -> run_pb2.Run:
        run: run_pb2.Run = await self.runs.GetRun(run_service_pb2.GetRunRequest(name=name), timeout=CALL_SECONDS)
        return run

    async def wait_for(self, name: str, state: run_pb2.RunState.ValueType, seconds: float = 20.0) -> run_pb2.Run:
        """The run once it is in a state."""

        async def reached() -> run_pb2.Run | None:
            run = await self.run(name)
            return run if run.state == state else None

        run = await wait_until_async(reached, seconds=seconds, what=f"{name} to be {run_pb2.RunState.Name(state)}")
        assert run is not None
        return run


@dataclass(slots=True)
class Running:
    """A running collector with its clients and its clock."""

    collector: Collector
    clients: Clients
    clock: SteppedClock
    web: str


@asynccontextmanager
async def running_collector(dsn: str, state_dir: Path, **settings: Any) -> AsyncIterator[Running]:
    """A collector on a database, on free ports; stopped at the end."""
    fleet = FAST | settings.pop("fleet", {})
    clock = SteppedClock()
    values = {
        "grpc_listen": "127.0.0.1:0",
        "web_listen": "127.0.0.1:0",
        "metrics_refresh_seconds": 0.3,
        "database_dsn": dsn,
        "state_dir": state_dir,
        "fleet": fleet,
    }
    collector = Collector(Settings.model_validate(values | settings), clock=clock)
    await collector.start()
    try:
        async with grpc.aio.insecure_channel(collector.addresses.grpc, options=client_options()) as channel:
            yield Running(collector, Clients(channel), clock, f"http://{collector.addresses.web}")
    finally:
        await collector.stop()


def inventory(*, gpu: bool = False, labels: dict[str, str] | None = None) -> host_pb2.Inventory:
    """A host with a CPU and a simulated device, and a GPU when asked, that can run suite core."""
    devices = [
        host_pb2.Device(uuid="cpu-0", kind="cpu", model="CPU"),
        host_pb2.Device(uuid="sim-0", kind="simulated", model="Model X"),
    ]
    if gpu:
        devices.append(
            host_pb2.Device(uuid="GPU-0", kind="cuda", model="NVIDIA H100 80GB HBM3", driver_version="570.86.15")
        )
    benchmark = host_pb2.BenchmarkInfo(
        name="matmul",
        summary="a matrix product",
        parameters={"n": host_pb2.ParameterValues(values=["512", "1024"])},
        devices=["cpu", "cuda", "simulated"],
    )
    suite = host_pb2.SuiteInfo(name="core", summary="the core suite", version="1", benchmarks=[benchmark])
    return host_pb2.Inventory(
        cpu_model="CPU",
        cpu_count=8,
        memory_bytes=2**34,
        os="Linux",
        devices=devices,
        suites=[suite],
        labels=labels or {},
    )


@dataclass(slots=True, kw_only=True)
class ScriptedHost:
    """An agent that does what a test says and nothing else."""

    clients: Clients
    name: str
    process_id: str = "process-0000000000"
    inventory: host_pb2.Inventory = field(default_factory=inventory)
    schema_version: int = 1

    async def register(self) -> agent_service_pb2.RegisterResponse:
        request = agent_service_pb2.RegisterRequest(
            host=self.name,
            process_id=self.process_id,
            agent_version="0.1.0",
            schema_version=self.schema_version,
            inventory=self.inventory,
        )
        answer: agent_service_pb2.RegisterResponse = await self.clients.agents.Register(request, timeout=CALL_SECONDS)
        return answer

    async def sync(
        self, *held: agent_service_pb2.HeldAttempt, max_wait: float = 0.0, **fields: Any
    ) -> agent_service_pb2.SyncResponse:
        wait = Duration()
        wait.FromNanoseconds(round(max_wait * 1e9))
        request = agent_service_pb2.SyncRequest(
            host=self.name, process_id=self.process_id, held=held, max_wait=wait, **fields
        )
        answer: agent_service_pb2.SyncResponse = await self.clients.agents.Sync(request, timeout=CALL_SECONDS)
        return answer

    async def take(self) -> agent_service_pb2.HeldAttempt:
        """Sync, take the one attempt that is offered, and list it."""
        answer = await self.sync()
        assert len(answer.assignments) == 1, f"{self.name} was offered {len(answer.assignments)} attempts"
        held = listed(answer.assignments[0])
        await self.sync(held)
        return held

    async def upload(
        self, held: agent_service_pb2.HeldAttempt, records: Sequence[ingest_service_pb2.Record]
    ) -> ingest_service_pb2.UploadResponse:
        """Send a log in one batch and give its acknowledgement."""
        header = ingest_service_pb2.UploadHeader(
            host=self.name, attempt=held.name, epoch=held.epoch, schema_version=self.schema_version
        )
        stream = self.clients.ingest.Upload(timeout=CALL_SECONDS)
        try:
            await stream.write(ingest_service_pb2.UploadRequest(header=header))
            await stream.write(ingest_service_pb2.UploadRequest(batch=uploads.batch(*records)))
            answer = await stream.read()
            assert isinstance(answer, ingest_service_pb2.UploadResponse)
            await stream.done_writing()
            return answer
        finally:
            stream.cancel()

    async def finish(self, held: agent_service_pb2.HeldAttempt, cases: int = 2) -> None:
        """Upload a whole log of cases that ended well."""
        await self.upload(held, uploads.whole_log(cases))


def listed(
    assignment: agent_service_pb2.Assignment, *, closing: bool = False, **progress: Any
) -> agent_service_pb2.HeldAttempt:
    """An assignment as the agent lists it."""
    return agent_service_pb2.HeldAttempt(
        name=assignment.name, epoch=assignment.epoch, closing=closing, progress=run_pb2.Progress(**progress)
    )


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The stable reason of an error."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    raise AssertionError(f"no reason in {error}")
