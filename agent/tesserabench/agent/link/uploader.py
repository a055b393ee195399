"""Carries logs from the disk into the collector.

A stream for each attempt, batches in sequence; what is committed there is deleted here.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import grpc
import structlog
from tesserabench.agent.errors import LinkError, SpoolError
from tesserabench.agent.link.backoff import Backoff
from tesserabench.agent.link.batches import Window, WindowError, make_batch
from tesserabench.agent.link.channel import Metadata
from tesserabench.agent.link.failures import Failure, Remedy, explain
from tesserabench.agent.link.pace import Pace
from tesserabench.agent.settings import Link
from tesserabench.agent.spool import AttemptKey, Spool, SpooledAttempt
from tesserabench.v1.ingest_service_pb2 import UploadHeader, UploadRequest, UploadResponse
from tesserabench.v1.ingest_service_pb2_grpc import IngestServiceStub
from tesserabench.wire import SCHEMA_VERSION

# No call failed; the status stands beside a reason of this host in the log.
_OURS = grpc.StatusCode.ABORTED

# A stream that is kept for a running attempt is renewed after a while, so that replicas can share the load anew.
_STREAM_SECONDS = 300.0

log = structlog.get_logger(__name__)

UploadStream = grpc.aio.StreamStreamCall[UploadRequest, UploadResponse]


class UploadWatcher(Protocol):
    """Hears what becomes of attempts."""

    def left(self, key: AttemptKey) -> None:
        """An attempt is closed and wholly committed; it has left the spool."""

    def rejected(self, key: AttemptKey, *, yes: bool) -> None:
        """The collector does not know an attempt, or knows it again."""


class _Broken(Exception):  # noqa: N818 - an answer to the loop below, never seen outside
    """A stream ended without an error before everything was answered."""


class Uploader:
    """Sends whatever the spool holds, for as long as it runs."""

    def __init__(  # noqa: PLR0913 - everything it works with, all keyword-only
        self,
        *,
        channel: grpc.aio.Channel,
        spool: Spool,
        host: str,
        metadata: Callable[[], Metadata],
        link: Link,
        pace: Pace,
        watcher: UploadWatcher,
    ) -> None:
        self._stub = IngestServiceStub(channel)
        self._spool, self._host, self._metadata = spool, host, metadata
        self._link, self._pace, self._watcher = link, pace, watcher
        self._backoff = Backoff(first_seconds=link.retry_min, largest_seconds=link.retry_max)
        self._postponed: dict[AttemptKey, float] = {}
        self._wanted = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while nothing waits that could be sent now."""

    def wake(self) -> None:
        """Look at the spool again: something has been written."""
        self.idle.clear()
        self._wanted.set()

    async def run(self) -> None:
        """Upload until cancelled."""
        while True:
            self._wanted.clear()
            attempt = await self._next()
            if attempt is None:
                await self._rest()
                continue
            self.idle.clear()
            failure = await self._upload(attempt)
            if failure is None:
                self._backoff.reset()
            else:
                await self._postpone(attempt.key, failure)

    async def _next(self) -> SpooledAttempt | None:
        """The oldest attempt with something to send that is not postponed."""
        now = asyncio.get_running_loop().time()
        held = await asyncio.to_thread(self._spool.attempts)
        waiting = (item for item in held if item.pending and self._postponed.get(item.key, 0) <= now)
        return next(waiting, None)

    async def _rest(self) -> None:
        """Wait for a new record, or until a postponed attempt is due."""
        if not self._wanted.is_set():
            self.idle.set()
        due = min(self._postponed.values(), default=None)
        try:
            async with asyncio.timeout_at(due):
                await self._wanted.wait()
        except TimeoutError:
            now = asyncio.get_running_loop().time()
            self._postponed = {key: at for key, at in self._postponed.items() if at > now}

    async def _upload(self, attempt: SpooledAttempt) -> Failure | None:
        """Send what there is of one attempt; the failure when it did not work."""
        key = attempt.key
        window = Window(self._link.window, attempt.committed_sequence)
        stream: UploadStream | None = None
        try:
            stream = self._stub.Upload(timeout=2 * _STREAM_SECONDS, metadata=self._metadata())
            await self._send_log(stream, key, window)
        except WindowError as error:
            return await self._go_on_from(attempt, window.committed, str(error))
        except grpc.aio.AioRpcError as error:
            return explain(error)
        except LinkError as error:
            return _passing(grpc.StatusCode.UNAUTHENTICATED, str(error))
        except (_Broken, SpoolError) as error:
            # When the disk is too full to note what was committed, it is sent again and answered as already there.
            return _passing(grpc.StatusCode.UNAVAILABLE if isinstance(error, _Broken) else _OURS, str(error))
        except TimeoutError:
            return _passing(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"no batch was committed within {self._link.ack_timeout:g} s"
            )
        finally:
            # An abandoned stream is never collected.
            if stream is not None:
                stream.cancel()
        return None

    async def _send_log(self, stream: UploadStream, key: AttemptKey, window: Window) -> None:
        """Send batches and take their answers until nothing is left and nothing new comes for a while."""
        header = UploadHeader(host=self._host, attempt=key.name, epoch=key.epoch, schema_version=SCHEMA_VERSION)
        await self._write(stream, UploadRequest(header=header))
        ends_at = asyncio.get_running_loop().time() + _STREAM_SECONDS
        while True:
            self._wanted.clear()
            while window.open:
                records = await asyncio.to_thread(
                    self._spool.read,
                    key,
                    window.sent_until,
                    max_bytes=self._pace.max_batch_bytes,
                    max_records=self._link.batch_records,
                )
                if not records:
                    break
                if records[0].sequence != window.sent_until + 1:
                    raise WindowError(f"records before {records[0].sequence} are gone")
                batch = make_batch(records)
                await self._write(stream, batch.request)
                window.send(batch)
            if window.waiting:
                if await self._take_answer(stream, key, window):
                    break
            elif not await self._linger(key, ends_at):
                break
        await self._finish(stream)

    async def _write(self, stream: UploadStream, request: UploadRequest) -> None:
        try:
            async with asyncio.timeout(self._link.ack_timeout):
                await stream.write(request)
        except asyncio.InvalidStateError:
            await self._read(stream)

    async def _read(self, stream: UploadStream) -> UploadResponse:
        """The next answer, waited for within the limit."""
        async with asyncio.timeout(self._link.ack_timeout):
            response = await stream.read()
        if isinstance(response, UploadResponse):
            return response
        raise _Broken("the collector ended the stream before it had answered everything")

    async def _take_answer(self, stream: UploadStream, key: AttemptKey, window: Window) -> bool:
        """Take one answer; True when the attempt has left the spool."""
        response = await self._read(stream)
        committed = window.answer(response.committed_sequence)
        left = await asyncio.to_thread(self._spool.commit, key, committed)
        self._backoff.reset()
        self._watcher.rejected(key, yes=False)
        if response.late:
            log.warning("upload.late", attempt=key.name, epoch=key.epoch, committed=committed)
        if left:
            log.info("upload.completed", attempt=key.name, epoch=key.epoch, records=committed)
            self._watcher.left(key)
        return left

    async def _linger(self, key: AttemptKey, ends_at: float) -> bool:
        """Wait for a further record; False when the stream should end."""
        now = asyncio.get_running_loop().time()
        if (waiting := await self._next()) is not None:
            return waiting.key == key and now < ends_at
        self.idle.set()
        try:
            async with asyncio.timeout_at(min(now + self._link.linger, ends_at)):
                await self._wanted.wait()
        except TimeoutError:
            return False
        self.idle.clear()
        return True

    async def _finish(self, stream: UploadStream) -> None:
        await stream.done_writing()
        async with asyncio.timeout(self._link.ack_timeout):
            await stream.read()

    async def _go_on_from(self, attempt: SpooledAttempt, committed: int, complaint: str) -> Failure | None:
        """Take over where the collector stands, when that is a place in the log that the disk still has."""
        current = {item.key: item for item in await asyncio.to_thread(self._spool.attempts)}.get(attempt.key)
        if current is None:
            return None
        if committed < current.committed_sequence or committed > current.last_sequence:
            span = f"{current.committed_sequence} to {current.last_sequence}"
            return Failure(
                code=grpc.StatusCode.DATA_LOSS,
                reason="",
                message=f"the collector stands at record {committed}, this log covers {span}: {complaint}",
                remedy=Remedy.WAIT,
                advice="the collector's database is another one than before; its records stay on this disk",
            )
        if committed == attempt.committed_sequence:
            return _passing(grpc.StatusCode.ABORTED, complaint)
        if await asyncio.to_thread(self._spool.commit, attempt.key, committed):
            self._watcher.left(attempt.key)
        log.info("upload.resumed", attempt=attempt.key.name, epoch=attempt.key.epoch, committed=committed)
        return None

    async def _postpone(self, key: AttemptKey, failure: Failure) -> None:
        lasting = failure.remedy is not Remedy.RETRY
        if failure.code is grpc.StatusCode.NOT_FOUND:
            self._watcher.rejected(key, yes=True)
        seconds = self._link.retry_slow if lasting else self._backoff.next_seconds()
        report = log.error if lasting else log.warning
        report(
            "upload.postponed",
            attempt=key.name,
            epoch=key.epoch,
            code=failure.code.name,
            reason=failure.reason or None,
            message=failure.message,
            advice=failure.advice or None,
            retry_in_seconds=round(seconds, 3),
        )
        if lasting:
            self._postponed[key] = asyncio.get_running_loop().time() + seconds
        else:
            await asyncio.sleep(seconds)


def _passing(code: grpc.StatusCode, message: str) -> Failure:
    return Failure(code=code, reason="", message=message, remedy=Remedy.RETRY, advice="")
