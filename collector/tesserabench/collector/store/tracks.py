"""What each device gave for each series, run by run: what causes and comparisons of siblings are drawn from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.tables import Attempt, Host, Measurement, Run, Series, Trial
from tesserabench.collector.store.words import Outcome, RunState, TriggerKind


@dataclass(frozen=True, slots=True)
class DevicePoint:
    """The median of what one device gave for one series in one run."""

    series_id: int
    run_id: int
    host: str
    device: str
    """See `device_id`."""
    value: float
    at: datetime
    launches: int


@dataclass(frozen=True, slots=True)
class DeviceVisit:
    """One run on one device, with what may change results there."""

    run_id: int
    commit: str
    host: str
    device: str
    model: str
    kind: str
    """`cuda`, `cpu`, `simulated`."""
    at: datetime
    facts: dict[str, Any]
    throttle: str


UUID_OF_TRIAL = func.coalesce(Trial.device["uuid"].astext, "")
"""UUID of a trial's device; empty where it has none."""
_UNIQUE = ("GPU-", "MIG-")
_MOST_RUNS = 2000


def device_id(host: str, uuid: str) -> str:
    """What names a device in the fleet: a GPU's UUID wherever it is; for anything else its host has a part in it."""
    return uuid if uuid.startswith(_UNIQUE) else "/".join(filter(None, (host, uuid)))


def undisturbed() -> tuple[ColumnElement[bool], ...]:
    """Conditions of measured runs that show what code and machine do: no drill, duet, second look or pull request.

    A run that still waits for its verdict is measured, and it is the slow ones that wait.
    """
    return (
        Run.state.in_((RunState.FINISHED.value, RunState.JUDGING.value)),
        Run.drill.is_(False),
        ~Run.spec.has_key("duet"),
        Run.trigger != TriggerKind.CONFIRMATION.value,
        Run.pull_request == "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Runs that follow one another: those of some branches of a project."""

    project_id: int
    branches: Sequence[str]


async def runs_around(
    session: AsyncSession, line: Line, *, suites: Collection[str], first: int, last: int, most: int
) -> list[int]:
    """Ids of undisturbed runs on a line from before the run `first` to behind `last`.

    Args:
        session: The transaction.
        line: Which runs follow one another.
        suites: The span begins `most` runs of these suites before `first` and ends so many behind `last`; within it
            runs of every suite count.
        first: A run's id.
        last: That of the same or a later run.
        most: How many runs on either side.
    """
    on_line = (Run.project_id == line.project_id, Run.branch.in_(line.branches), *undisturbed())
    of_suites = select(Run.id).where(*on_line, Run.suite.in_(suites))
    before = await session.scalars(of_suites.where(Run.id < first).order_by(Run.id.desc()).limit(most))
    behind = await session.scalars(of_suites.where(Run.id > last).order_by(Run.id).limit(most))
    begin, end = min(before.all(), default=first), max(behind.all(), default=last)
    everything = select(Run.id).where(*on_line, Run.id.between(begin, end)).order_by(Run.id)
    return list(await session.scalars(everything.limit(_MOST_RUNS)))


async def suites_of(session: AsyncSession, runs: Collection[int]) -> set[str]:
    """The suites that these runs were asked for."""
    return set(await session.scalars(select(Run.suite).distinct().where(Run.id.in_(runs))))


async def recent_run_ids(session: AsyncSession, *, since: datetime, most: int) -> list[int]:
    """Undisturbed runs of every project that were asked for since then, the youngest when there are too many."""
    statement = select(Run.id).where(Run.created_at >= since, *undisturbed()).order_by(Run.id.desc()).limit(most)
    return sorted(await session.scalars(statement))


def on_devices(*columns: ColumnElement[Any], runs: Collection[int]) -> Select[Any]:
    """What each device measured for each series in each of these runs: their ids, host, UUID and these aggregates.

    Only launches of an attempt that counts, of code as it is, that gave a positive value.
    """
    trial = and_(
        Trial.attempt_id == Measurement.attempt_id,
        Trial.epoch == Measurement.epoch,
        Trial.trial == Measurement.trial,
    )
    each = (Measurement.series_id, Measurement.run_id, Host.name, UUID_OF_TRIAL)
    return (
        select(*each, *columns)
        .join(Series, Series.id == Measurement.series_id)
        .join(Attempt, and_(Attempt.id == Measurement.attempt_id, Attempt.epoch == Measurement.epoch))
        .join(Host, Host.id == Attempt.host_id)
        .join(Trial, trial)
        .where(
            Measurement.run_id.in_(runs),
            Measurement.late.is_(False),
            Measurement.outcome == Outcome.OK.value,
            Measurement.value > 0,
            Series.arm == "",
        )
        .group_by(*each)
    )


async def of_suite(session: AsyncSession, runs: Collection[int], suite: str) -> set[int]:
    """Those of some runs that measured this suite."""
    return set(await session.scalars(select(Run.id).where(Run.id.in_(runs), Run.suite == suite)))


async def points(
    session: AsyncSession, *, runs: Collection[int], series_ids: Collection[int] | None = None
) -> list[DevicePoint]:
    """What devices gave in these runs, oldest run first; of primary series only when none are named."""
    if not runs:
        return []
    wanted = Series.primary.is_(True) if series_ids is None else Series.id.in_(series_ids)
    middle = func.percentile_cont(0.5).within_group(Measurement.value)
    statement = (
        on_devices(middle, func.min(Measurement.measured_at), func.count(), runs=runs)
        .where(wanted)
        .order_by(Measurement.run_id, Measurement.series_id, UUID_OF_TRIAL)
    )
    return [
        DevicePoint(row[0], row[1], row[2], device_id(row[2], row[3]), row[4], row[5], row[6])
        for row in await session.execute(statement)
    ]


async def visits(session: AsyncSession, runs: Collection[int]) -> list[DeviceVisit]:
    """Which devices these runs were measured on, and in what environment: the first trial of each, oldest run first."""
    if not runs:
        return []
    statement = (
        select(
            Attempt.run_id,
            Run.commit,
            Host.name,
            UUID_OF_TRIAL,
            Trial.device_key,
            Trial.device["kind"].astext,
            Trial.started_at,
            Trial.facts,
            Trial.throttle,
        )
        .join(Attempt, and_(Attempt.id == Trial.attempt_id, Attempt.epoch == Trial.epoch))
        .join(Run, Run.id == Attempt.run_id)
        .join(Host, Host.id == Attempt.host_id)
        .where(Attempt.run_id.in_(runs))
        .ext(distinct_on(Attempt.run_id, Host.name, UUID_OF_TRIAL))
        .order_by(Attempt.run_id, Host.name, UUID_OF_TRIAL, Trial.trial)
    )
    return [
        DeviceVisit(
            run_id=row[0],
            commit=row[1],
            host=row[2],
            device=device_id(row[2], row[3]),
            model=row[4],
            kind=row[5] or "",
            at=row[6],
            facts=row[7],
            throttle=row[8] or "",
        )
        for row in await session.execute(statement)
    ]


async def series_on(session: AsyncSession, runs: Collection[int], *, most: int) -> list[Series]:
    """Primary series that these runs measured, by id."""
    measured = select(Measurement.series_id).distinct().where(Measurement.run_id.in_(runs))
    statement = select(Series).where(Series.id.in_(measured), Series.primary.is_(True), Series.arm == "")
    return list(await session.scalars(statement.order_by(Series.id).limit(most)))
