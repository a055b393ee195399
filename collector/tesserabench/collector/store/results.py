"""Results of runs: for judging, for lists, and the level of a series over past runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, defer
from tesserabench.collector.store.tables import Attempt, CaseResult, Host, IngestLog, Measurement, Run, Series, Trial
from tesserabench.collector.store.words import Outcome, RunState, TriggerKind, Verdict

HISTORY_RUNS = 40
"""How many earlier runs say how much a series differs from run to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRow:
    """One metric of one case in one worker process."""

    series_id: int
    record: tuple[int, int, int]
    """Attempt, epoch and sequence of the case result that it belongs to."""
    host: str
    trial: int
    outcome: str
    value: float
    ci_low: float | None
    ci_high: float | None
    count: int | None


async def launches(session: AsyncSession, run_id: int) -> list[LaunchRow]:
    """Every measurement of a run in the newest epoch of each of its attempts, without raw samples."""
    statement = (
        select(
            Measurement.series_id,
            Measurement.attempt_id,
            Measurement.epoch,
            Measurement.sequence,
            Host.name,
            Measurement.trial,
            Measurement.outcome,
            Measurement.value,
            Measurement.ci_low,
            Measurement.ci_high,
            Measurement.count,
        )
        .join(Attempt, and_(Attempt.id == Measurement.attempt_id, Attempt.epoch == Measurement.epoch))
        .outerjoin(Host, Host.id == Attempt.host_id)
        .where(Measurement.run_id == run_id, Measurement.late.is_(False))
        .order_by(Measurement.attempt_id, Measurement.sequence, Measurement.series_id)
    )
    return [
        LaunchRow(
            series_id=row[0],
            record=(row[1], row[2], row[3]),
            host=row[4] or "",
            trial=row[5],
            outcome=row[6],
            value=row[7],
            ci_low=row[8],
            ci_high=row[9],
            count=row[10],
        )
        for row in await session.execute(statement)
    ]


async def unsuccessful(session: AsyncSession, run_id: int) -> Sequence[CaseResult]:
    """Case results other than ok in the newest epoch of each attempt of a run."""
    statement = (
        select(CaseResult)
        .join(Attempt, and_(Attempt.id == CaseResult.attempt_id, Attempt.epoch == CaseResult.epoch))
        .where(CaseResult.run_id == run_id, CaseResult.late.is_(False), CaseResult.outcome != Outcome.OK.value)
        .order_by(CaseResult.attempt_id, CaseResult.sequence)
    )
    return (await session.scalars(statement)).all()


async def trials(session: AsyncSession, run_id: int) -> Sequence[Trial]:
    """Worker processes of a run in the newest epoch of each attempt."""
    statement = (
        select(Trial)
        .join(Attempt, and_(Attempt.id == Trial.attempt_id, Attempt.epoch == Trial.epoch))
        .where(Attempt.run_id == run_id)
        .order_by(Trial.attempt_id, Trial.trial)
    )
    return (await session.scalars(statement)).all()


async def series(session: AsyncSession, ids: Iterable[int]) -> dict[int, Series]:
    """Series by id."""
    return {row.id: row for row in await session.scalars(select(Series).where(Series.id.in_(list(ids))))}


async def series_ids(
    session: AsyncSession, project_id: int, keys: Iterable[tuple[str, str, str, str]]
) -> dict[tuple[str, str, str, str], int]:
    """Ids of series by (case, mode, metric, device)."""
    wanted = list(keys)
    if not wanted:
        return {}
    columns = (Series.case_id, Series.mode, Series.metric, Series.device_key)
    # An arm of an interleaved comparison has no history and no findings.
    conditions = (Series.project_id == project_id, Series.arm == "", tuple_(*columns).in_(wanted))
    statement = select(Series.id, *columns).where(*conditions)
    return {(row[1], row[2], row[3], row[4]): row[0] for row in await session.execute(statement)}


def comparable_runs(
    run: Run, branches: Sequence[str], host_ids: Sequence[int] | None
) -> tuple[ColumnElement[bool], ...]:
    """Conditions of earlier runs that a run may be compared with: measured well, undisturbed, on these branches.

    Args:
        run: The run that is judged.
        branches: Branches that count; the empty one is that of runs that name none.
        host_ids: Only runs that one of these hosts measured; none for any.
    """
    conditions = [*measured_well(run.project_id, run.suite, branches), Run.id < run.id]
    if host_ids is not None:
        here = select(literal(1)).where(Attempt.run_id == Run.id, Attempt.host_id.in_(host_ids))
        conditions.append(here.exists())
    return tuple(conditions)


def measured_well(project_id: int, suite: str, branches: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    """Conditions of runs that others may be compared with, whatever their verdict."""
    return (
        Run.project_id == project_id,
        Run.suite == suite,
        Run.state == RunState.FINISHED.value,
        Run.outcome == Outcome.OK.value,
        Run.drill.is_(False),
        # It was compared with itself alone: nobody knows how good its level is.
        Run.identical == "",
        ~Run.spec.has_key("duet"),
        Run.trigger != TriggerKind.CONFIRMATION.value,
        Run.branch.in_(branches),
        Run.pull_request == "",
    )


async def levels_of_past_runs(
    session: AsyncSession, run: Run, branches: Sequence[str], host_ids: Sequence[int], wanted: Sequence[int]
) -> dict[int, list[float]]:
    """For each wanted series its median in each of the last runs on the same hosts, oldest first."""
    conditions = comparable_runs(run, branches, host_ids)
    past = select(Run.id).where(*conditions, Run.verdict != Verdict.REGRESSED.value)
    recent = past.order_by(Run.id.desc()).limit(HISTORY_RUNS).subquery()
    middle = func.percentile_cont(0.5).within_group(Measurement.value)
    statement = (
        select(Measurement.series_id, middle)
        .where(
            Measurement.run_id.in_(select(recent.c.id)),
            Measurement.series_id.in_(wanted),
            Measurement.late.is_(False),
            Measurement.outcome == Outcome.OK.value,
        )
        .group_by(Measurement.series_id, Measurement.run_id)
        .order_by(Measurement.series_id, Measurement.run_id)
    )
    levels: dict[int, list[float]] = {}
    for series_id, value in await session.execute(statement):
        levels.setdefault(series_id, []).append(value)
    return levels


async def hosts_of(session: AsyncSession, run_id: int) -> dict[int, str]:
    """Hosts that measured a run, by id."""
    statement = select(Host.id, Host.name).join(Attempt, Attempt.host_id == Host.id).where(Attempt.run_id == run_id)
    return {row.id: row.name for row in await session.execute(statement)}


async def cases_of(session: AsyncSession, run_id: int) -> frozenset[str]:
    """Ids of the cases that gave a valid result in a run."""
    conditions = (CaseResult.run_id == run_id, CaseResult.late.is_(False), CaseResult.outcome == Outcome.OK.value)
    return frozenset(await session.scalars(select(CaseResult.case_id).where(*conditions).distinct()))


ResultRow = Row[CaseResult, str | None, dict[str, Any] | None, str | None, dict[str, Any] | None, dict[str, Any] | None]
"""A case result with its host's name, its trial's device, comparability class, context and telemetry."""

PAGE_KEY: tuple[InstrumentedAttribute[Any], ...] = (
    CaseResult.case_id,
    CaseResult.mode,
    CaseResult.attempt_id,
    CaseResult.epoch,
    CaseResult.trial,
    CaseResult.sequence,
)
"""The order of a list of results."""


async def page(
    session: AsyncSession, run_id: int, *, pattern: str, after: Sequence[Any] | None, size: int
) -> Sequence[ResultRow]:
    """Up to `size` case results of a run in the order of `PAGE_KEY`, late ones included.

    Args:
        session: The transaction.
        run_id: The run.
        pattern: POSIX regular expression that the case's id must match; empty keeps all.
        after: Values of `PAGE_KEY` of the last row of the page before.
        size: How many rows at most.
    """
    trial = and_(
        Trial.attempt_id == CaseResult.attempt_id, Trial.epoch == CaseResult.epoch, Trial.trial == CaseResult.trial
    )
    # The host of this epoch: an attempt may have moved to another one since.
    log = and_(IngestLog.attempt_id == CaseResult.attempt_id, IngestLog.epoch == CaseResult.epoch)
    statement = (
        select(CaseResult, Host.name, Trial.device, Trial.comparability, Trial.context, Trial.telemetry)
        .outerjoin(IngestLog, log)
        .outerjoin(Host, Host.id == IngestLog.host_id)
        .outerjoin(Trial, trial)
        .where(CaseResult.run_id == run_id)
        .order_by(*PAGE_KEY)
        .limit(size)
    )
    if pattern:
        statement = statement.where(CaseResult.case_id.op("~")(pattern))
    if after is not None:
        statement = statement.where(tuple_(*PAGE_KEY) > tuple_(*[literal(value) for value in after]))
    return (await session.execute(statement)).all()


async def measurements_of(
    session: AsyncSession, records: Sequence[tuple[int, int, int]], *, with_samples: bool
) -> dict[tuple[int, int, int], list[tuple[Measurement, Series]]]:
    """Measurements by record (attempt, epoch, sequence), primary metrics first; raw samples only when asked for."""
    if not records:
        return {}
    key = tuple_(Measurement.attempt_id, Measurement.epoch, Measurement.sequence)
    statement = (
        select(Measurement, Series)
        .join(Series, Series.id == Measurement.series_id)
        .where(Measurement.attempt_id.in_({record[0] for record in records}), key.in_(records))
        .order_by(Series.primary.desc(), Series.id)
    )
    if not with_samples:
        statement = statement.options(
            defer(Measurement.samples, raiseload=True), defer(Measurement.columns, raiseload=True)
        )
    found: dict[tuple[int, int, int], list[tuple[Measurement, Series]]] = {}
    for measurement, series_row in await session.execute(statement):
        record = (measurement.attempt_id, measurement.epoch, measurement.sequence)
        found.setdefault(record, []).append((measurement, series_row))
    return found
