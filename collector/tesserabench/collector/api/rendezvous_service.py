"""RendezvousService: where the attempts of one run meet before they measure together."""

import time
from collections.abc import Callable
from datetime import datetime

from tesserabench.collector.api.actor import require_host
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.enums import number, word
from tesserabench.collector.api.translation import timestamp
from tesserabench.collector.core import rendezvous
from tesserabench.collector.core.rendezvous import Answer, Caller, Wish
from tesserabench.collector.core.rendezvous_rules import FINAL, MOST_PAYLOAD_BYTES
from tesserabench.collector.core.wakeups import TICK_SECONDS, Wakeups
from tesserabench.collector.errors import invalid_field
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.notices import RUN_CHANNEL
from tesserabench.collector.store.words import RendezvousState
from tesserabench.v1 import rendezvous_service_pb2 as pb
from tesserabench.v1 import rendezvous_service_pb2_grpc
from tesserabench.wire.names import AttemptName, parse_attempt

LONGEST_HOLD_SECONDS = 60.0
_LONGEST_TIMEOUT_SECONDS = 3600.0


class RendezvousService(rendezvous_service_pb2_grpc.RendezvousServiceServicer):
    """Serves agents."""

    def __init__(self, database: Database, wakeups: Wakeups, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._wakeups = wakeups
        self._clock = clock

    async def JoinRendezvous(  # noqa: N802 - named by the contract
        self,
        request: pb.JoinRendezvousRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Rendezvous:
        """Join, and hold the answer while nothing changes."""
        caller, wish = _caller(request.caller), _wish(request)
        known = _known(request.known_state)
        ends_at = time.monotonic() + min(request.max_wait.ToMicroseconds() / 1e6, LONGEST_HOLD_SECONDS)
        with self._wakeups.waiting(RUN_CHANNEL, str(caller.attempt.run)) as waiter:
            while True:
                now = self._clock()
                async with self._database.transaction() as session:
                    answer = await rendezvous.join(session, caller, wish, now)
                state = answer.meeting.state
                remaining = ends_at - time.monotonic()
                if state != known or state in FINAL or remaining <= 0 or self._wakeups.closed:
                    return _message(answer, caller, self._clock())
                due = (answer.meeting.deadline_at - now).total_seconds()
                # Waits are never shorter than a moment: the deadline may lie ahead of a coarse clock.
                until = due if state is RendezvousState.GATHERING else remaining
                await waiter.wait(max(0.01, min(remaining, TICK_SECONDS, until)))

    async def LeaveRendezvous(  # noqa: N802 - named by the contract
        self,
        request: pb.LeaveRendezvousRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Rendezvous:
        """Leave."""
        caller, now = _caller(request.caller), self._clock()
        async with self._database.transaction() as session:
            return _message(await rendezvous.leave(session, caller, request.key, now), caller, now)

    async def FailRendezvous(  # noqa: N802 - named by the contract
        self,
        request: pb.FailRendezvousRequest,
        context: Context,  # noqa: ARG002
    ) -> pb.Rendezvous:
        """Fail it for everybody."""
        caller, now = _caller(request.caller), self._clock()
        async with self._database.transaction() as session:
            return _message(await rendezvous.fail(session, caller, request.key, request.reason, now), caller, now)


def _caller(message: pb.RendezvousCaller) -> Caller:
    require_host(message.host)
    return Caller(
        host=message.host,
        process_id=message.process_id,
        attempt=parse_attempt(message.attempt),
        epoch=message.epoch,
    )


def _wish(request: pb.JoinRendezvousRequest) -> Wish:
    if len(request.payload) > MOST_PAYLOAD_BYTES:
        raise invalid_field("payload", f"{len(request.payload)} bytes", f"give at most {MOST_PAYLOAD_BYTES}")
    timeout_seconds = request.timeout.ToMicroseconds() / 1e6
    if not 0 < timeout_seconds <= _LONGEST_TIMEOUT_SECONDS:
        raise invalid_field("timeout", timeout_seconds, f"give seconds above 0 and up to {_LONGEST_TIMEOUT_SECONDS:g}")
    return Wish(
        key=request.key,
        world_size=request.world_size,
        rank=request.rank if request.HasField("rank") else None,
        payload=request.payload,
        timeout_seconds=timeout_seconds,
    )


def _known(state: pb.RendezvousState.ValueType) -> RendezvousState:
    told = word(pb.RendezvousState, state)
    return RendezvousState(told) if told else RendezvousState.GATHERING


def _message(answer: Answer, caller: Caller, now: datetime) -> pb.Rendezvous:
    meeting = answer.meeting
    own = meeting.member(caller.attempt.attempt)
    members = []
    for item in meeting.members:
        rank = item.wish if item.rank is None else item.rank
        name = str(AttemptName(run=caller.attempt.run, attempt=item.attempt_id))
        members.append(
            pb.RendezvousMember(host=item.host, attempt=name, rank=rank, payload=item.payload, left=item.left)
        )
    return pb.Rendezvous(
        key=meeting.key,
        state=number(pb.RendezvousState, meeting.state),
        reason=answer.reason,
        world_size=meeting.world_size,
        rank=None if own is None else own.rank,
        members=members,
        deadline=timestamp(meeting.deadline_at),
        server_time=timestamp(now),
    )
