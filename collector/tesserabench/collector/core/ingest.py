"""Taking logs of attempts in: opened, prepared, committed in groups, acknowledged, closed.

    streams ──submit──▶ queue ──▶ one committer: everything that waits, in one transaction ──▶ answers

There is no timer: while one commit is under way the next group gathers, so that an idle collector commits a batch at
once and a busy one commits hundreds together. What waits is bounded in bytes; a full queue holds the streams back, and
with them the agents, whose disks keep what has not been acknowledged. While the database is away the queue waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog
from tesserabench.collector.core import attempts
from tesserabench.collector.core.group_commit import GroupCommit
from tesserabench.collector.core.ingest_delay import IngestDelay
from tesserabench.collector.core.ingest_work import Committed, OpenLog, Work, complete, prepare
from tesserabench.collector.core.series_book import SeriesBook
from tesserabench.collector.errors import FailedPreconditionError, NotFoundError, UnavailableError, invalid_field
from tesserabench.collector.store import ingest as store
from tesserabench.collector.store.copy_rows import Origin
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.ingest import AttemptFacts, Closing
from tesserabench.collector.store.records import Batch
from tesserabench.collector.store.words import Outcome
from tesserabench.wire.names import AttemptName
from tesserabench.wire.reasons import Reason

SUPPORTED_SCHEMA_VERSIONS = (1,)
"""Versions of the record schema that this release reads."""

_CLOSING_TICK_SECONDS = 5.0
_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 5.0
_MOST_WORKS = 512

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadHeader:
    """What an upload begins with."""

    host: str
    attempt: AttemptName
    epoch: int
    schema_version: int


class Ingest:
    """Takes logs in. `run` must run; the other functions may be called from any number of streams."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        *,
        max_waiting_bytes: int = 64 * 1024 * 1024,
        max_commit_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        """Start nothing yet.

        Args:
            database: where logs go.
            clock: the collector's clock.
            max_waiting_bytes: about how much may wait for its commit; streams are held back beyond it.
            max_commit_bytes: about how much one transaction takes.
        """
        self._database = database
        self._clock = clock
        self._book = SeriesBook(database)
        self._group = GroupCommit(database, clock)
        self.delay = IngestDelay(clock)
        """Whether commits fail just now."""
        self._max_waiting_bytes = max_waiting_bytes
        self._max_commit_bytes = max_commit_bytes
        self._queue: deque[Work] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Condition()
        self._closed_some = asyncio.Event()

    async def open(self, header: UploadHeader) -> OpenLog:
        """The log that an upload continues.

        Raises:
            FailedPreconditionError: the records are of a schema that this release does not read.
            NotFoundError: there is no such attempt, or it is not this host's.
            InvalidArgumentError: the epoch has not been handed out.
            UnavailableError: the database cannot be reached.
        """
        _check_schema(header.schema_version)
        key = (header.attempt.attempt, header.epoch)
        async with self._database.transaction() as session:
            facts = await store.attempt_facts(session, header.attempt.attempt)
            if facts is None or facts.run_id != header.attempt.run:
                raise _not_found(header, "there is no such attempt; its run may have been deleted")
            host_id = await store.host_id(session, header.host)
            if host_id is None:
                raise _not_found(header, f"host {header.host} has never registered")
            _check_epoch(header, facts, host_id)
            position = await store.open_log(session, key, host_id, late=_is_late(header.epoch, facts))
            if position.host_id != host_id:
                raise _not_found(header, f"epoch {header.epoch} belongs to another host than {header.host}")
            devices = await store.device_keys(session, key)
        return OpenLog(
            key=key,
            origin=Origin(run_id=facts.run_id, attempt_id=header.attempt.attempt, epoch=header.epoch, host=header.host),
            project_id=facts.project_id,
            project=facts.project,
            device_keys=devices,
            committed=position.committed_sequence,
            late=position.late,
        )

    async def submit(self, log: OpenLog, batch: Batch) -> asyncio.Future[Committed]:
        """Queue a batch; the future is done when its records are committed. Waits while the queue is full.

        Raises:
            UnavailableError: the database is needed at once (for a new series) and cannot be reached.
        """
        answer: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        if not batch.records:
            answer.set_result(Committed(sequence=log.committed, late=log.late))
            return answer
        await self._reserve(batch.size_bytes)
        try:
            batch, series = await complete(log, batch, self._book)
            now_us = round(self._clock().timestamp() * 1e6)
            late = log.late
            prepared = [prepare(log, record, series, now_us, late=late) for record in batch.records]
        except BaseException:
            await self._give_back(batch.size_bytes)
            raise
        self._queue.append(Work(log=log, prepared=prepared, batch=batch, series=series, late=late, answer=answer))
        self._arrived.set()
        return answer

    async def run(self) -> None:
        """Commit what waits and close attempts whose logs are complete, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._commit_forever())
                group.create_task(self._close_forever())
        finally:
            await self._group.close()
            error = UnavailableError("the collector is shutting down; try again", reason=Reason.DATABASE_UNAVAILABLE)
            while self._queue:
                work = self._queue.popleft()
                if not work.answer.done():
                    work.answer.set_exception(error)

    async def _commit_forever(self) -> None:
        while True:
            await self._arrived.wait()
            works = self._take_waiting()
            if not works:
                self._arrived.clear()
                continue
            try:
                if await self._commit_at_last(works):
                    self._closed_some.set()
            finally:
                await self._give_back(sum(work.batch.size_bytes for work in works))

    def _take_waiting(self) -> list[Work]:
        works: list[Work] = []
        size_bytes = 0
        while self._queue and len(works) < _MOST_WORKS and (size_bytes < self._max_commit_bytes or not works):
            works.append(self._queue.popleft())
            size_bytes += works[-1].batch.size_bytes
        return works

    async def _commit_at_last(self, works: list[Work]) -> bool:
        """Commit, however long the database is away; whether a log was closed."""
        delay_seconds = _FIRST_RETRY_SECONDS
        while True:
            # A stream that has ended in the meantime is no longer interested; its agent will send again.
            wanted = [work for work in works if not work.answer.done()]
            if not wanted:
                return False
            try:
                closed = await self._group.commit(wanted)
            except UnavailableError as error:
                self.delay.failed(error)
            except Exception as error:  # noqa: BLE001 - logged, and told to every stream
                # Ours: a programming error, or a schema that does not fit. The agents keep what is not acknowledged.
                _log.exception("ingest.commit_failed", works=len(wanted))
                for work in wanted:
                    if not work.answer.done():
                        work.answer.set_exception(error)
                return False
            else:
                self.delay.succeeded()
                return closed
            await asyncio.sleep(delay_seconds)
            delay_seconds = min(delay_seconds * 2, _LAST_RETRY_SECONDS)

    async def _close_forever(self) -> None:
        """End attempts whose logs are complete: at once after a commit, and whatever was missed at every tick."""
        while True:
            try:
                async with self._database.transaction() as session:
                    closings = await store.closings(session)
                for closing in closings:
                    await self._close(closing)
            except UnavailableError as error:
                _log.warning("ingest.closing_delayed", error=error.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_TICK_SECONDS):
                    await self._closed_some.wait()
            self._closed_some.clear()

    async def _close(self, closing: Closing) -> None:
        outcome = Outcome(closing.outcome)
        try:
            async with self._database.transaction() as session:
                await attempts.close(
                    session, closing.attempt_id, closing.epoch, outcome, reason=closing.reason, now=self._clock()
                )
        except UnavailableError:
            raise
        except Exception:  # noqa: BLE001 - logged
            # One attempt that cannot be closed must not keep the others open; it is tried again at the next tick.
            _log.exception("ingest.closing_failed", attempt=closing.attempt_id, epoch=closing.epoch)

    async def _reserve(self, size_bytes: int) -> None:
        def fits() -> bool:
            # A batch that is larger than all there is gets the whole of it.
            return not self._waiting_bytes or self._waiting_bytes + size_bytes <= self._max_waiting_bytes

        if not fits():
            async with self._room:
                await self._room.wait_for(fits)
                self._waiting_bytes += size_bytes
        else:
            self._waiting_bytes += size_bytes

    async def _give_back(self, size_bytes: int) -> None:
        async with self._room:
            self._waiting_bytes -= size_bytes
            self._room.notify_all()


def _check_schema(version: int) -> None:
    if version not in SUPPORTED_SCHEMA_VERSIONS:
        supported = ", ".join(str(known) for known in SUPPORTED_SCHEMA_VERSIONS)
        message = (
            f"schema_version: {version}: this collector reads record schema {supported}; "
            "use an agent of the collector's release, or upgrade the collector"
        )
        raise FailedPreconditionError(message, reason=Reason.SCHEMA_VERSION_UNSUPPORTED)


def _check_epoch(header: UploadHeader, facts: AttemptFacts, host_id: int) -> None:
    if header.epoch > facts.epoch or header.epoch < 1:
        raise invalid_field("header.epoch", header.epoch, f"epochs 1 to {facts.epoch} have been handed out")
    if header.epoch == facts.epoch and facts.host_id != host_id:
        complaint = "has not been handed out yet" if facts.host_id is None else "was handed to another host"
        raise _not_found(header, f"epoch {header.epoch} {complaint}")


def _is_late(epoch: int, facts: AttemptFacts) -> bool:
    return epoch < facts.epoch


def _not_found(header: UploadHeader, why: str) -> NotFoundError:
    message = f"attempt {header.attempt} cannot be uploaded by host {header.host}: {why}"
    return NotFoundError(message, reason=Reason.ATTEMPT_NOT_FOUND)
