"""Writing logs of attempts: the bulk statements of a group commit. `core.ingest` decides what is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.database import DriverConnection
from tesserabench.collector.store.notices import RUN_CHANNEL
from tesserabench.collector.store.records import TrialFinished, TrialStarted
from tesserabench.collector.store.tables import Attempt, Host, IngestLog, Project, Run, Trial
from tesserabench.collector.store.words import HELD_STATES, AttemptState

LogKey = tuple[int, int]
"""Attempt and epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """What an upload must fit to."""

    run_id: int
    project_id: int
    project: str
    epoch: int
    state: AttemptState
    host_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """How far a log is committed, and whether a newer epoch or a decision has overtaken it."""

    committed_sequence: int
    closed: bool
    late: bool
    host_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAdvance:
    """What a commit adds to a log."""

    key: LogKey
    run_id: int
    committed_sequence: int
    cases: int
    late: bool
    closing: tuple[str, str] | None
    """Outcome and reason of the closing record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A log that is complete while its attempt has not ended yet."""

    attempt_id: int
    epoch: int
    outcome: str
    reason: str


async def attempt_facts(session: AsyncSession, attempt_id: int) -> AttemptFacts | None:
    """The attempt, locked against a change of its epoch until the commit; None when there is none."""
    statement = (
        select(Attempt.run_id, Run.project_id, Project.name, Attempt.epoch, Attempt.state, Attempt.host_id)
        .join(Run, Run.id == Attempt.run_id)
        .join(Project, Project.id == Run.project_id)
        .where(Attempt.id == attempt_id)
        .with_for_update(read=True, of=Attempt)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    run_id, project_id, project, epoch, state, host_id = row
    return AttemptFacts(
        run_id=run_id,
        project_id=project_id,
        project=project,
        epoch=epoch,
        state=AttemptState(state),
        host_id=host_id,
    )


async def host_id(session: AsyncSession, host: str) -> int | None:
    """Id of a host."""
    return await session.scalar(select(Host.id).where(Host.name == host))


async def open_log(session: AsyncSession, key: LogKey, host: int, *, late: bool) -> LogPosition:
    """The position of a log, begun when it is new."""
    attempt_id, epoch = key
    new = insert(IngestLog).values(attempt_id=attempt_id, epoch=epoch, host_id=host, late=late)
    await session.execute(new.on_conflict_do_nothing())
    found = select(IngestLog.committed_sequence, IngestLog.closed, IngestLog.late, IngestLog.host_id)
    row = (await session.execute(found.where(IngestLog.attempt_id == attempt_id, IngestLog.epoch == epoch))).one()
    return LogPosition(committed_sequence=row[0], closed=row[1], late=row[2] or late, host_id=row[3])


async def device_keys(session: AsyncSession, key: LogKey) -> dict[int, str]:
    """Device key of each trial of a log that has started."""
    attempt_id, epoch = key
    statement = select(Trial.trial, Trial.device_key).where(Trial.attempt_id == attempt_id, Trial.epoch == epoch)
    return {row.trial: row.device_key for row in await session.execute(statement)}


_LOCK_LOGS = """
SELECT l.attempt_id, l.epoch, l.committed_sequence, l.closed,
       l.late OR a.epoch > l.epoch OR (a.state = 'finished' AND NOT l.closed), l.host_id
FROM unnest(%s::bigint[], %s::smallint[]) AS wanted (attempt_id, epoch)
JOIN ingest_log l USING (attempt_id, epoch)
JOIN attempt a ON a.id = l.attempt_id
ORDER BY l.attempt_id, l.epoch
FOR UPDATE OF l
"""


async def lock_logs(connection: DriverConnection, keys: Iterable[LogKey]) -> dict[LogKey, LogPosition]:
    """Positions of some logs, locked until the commit, always in the same order; logs that are gone are left out."""
    wanted = list(keys)
    cursor = await connection.execute(_LOCK_LOGS, [[key[0] for key in wanted], [key[1] for key in wanted]])
    return {
        (attempt_id, epoch): LogPosition(committed_sequence=committed, closed=closed, late=late, host_id=host)
        for attempt_id, epoch, committed, closed, late, host in await cursor.fetchall()
    }


# An attempt that is locked by somebody who decides about it is left alone: its progress is told by the next commit.
_ADVANCE = """
WITH new AS (
    SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::bigint[], %s::bool[], %s::text[], %s::text[])
        AS n (attempt_id, epoch, sequence, cases, late, outcome, reason)
), advanced AS (
    UPDATE ingest_log l
    SET committed_sequence = n.sequence, cases = l.cases + n.cases, late = n.late, updated_at = now(),
        closed = l.closed OR n.outcome IS NOT NULL, outcome = coalesce(n.outcome, l.outcome),
        reason = coalesce(n.reason, l.reason)
    FROM new n WHERE l.attempt_id = n.attempt_id AND l.epoch = n.epoch
    RETURNING l.attempt_id, l.epoch, l.cases
), free AS (
    SELECT a.id, a.epoch FROM attempt a JOIN new n ON n.attempt_id = a.id AND n.epoch = a.epoch
    WHERE a.state <> 'finished' AND n.cases > 0 FOR NO KEY UPDATE OF a SKIP LOCKED
), progressed AS (
    UPDATE attempt a SET cases_done = greatest(a.cases_done, d.cases)
    FROM advanced d JOIN free f ON f.id = d.attempt_id AND f.epoch = d.epoch WHERE a.id = f.id
)
SELECT pg_notify(%s, id::text) FROM unnest(%s::bigint[]) AS run (id)
"""


async def advance_logs(connection: DriverConnection, advances: Sequence[LogAdvance]) -> None:
    """Note how far logs are committed and tell the watchers of their runs, once for each run."""
    columns: list[list[Any]] = [
        [advance.key[0] for advance in advances],
        [advance.key[1] for advance in advances],
        [advance.committed_sequence for advance in advances],
        [advance.cases for advance in advances],
        [advance.late for advance in advances],
        [advance.closing[0] if advance.closing else None for advance in advances],
        [advance.closing[1] if advance.closing else None for advance in advances],
    ]
    runs = sorted({advance.run_id for advance in advances})
    await connection.execute(_ADVANCE, [*columns, RUN_CHANNEL, runs])


_START_TRIAL = """
INSERT INTO trial (attempt_id, epoch, trial, device, device_key, facts, comparability, fingerprint, state_before, seed,
                   context, started_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, to_timestamp(%s / 1e6))
ON CONFLICT (attempt_id, epoch, trial) DO UPDATE
SET device = excluded.device, device_key = excluded.device_key, facts = excluded.facts,
    comparability = excluded.comparability, fingerprint = excluded.fingerprint, context = excluded.context
"""


async def start_trial(connection: DriverConnection, key: LogKey, record: TrialStarted, device_key: str) -> None:
    """A worker process started; a further one of the same trial keeps the beginning of the first."""
    values = [
        *key,
        record.trial,
        Jsonb(record.device),
        device_key,
        Jsonb(record.facts),
        record.comparability,
        record.fingerprint,
        _document(record.state),
        str(record.seed),
        Jsonb(record.context),
        record.time_us,
    ]
    await connection.execute(_START_TRIAL, values)


_FINISH_TRIAL = """
UPDATE trial SET outcome = %s, reason = %s, state_after = %s, throttle = %s, throttle_fractions = %s, ceilings = %s,
                 exit_status = %s, startup_seconds = %s, telemetry = %s, ended_at = to_timestamp(%s / 1e6)
WHERE attempt_id = %s AND epoch = %s AND trial = %s
"""


async def finish_trial(connection: DriverConnection, key: LogKey, record: TrialFinished) -> None:
    """A worker process ended."""
    values = [
        record.outcome.value,
        record.reason,
        _document(record.state),
        record.throttle,
        Jsonb(record.throttle_fractions),
        Jsonb(record.ceilings),
        record.exit_status,
        record.startup_seconds,
        Jsonb(record.telemetry),
        record.time_us,
        *key,
        record.trial,
    ]
    await connection.execute(_FINISH_TRIAL, values)


async def quarantine(connection: DriverConnection, key: LogKey, sequence: int, reason: str, content: bytes) -> None:
    """Put a record aside as it came."""
    statement = (
        "INSERT INTO quarantined_record (attempt_id, epoch, sequence, reason, record) VALUES (%s, %s, %s, %s, %s)"
    )
    await connection.execute(statement, [*key, sequence, reason, content])


async def closings(session: AsyncSession) -> list[Closing]:
    """Complete logs whose attempts are still held by their hosts."""
    statement = (
        select(IngestLog.attempt_id, IngestLog.epoch, IngestLog.outcome, IngestLog.reason)
        .join(Attempt, (Attempt.id == IngestLog.attempt_id) & (Attempt.epoch == IngestLog.epoch))
        .where(Attempt.state.in_([state.value for state in HELD_STATES]), IngestLog.outcome.is_not(None))
        .order_by(IngestLog.attempt_id)
    )
    rows = await session.execute(statement)
    return [
        Closing(attempt_id=attempt_id, epoch=epoch, outcome=outcome or "", reason=reason)
        for attempt_id, epoch, outcome, reason in rows
    ]


def _document(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(value)
