"""Histories of series: runs that wait to be taken into them, their points, and the watch over each series."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    TableValuedAlias,
    Text,
    and_,
    cast,
    column,
    delete,
    func,
    literal,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer
from tesserabench.collector.store.history_tables import HistoryDue, HistoryPoint, SeriesWatch
from tesserabench.collector.store.tables import Attempt, Host, Measurement, Project, Run, Series, Trial
from tesserabench.collector.store.words import IdenticalRun, Outcome, RunState, TriggerKind

SeriesLine = tuple[int, str]
"""Id of a series and the line (branch) that is followed."""

_HOSTS = "\x1f"
"""Between hosts while they are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPoint:
    """What a run gave for one series."""

    series_id: int
    value: float
    launches: int
    spread: float | None
    hosts: tuple[str, ...]
    comparability: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Point:
    """A point as detection reads it."""

    run_id: int
    at: datetime
    value: float
    hosts: tuple[str, ...]


async def enqueue(session: AsyncSession, run_id: int) -> None:
    """Let the points of a run that ends in this transaction be taken into the histories."""
    await session.execute(insert(HistoryDue).values(run_id=run_id).on_conflict_do_nothing())


async def enqueue_everything(session: AsyncSession) -> int:
    """Let every run that has ended be taken in anew; gives how many. What is known stays, and is put right."""
    finished = select(Run.id).where(Run.state == RunState.FINISHED.value)
    statement = insert(HistoryDue).from_select(["run_id"], finished)
    fresh = {"tries": 0, "error": "", "not_before": func.now()}
    changed = await session.execute(
        statement.on_conflict_do_update(index_elements=["run_id"], set_=fresh).returning(HistoryDue.run_id)
    )
    return len(changed.all())


async def claim_due(session: AsyncSession, *, now: datetime, limit: int) -> list[int]:
    """Runs to take in, oldest first, kept from other replicas until the transaction ends, however it ends."""
    statement = (
        select(HistoryDue.run_id)
        .where(HistoryDue.error == "", HistoryDue.not_before <= now)
        .order_by(HistoryDue.run_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(await session.scalars(statement))


async def done(session: AsyncSession, run_ids: Collection[int]) -> None:
    """These runs have been taken in."""
    await session.execute(delete(HistoryDue).where(HistoryDue.run_id.in_(run_ids)))


async def failed(session: AsyncSession, run_id: int, *, until: datetime, most_tries: int, error: str) -> bool:
    """Leave a run alone until then; with too many tries for good. Gives whether it was given up."""
    row = await session.get(HistoryDue, run_id, with_for_update=True, populate_existing=True)
    if row is None:
        return False
    row.tries += 1
    row.not_before = until
    if row.tries >= most_tries:
        row.error = error
    return bool(row.error)


async def runs(session: AsyncSession, ids: Collection[int]) -> dict[int, tuple[Run, Project]]:
    """Runs with their projects, by id."""
    statement = select(Run, Project).join(Project, Project.id == Run.project_id).where(Run.id.in_(ids))
    return {row[0].id: (row[0], row[1]) for row in await session.execute(statement)}


def belongs_in_history(run: Run) -> bool:
    """Whether a run's results show the level of its code.

    A drill was slowed on purpose, an interleaved comparison has two arms, and what only measures another run's code
    again (to confirm, or to count false alarms) is no step in time.
    """
    again = run.trigger == TriggerKind.CONFIRMATION or run.identical == IdenticalRun.SECOND
    return run.state == RunState.FINISHED and not (run.drill or again or "duet" in run.spec)


async def measured(session: AsyncSession, run_ids: Collection[int]) -> dict[int, list[RunPoint]]:
    """By run the points that it gives: medians over the launches of each host, then over hosts.

    Launches that failed or were throttled, results of superseded attempts and values that are no finite numbers do
    not count.
    """
    launch = Measurement
    per_host = (
        select(
            launch.run_id,
            launch.series_id,
            Host.name.label("host"),
            func.percentile_cont(0.5).within_group(launch.value).label("value"),
            func.count().label("launches"),
            func.var_samp(func.ln(launch.value)).filter(launch.value > 0).label("variance"),
            func.min(Trial.comparability).label("comparability"),
            func.min(Trial.fingerprint).label("fingerprint"),
        )
        .join(Attempt, and_(Attempt.id == launch.attempt_id, Attempt.epoch == launch.epoch))
        .join(Host, Host.id == Attempt.host_id)
        .join(Series, and_(Series.id == launch.series_id, Series.arm == ""))
        .outerjoin(
            Trial,
            and_(Trial.attempt_id == launch.attempt_id, Trial.epoch == launch.epoch, Trial.trial == launch.trial),
        )
        .where(
            launch.run_id.in_(run_ids),
            launch.late.is_(False),
            launch.outcome == Outcome.OK.value,
            func.abs(launch.value) < float("inf"),
        )
        .group_by(launch.run_id, launch.series_id, Host.name)
        .subquery()
    )
    each = per_host.c
    statement = (
        select(
            each.run_id,
            each.series_id,
            func.percentile_cont(0.5).within_group(each.value),
            func.sum(each.launches),
            func.sqrt(func.avg(each.variance)),
            func.array_agg(aggregate_order_by(each.host, each.host)),
            func.string_agg(each.comparability.distinct(), literal("+")),
            func.string_agg(each.fingerprint.distinct(), literal("+")),
        )
        .group_by(each.run_id, each.series_id)
        .order_by(each.run_id, each.series_id)
    )
    found: dict[int, list[RunPoint]] = {run_id: [] for run_id in run_ids}
    for row in await session.execute(statement):
        point = RunPoint(
            series_id=row[1],
            value=row[2],
            launches=int(row[3]),
            spread=row[4],
            hosts=tuple(row[5]),
            comparability=row[6] or "",
            fingerprint=row[7] or "",
        )
        found[row[0]].append(point)
    return found


_PUT_POINTS = text(
    """
    INSERT INTO history_point AS old
      (series_id, line, run_id, at, value, launches, spread, hosts, comparability, fingerprint, flagged)
    SELECT series_id, :line, :run_id, :at, value, launches, spread, string_to_array(hosts, chr(31)), comparability,
      fingerprint, flagged
    FROM unnest(
      CAST(:series_id AS bigint[]), CAST(:value AS float8[]), CAST(:launches AS smallint[]), CAST(:spread AS float8[]),
      CAST(:hosts AS text[]), CAST(:comparability AS text[]), CAST(:fingerprint AS text[]), CAST(:flagged AS boolean[])
    ) AS new (series_id, value, launches, spread, hosts, comparability, fingerprint, flagged)
    ON CONFLICT (series_id, line, run_id) DO UPDATE SET
      at = excluded.at, value = excluded.value, launches = excluded.launches, spread = excluded.spread,
      hosts = excluded.hosts, comparability = excluded.comparability, fingerprint = excluded.fingerprint,
      flagged = excluded.flagged
    WHERE (old.value, old.hosts, old.flagged) IS DISTINCT FROM (excluded.value, excluded.hosts, excluded.flagged)
    RETURNING series_id
    """
)
"""Arrays rather than rows of parameters: one statement for any number of points, which is not compiled each time."""


async def put_points(
    session: AsyncSession, run: Run, line: str, points: Sequence[RunPoint], flagged: Collection[int]
) -> set[int]:
    """Store what a run gave, in place of what was there; gives the series whose point is new or another one."""
    if not points:
        return set()
    values = {
        "line": line,
        "run_id": run.id,
        "at": run.created_at,
        "series_id": [point.series_id for point in points],
        "value": [point.value for point in points],
        "launches": [point.launches for point in points],
        "spread": [point.spread for point in points],
        "hosts": [_HOSTS.join(point.hosts) for point in points],
        "comparability": [point.comparability for point in points],
        "fingerprint": [point.fingerprint for point in points],
        "flagged": [point.series_id in flagged for point in points],
    }
    return set((await session.execute(_PUT_POINTS, values)).scalars())


async def drop_points(session: AsyncSession, run_id: int, line: str, keep: Collection[int]) -> set[SeriesLine]:
    """Forget points of a run for other series than these or on another line; gives where they were."""
    kept = and_(HistoryPoint.line == line, HistoryPoint.series_id.in_(keep))
    statement = delete(HistoryPoint).where(HistoryPoint.run_id == run_id, ~kept)
    gone = await session.execute(statement.returning(HistoryPoint.series_id, HistoryPoint.line))
    return {(row[0], row[1]) for row in gone}


async def points_of(session: AsyncSession, keys: Collection[SeriesLine]) -> dict[SeriesLine, list[Point]]:
    """Every point of these series, oldest run first."""
    found: dict[SeriesLine, list[Point]] = {key: [] for key in keys}
    wanted = among(keys)
    statement = (
        select(
            HistoryPoint.series_id,
            HistoryPoint.line,
            HistoryPoint.run_id,
            HistoryPoint.at,
            HistoryPoint.value,
            HistoryPoint.hosts,
        )
        .join(wanted, and_(HistoryPoint.series_id == wanted.c.series_id, HistoryPoint.line == wanted.c.line))
        .order_by(HistoryPoint.series_id, HistoryPoint.line, HistoryPoint.run_id)
    )
    for row in await session.execute(statement):
        found[row[0], row[1]].append(Point(row[2], row[3], row[4], tuple(row[5])))
    return found


async def lock_watches(session: AsyncSession, keys: Collection[SeriesLine]) -> list[tuple[SeriesWatch, Series]]:
    """The watches over these series with the series, made when they are new, locked until the commit.

    Always in one order, so that two replicas do not wait for each other.
    """
    wanted = among(keys)
    new = select(wanted.c.series_id, wanted.c.line)
    await session.execute(insert(SeriesWatch).from_select(["series_id", "line"], new).on_conflict_do_nothing())
    statement = (
        select(SeriesWatch, Series)
        .join(wanted, and_(SeriesWatch.series_id == wanted.c.series_id, SeriesWatch.line == wanted.c.line))
        .join(Series, Series.id == SeriesWatch.series_id)
        .order_by(SeriesWatch.series_id, SeriesWatch.line)
        .with_for_update(of=SeriesWatch)
        .execution_options(populate_existing=True)
    )
    return [(row[0], row[1]) for row in await session.execute(statement)]


async def watches(session: AsyncSession, line: str, series_ids: Collection[int]) -> dict[int, SeriesWatch]:
    """The watches over these series on a line, by series, without what only the detector reads: most of a row."""
    statement = select(SeriesWatch).where(SeriesWatch.line == line, SeriesWatch.series_id.in_(series_ids))
    statement = statement.options(defer(SeriesWatch.tail, raiseload=True), defer(SeriesWatch.known, raiseload=True))
    found = await session.scalars(statement, execution_options={"populate_existing": True})
    return {row.series_id: row for row in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """What a watch knows after its last point."""

    series_id: int
    line: str
    points: int
    last_run_id: int | None
    last_at: datetime | None
    spacings: Sequence[float]
    tail: bytes
    edition: str
    segments: Sequence[Mapping[str, Any]]
    known: Sequence[Mapping[str, Any]]
    host_offsets: Mapping[str, float]
    level: float | None
    noise_spread: float | None
    noise: str
    state: str


_SAVE_WATCHES = text(
    """
    UPDATE series_watch AS old SET
      points = new.points, last_run_id = new.last_run_id, last_at = new.last_at,
      spacings = CAST(string_to_array(new.spacings, ' ') AS real[]), tail = new.tail, edition = new.edition,
      segments = CAST(new.segments AS jsonb), known = CAST(new.known AS jsonb),
      host_offsets = CAST(new.host_offsets AS jsonb), level = new.level, noise_spread = new.noise_spread,
      noise = new.noise, state = new.state, updated_at = :now
    FROM unnest(
      CAST(:series_id AS bigint[]), CAST(:line AS text[]), CAST(:points AS bigint[]), CAST(:last_run_id AS bigint[]),
      CAST(:last_at AS timestamptz[]), CAST(:spacings AS text[]), CAST(:tail AS bytea[]), CAST(:edition AS text[]),
      CAST(:segments AS text[]), CAST(:known AS text[]), CAST(:host_offsets AS text[]), CAST(:level AS float8[]),
      CAST(:noise_spread AS float8[]), CAST(:noise AS text[]), CAST(:state AS text[])
    ) AS new (series_id, line, points, last_run_id, last_at, spacings, tail, edition, segments, known, host_offsets,
      level, noise_spread, noise, state)
    WHERE old.series_id = new.series_id AND old.line = new.line
    """
)
_AS_JSON = frozenset({"segments", "known", "host_offsets"})


async def save_watches(session: AsyncSession, states: Sequence[WatchState], now: datetime) -> None:
    """Write states of watches that are locked, all in one statement."""
    if not states:
        return
    values: dict[str, Any] = {"now": now}
    for item in fields(WatchState):
        column_of: list[Any] = [getattr(state, item.name) for state in states]
        if item.name in _AS_JSON:
            column_of = [json.dumps(value) for value in column_of]
        elif item.name == "spacings":
            column_of = [" ".join(f"{seconds:.6g}" for seconds in value) for value in column_of]
        values[item.name] = column_of
    await session.execute(_SAVE_WATCHES, values)


async def keys_after(
    session: AsyncSession, after: SeriesLine | None, *, limit: int, project: str = ""
) -> list[SeriesLine]:
    """Series and lines that have points, in order, after one of them."""
    statement = select(SeriesWatch.series_id, SeriesWatch.line).order_by(SeriesWatch.series_id, SeriesWatch.line)
    if after is not None:
        statement = statement.where(
            tuple_(SeriesWatch.series_id, SeriesWatch.line) > tuple_(literal(after[0]), literal(after[1]))
        )
    if project:
        statement = statement.join(Series, Series.id == SeriesWatch.series_id).join(Project)
        statement = statement.where(Project.name == project)
    return [(row[0], row[1]) for row in await session.execute(statement.limit(limit))]


def among(keys: Collection[SeriesLine]) -> TableValuedAlias:
    """Series and lines as a table to join with: one statement for any number of them, compiled once."""
    ordered = sorted(keys)
    ids = cast(literal([key[0] for key in ordered], ARRAY(BigInteger)), ARRAY(BigInteger))
    lines = cast(literal([key[1] for key in ordered], ARRAY(Text)), ARRAY(Text))
    told = func.unnest(ids, lines).table_valued(column("series_id", BigInteger), column("line", Text), name="wanted")
    return told.render_derived()
