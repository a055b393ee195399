"""One transaction for everything that waits: rows of many logs, committed together and then acknowledged.

A record that the database will not take is found by halving and set aside, so that it blocks nobody.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import psycopg
import structlog
from tesserabench.collector.core import metrics
from tesserabench.collector.core.ingest_work import (
    Committed,
    Place,
    Prepared,
    Work,
    place,
    prepare,
    set_aside,
)
from tesserabench.collector.errors import NotFoundError
from tesserabench.collector.store import ingest as store
from tesserabench.collector.store.copy_rows import CASE_RESULT, LOG_LINE, MEASUREMENT, copy
from tesserabench.collector.store.database import Database, DriverConnection, translated_errors
from tesserabench.collector.store.ingest import LogAdvance, LogKey, LogPosition
from tesserabench.collector.store.records import AttemptFinished, TrialFinished, TrialStarted, Unusable
from tesserabench.collector.store.words import Outcome
from tesserabench.wire.reasons import Reason

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Tally:
    """What a transaction does to one log."""

    position: LogPosition
    committed: int
    cases: int = 0
    closing: tuple[str, str] | None = None


@dataclass(slots=True)
class _Plan:
    """What a transaction writes, and the answer of each work."""

    tallies: dict[LogKey, _Tally]
    accepted: list[tuple[Work, Sequence[Prepared]]] = field(default_factory=list)
    answers: list[Committed | NotFoundError] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)


class GroupCommit:
    """Commits works; whoever calls it does so one call after the other."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        # Kept over commits: with a hundred of them a second even asking a pool for one costs too much.
        self._connection: DriverConnection | None = None

    async def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def commit(self, works: Sequence[Work]) -> bool:
        """Commit the works and answer them; whether a log was closed.

        Raises:
            UnavailableError: the database cannot be reached; nothing has been answered.
        """
        try:
            plan = await self._transaction(works)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            return await self._commit_apart(works, error)
        self._answer(works, plan)
        return any(tally.closing for tally in plan.tallies.values())

    async def _commit_apart(self, works: Sequence[Work], error: psycopg.Error) -> bool:
        """The database refuses something in a group: find it by halving, and set it aside."""
        if len(works) > 1:
            middle = len(works) // 2
            closed = await self.commit(works[:middle])
            return await self.commit(works[middle:]) or closed
        work = works[0]
        if len(work.prepared) == 1:
            if self._set_aside(work, f"the database does not take it: {str(error).splitlines()[0]}"):
                return await self.commit(works)
            # Not even in quarantine: only this log must not go on.
            _log.error("ingest.record_refused", attempt=work.log.key[0], sequence=work.first, error=str(error))
            _fail(work, error)
            return False
        middle = len(work.prepared) // 2
        parts = [work.part(0, middle), work.part(middle, len(work.prepared))]
        closed = False
        for part in parts:
            closed = await self.commit([part]) or closed
        _relay(parts, work)
        return closed

    def _set_aside(self, work: Work, reason: str) -> bool:
        """Make less of a record that was refused: its failure and its bytes, then its bytes alone; false in the end."""
        record = work.batch.records[0]
        if not isinstance(record, Unusable):
            record = set_aside(work.batch, 0, reason)
            work.batch = replace(work.batch, records=(record,))
            work.prepared = [prepare(work.log, record, work.series, self._now_us(), late=work.late)]
            return True
        if work.prepared[0].case or work.prepared[0].lines:
            work.prepared = [Prepared(record=record)]
            return True
        return False

    async def _transaction(self, works: Sequence[Work]) -> _Plan:
        try:
            with metrics.INGEST_COMMIT_SECONDS.time(), translated_errors():
                if self._connection is None:
                    self._connection = await self._database.connect()
                async with self._connection.transaction():
                    positions = await store.lock_logs(self._connection, {work.log.key for work in works})
                    plan = self._plan(works, positions)
                    await _write(self._connection, plan)
        except BaseException:
            # A COPY that was broken off leaves the protocol in the middle of something.
            await self.close()
            raise
        return plan

    def _plan(self, works: Sequence[Work], positions: dict[LogKey, LogPosition]) -> _Plan:
        plan = _Plan(
            tallies={
                key: _Tally(position=position, committed=position.committed_sequence)
                for key, position in positions.items()
            }
        )
        for work in works:
            tally = plan.tallies.get(work.log.key)
            if tally is None:
                plan.places.append(Place.GAP)
                plan.answers.append(_gone(work))
                continue
            where = place(tally.committed, work.first, work.last)
            if where is Place.NEXT:
                self._take(plan, work, tally)
            plan.places.append(where)
            plan.answers.append(Committed(sequence=tally.committed, late=tally.position.late))
        return plan

    def _take(self, plan: _Plan, work: Work, tally: _Tally) -> None:
        if work.late != tally.position.late:
            work.late = work.log.late = tally.position.late
            now_us = self._now_us()
            work.prepared = [
                prepare(work.log, record, work.series, now_us, late=work.late) for record in work.batch.records
            ]
        accepted = work.prepared[tally.committed + 1 - work.first :]
        plan.accepted.append((work, accepted))
        tally.committed = work.last
        tally.cases += sum(1 for item in accepted if item.case_outcome is not None)
        tally.closing = _closing(accepted[-1]) or tally.closing

    def _answer(self, works: Sequence[Work], plan: _Plan) -> None:
        for work, answer, where in zip(works, plan.answers, plan.places, strict=True):
            metrics.INGEST_BATCHES.labels(outcome=_batch_outcome(work, answer, where)).inc()
            if isinstance(answer, Committed):
                work.log.committed = answer.sequence
            if isinstance(answer, NotFoundError):
                _fail(work, answer)
            elif not work.answer.done():
                work.answer.set_result(answer)
        now = self._clock().timestamp()
        results: Counter[tuple[str, Outcome]] = Counter()
        for work, accepted in plan.accepted:
            project = work.log.project
            results.update([(project, item.case_outcome) for item in accepted if item.case_outcome is not None])
            first = accepted[0].record.time_us
            if first is not None:
                metrics.INGEST_LAG_SECONDS.observe(max(0.0, now - first / 1e6))
        for (project, outcome), count in results.items():
            metrics.INGEST_RESULTS.labels(project=project, outcome=outcome).inc(count)

    def _now_us(self) -> int:
        return round(self._clock().timestamp() * 1e6)


def _fail(work: Work, error: Exception) -> None:
    if not work.answer.done():
        work.answer.set_exception(error)


def _relay(parts: Sequence[Work], work: Work) -> None:
    """The answer to a work that was committed in parts: the first part's failure, or where the last one got to."""
    errors = [error for part in parts if (error := part.answer.exception()) is not None]
    if errors:
        _fail(work, errors[0] if isinstance(errors[0], Exception) else RuntimeError(str(errors[0])))
    elif not work.answer.done():
        work.answer.set_result(parts[-1].answer.result())


async def _write(connection: DriverConnection, plan: _Plan) -> None:
    if not plan.accepted:
        return
    rows = [item for _, accepted in plan.accepted for item in accepted]
    async with connection.cursor() as cursor:
        await copy(cursor, MEASUREMENT, [item.measurements for item in rows])
        await copy(cursor, CASE_RESULT, [item.case for item in rows])
        await copy(cursor, LOG_LINE, [item.lines for item in rows])
    for work, accepted in plan.accepted:
        for item in accepted:
            await _write_single(connection, work, item)
    advanced = {work.log.key: work for work, _ in plan.accepted}
    advances = [
        LogAdvance(
            key=key,
            run_id=work.log.origin.run_id,
            committed_sequence=plan.tallies[key].committed,
            cases=plan.tallies[key].cases,
            late=plan.tallies[key].position.late,
            closing=plan.tallies[key].closing,
        )
        for key, work in advanced.items()
    ]
    await store.advance_logs(connection, advances)


async def _write_single(connection: DriverConnection, work: Work, item: Prepared) -> None:
    """The rare records, a statement each."""
    match item.record:
        case TrialStarted() as record:
            await store.start_trial(connection, work.log.key, record, item.device_key)
        case TrialFinished() as record:
            await store.finish_trial(connection, work.log.key, record)
        case Unusable() as record:
            await store.quarantine(connection, work.log.key, record.sequence, record.reason, record.content)
            _log.warning("ingest.record_set_aside", attempt=work.log.key[0], epoch=work.log.key[1], why=record.reason)
        case _:
            pass


def _closing(last: Prepared) -> tuple[str, str] | None:
    """Outcome and reason when this record closes its log."""
    match last.record:
        case AttemptFinished() as record:
            return record.outcome.value, record.reason
        case Unusable(closing=True) as unusable:
            return Outcome.HARNESS_ERROR.value, f"its closing record could not be taken: {unusable.reason}"
        case _:
            return None


def _batch_outcome(work: Work, answer: Committed | NotFoundError, where: Place) -> str:
    """What became of a batch, as a label."""
    if isinstance(answer, NotFoundError):
        return "unknown_attempt"
    if where is not Place.NEXT:
        return where.value
    if any(isinstance(record, Unusable) for record in work.batch.records):
        return "quarantined"
    return "late" if answer.late else "committed"


def _gone(work: Work) -> NotFoundError:
    message = f"attempt {work.log.key[0]} was removed while its log was uploaded"
    return NotFoundError(message, reason=Reason.ATTEMPT_NOT_FOUND)
