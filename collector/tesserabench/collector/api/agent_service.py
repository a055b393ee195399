"""AgentService: registration, and the long poll in which a host and the collector state what is."""

import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.api.actor import require_host
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.translation import duration, from_json, moment, timestamp, to_json
from tesserabench.collector.core import fleet
from tesserabench.collector.core.claims import Assigned
from tesserabench.collector.core.pace import Pace
from tesserabench.collector.core.version import VERSION
from tesserabench.collector.core.wakeups import TICK_SECONDS, Wakeups
from tesserabench.collector.store import projects
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.notices import SYNC_CHANNEL
from tesserabench.v1 import agent_service_pb2, agent_service_pb2_grpc, run_pb2
from tesserabench.wire.names import AttemptName, parse_attempt


class AgentService(agent_service_pb2_grpc.AgentServiceServicer):
    """Serves agents."""

    def __init__(self, database: Database, wakeups: Wakeups, terms: fleet.Terms, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._wakeups = wakeups
        self._terms = terms
        self._clock = clock

    async def Register(  # noqa: N802 - named by the contract
        self,
        request: agent_service_pb2.RegisterRequest,
        context: Context,  # noqa: ARG002
    ) -> agent_service_pb2.RegisterResponse:
        """Take in a new agent process."""
        require_host(request.host)
        registration = fleet.Registration(
            host=request.host,
            process_id=request.process_id,
            agent_version=request.agent_version,
            schema_version=request.schema_version,
            inventory=to_json(request.inventory),
            agent_time=moment(request, "agent_time"),
        )
        async with self._database.transaction() as session:
            pace = await fleet.register(session, registration, self._terms, self._clock())
        return agent_service_pb2.RegisterResponse(
            collector_version=VERSION, server_time=timestamp(self._clock()), pacing=_pacing(pace)
        )

    async def Sync(  # noqa: N802 - named by the contract
        self,
        request: agent_service_pb2.SyncRequest,
        context: Context,  # noqa: ARG002
    ) -> agent_service_pb2.SyncResponse:
        """Hear what is true on a host, and answer when there is something to do, at the latest when it asked for."""
        require_host(request.host)
        beat = _heartbeat(request)
        asked_at = time.monotonic()
        fresh = True
        with self._wakeups.waiting(SYNC_CHANNEL, request.host) as waiter:
            while True:
                async with self._database.transaction() as session:
                    answer = await fleet.answer(session, beat, self._terms, self._clock(), fresh=fresh)
                    response = await _response(session, answer, self._clock())
                hold_seconds = min(request.max_wait.ToMicroseconds() / 1e6, answer.pace.heartbeat_seconds)
                remaining = hold_seconds - (time.monotonic() - asked_at)
                if answer.urgent or remaining <= 0 or self._wakeups.closed:
                    return response
                await waiter.wait(min(remaining, TICK_SECONDS))
                fresh = False


def _heartbeat(request: agent_service_pb2.SyncRequest) -> fleet.Heartbeat:
    return fleet.Heartbeat(
        host=request.host,
        process_id=request.process_id,
        held=tuple(_listed(item) for item in request.held),
        draining=request.draining,
        unready_reason=request.unready_reason,
        spool_full=request.spool.full,
        spool_pending_bytes=min(request.spool.pending_bytes, 2**63 - 1),
        devices={uuid: to_json(state) for uuid, state in request.devices.items()},
        agent_time=moment(request, "agent_time"),
    )


def _listed(item: agent_service_pb2.HeldAttempt) -> fleet.Listed:
    name = parse_attempt(item.name)
    return fleet.Listed(
        run_id=name.run,
        attempt_id=name.attempt,
        epoch=item.epoch,
        closing=item.closing,
        cases_done=item.progress.cases_done,
        cases_total=item.progress.cases_total,
        current_case=item.progress.current_case,
        phase=item.progress.phase,
    )


async def _response(session: AsyncSession, answer: fleet.Answer, now: datetime) -> agent_service_pb2.SyncResponse:
    names = await projects.names(session, {item.project_id for item in answer.assignments})
    return agent_service_pb2.SyncResponse(
        assignments=[_assignment(item, names[item.project_id]) for item in answer.assignments],
        cancellations=[
            agent_service_pb2.Cancellation(
                name=str(AttemptName(run=item.run_id, attempt=item.attempt_id)), epoch=item.epoch, reason=item.reason
            )
            for item in answer.cancellations
        ],
        superseded=answer.superseded,
        pacing=_pacing(answer.pace),
        server_time=timestamp(now),
        cordoned=answer.cordoned,
    )


def _assignment(item: Assigned, project: str) -> agent_service_pb2.Assignment:
    return agent_service_pb2.Assignment(
        name=str(AttemptName(run=item.run_id, attempt=item.attempt_id)),
        epoch=item.epoch,
        project=project,
        spec=from_json(item.spec, run_pb2.RunSpec()),
        revision=run_pb2.Revision(**item.revision),
        accept_deadline=timestamp(item.accept_deadline),
    )


def _pacing(pace: Pace) -> agent_service_pb2.Pacing:
    return agent_service_pb2.Pacing(
        heartbeat=duration(pace.heartbeat_seconds),
        lease=duration(pace.lease_seconds),
        max_batch_bytes=pace.max_batch_bytes,
    )
