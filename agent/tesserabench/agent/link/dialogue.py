"""Register once, then ask again and again: heartbeat, lease, assignment and cancellation in one long poll."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import grpc
import structlog
from tesserabench.agent.errors import LinkError, Superseded
from tesserabench.agent.link.backoff import Backoff
from tesserabench.agent.link.channel import Metadata
from tesserabench.agent.link.failures import Failure, Remedy, explain
from tesserabench.agent.link.pace import Pace
from tesserabench.agent.settings import Link
from tesserabench.v1.agent_service_pb2 import RegisterRequest, SyncRequest, SyncResponse
from tesserabench.v1.agent_service_pb2_grpc import AgentServiceStub

# Progress wakes the poll at most this often; an answer that changes nothing is not followed by a question sooner.
_SHORTEST_PERIOD = 1.0

A = TypeVar("A")

log = structlog.get_logger(__name__)


class Desk(Protocol):
    """What the dialogue speaks for. `urgent` and `changed` are set when the collector should hear of something."""

    urgent: asyncio.Event
    changed: asyncio.Event

    async def introduce(self) -> RegisterRequest:
        """Who this process is and what the host has."""

    async def question(self) -> SyncRequest:
        """What is true now, without the longest wait; clears `urgent` and `changed`."""

    async def answer(self, response: SyncResponse) -> bool:
        """Act on an answer and tell whether there was anything to do."""


class LinkWatcher(Protocol):
    """Hears how the connection does."""

    def connected(self, *, yes: bool) -> None:
        """The last call worked, or did not."""

    def reconnecting(self) -> None:
        """A call that had worked before failed."""

    def clock_offset(self, seconds: float) -> None:
        """This host's clock minus the collector's."""


class Dialogue:
    """Speaks with `AgentService` until it is cancelled or superseded."""

    def __init__(  # noqa: PLR0913 - everything it speaks with, all keyword-only
        self,
        *,
        channel: grpc.aio.Channel,
        desk: Desk,
        metadata: Callable[[], Metadata],
        link: Link,
        pace: Pace,
        watcher: LinkWatcher,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stub = AgentServiceStub(channel)
        self._desk, self._metadata, self._link, self._pace, self._watcher = desk, metadata, link, pace, watcher
        self._clock = clock
        self._backoff = Backoff(first_seconds=link.retry_min, largest_seconds=link.retry_max)
        self._registered = False
        self._was_connected = False

    async def run(self) -> None:
        """Keep the dialogue up.

        Raises:
            Superseded: a newer process of this host has registered.
        """
        while True:
            failure = await self._step()
            if failure is None:
                self._backoff.reset()
                self._set_connected(yes=True)
            else:
                await self._recover(failure)

    async def _step(self) -> Failure | None:
        """Register, or ask once; the failure when it did not work."""
        if not self._registered:
            return await self._register()
        return await self._exchange()

    async def _register(self) -> Failure | None:
        request = await self._desk.introduce()
        result = await self._call(self._stub.Register, request, self._link.call_timeout)
        if isinstance(result, Failure):
            return result
        self._pace.update(result.pacing)
        self._note_clock(result.server_time.ToNanoseconds())
        self._registered = True
        log.info("host.registered", host=request.host, collector_version=result.collector_version)
        return None

    async def _exchange(self) -> Failure | None:
        request = await self._desk.question()
        if request.held or not request.draining:
            request.max_wait.FromNanoseconds(int(self._pace.heartbeat_seconds * 1e9))
        asked_at = asyncio.get_running_loop().time()
        result = await self._ask(request, asked_at)
        if result is None or isinstance(result, Failure):
            return result
        self._pace.update(result.pacing)
        self._note_clock(result.server_time.ToNanoseconds())
        if not await self._desk.answer(result):
            await self._pause(asked_at)
        return None

    async def _ask(self, request: SyncRequest, asked_at: float) -> SyncResponse | Failure | None:
        """The answer, the failure, or None when the question was overtaken by a change on this side."""
        limit = self._pace.heartbeat_seconds + self._link.call_timeout
        async with asyncio.TaskGroup() as group:
            call = group.create_task(self._call(self._stub.Sync, request, limit))
            change = group.create_task(self._await_change(asked_at))
            await asyncio.wait({call, change}, return_when=asyncio.FIRST_COMPLETED)
            call.cancel()
            change.cancel()
        return None if call.cancelled() else call.result()

    async def _await_change(self, asked_at: float) -> None:
        """Return at once for an urgent change, otherwise not before the shortest period is over."""
        await self._pause(asked_at)
        if not self._desk.urgent.is_set():
            await self._desk.changed.wait()

    async def _pause(self, asked_at: float) -> None:
        try:
            async with asyncio.timeout_at(asked_at + _SHORTEST_PERIOD):
                await self._desk.urgent.wait()
        except TimeoutError:
            return

    async def _call(
        self, method: Callable[..., Awaitable[A]], request: RegisterRequest | SyncRequest, limit_seconds: float
    ) -> A | Failure:
        try:
            return await method(request, timeout=limit_seconds, metadata=self._metadata())
        except grpc.aio.AioRpcError as error:
            return explain(error)
        except LinkError as error:
            return Failure(
                code=grpc.StatusCode.UNAUTHENTICATED, reason="", message=str(error), remedy=Remedy.RETRY, advice=""
            )

    async def _recover(self, failure: Failure) -> None:
        if failure.remedy is Remedy.STOP:
            raise Superseded(f"a newer agent of this host has registered: {failure.message}; stop one of the two")
        if failure.remedy is Remedy.REGISTER and self._registered:
            self._registered = False
            log.warning("host.forgotten", message=failure.message, next="registering again")
            return
        self._set_connected(yes=False)
        if failure.remedy is Remedy.WAIT:
            # A person has to mend it; a little jitter keeps a fleet from coming back in step.
            seconds = self._link.retry_slow * (0.9 + 0.2 * self._backoff.random())
            report = log.error
        else:
            seconds, report = self._backoff.next_seconds(), log.warning
        report(
            "collector.unavailable",
            code=failure.code.name,
            reason=failure.reason or None,
            message=failure.message,
            advice=failure.advice or None,
            retry_in_seconds=round(seconds, 3),
        )
        await asyncio.sleep(seconds)

    def _set_connected(self, *, yes: bool) -> None:
        if self._was_connected and not yes:
            self._watcher.reconnecting()
        self._was_connected = yes
        self._watcher.connected(yes=yes)

    def _note_clock(self, server_ns: int) -> None:
        if server_ns:
            self._watcher.clock_offset(self._clock() - server_ns / 1e9)
