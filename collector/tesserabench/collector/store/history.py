"""Points of histories: what runs measured, what is kept of it, and how it is read."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    TableValuedAlias,
    Text,
    and_,
    bindparam,
    column,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import NullType
from tesserabench.collector.store import packed
from tesserabench.collector.store.history_tables import HistoryPoint
from tesserabench.collector.store.tables import Attempt, Host, Measurement, Project, Run, Series, Trial
from tesserabench.collector.store.words import IdenticalRun, Outcome, RunState, TriggerKind

SeriesLine = tuple[int, str]
"""Id of a series and the line (branch) that is followed."""

_HOSTS = "\x1f"
"""Between hosts while they are sent."""
_ROWS_AT_ONCE = 2000


class RunPoint(NamedTuple):
    """What a run gave for one series."""

    series_id: int
    value: float
    launches: int
    spread: float | None
    hosts: tuple[str, ...]
    comparability: str
    fingerprint: str


class Point(NamedTuple):
    """A point as detection reads it."""

    run_id: int
    at: datetime
    value: float
    hosts: tuple[str, ...]


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
            func.string_agg(each.host, aggregate_order_by(literal(_HOSTS), each.host)),
            func.string_agg(each.comparability.distinct(), literal("+")),
            func.string_agg(each.fingerprint.distinct(), literal("+")),
        )
        .group_by(each.run_id, each.series_id)
        .order_by(each.run_id, each.series_id)
    )
    found: dict[int, list[RunPoint]] = {run_id: [] for run_id in run_ids}
    hosts: dict[str, tuple[str, ...]] = {}
    for part in (await session.execute(statement)).partitions(_ROWS_AT_ONCE):
        for run_id, series_id, value, launches, spread, named, comparability, fingerprint in part:
            if named not in hosts:
                hosts[named] = tuple(named.split(_HOSTS))
            point = RunPoint(
                series_id, value, int(launches), spread, hosts[named], comparability or "", fingerprint or ""
            )
            found[run_id].append(point)
        # Making objects of rows takes the event loop's time; calls are answered in between.
        await asyncio.sleep(0)
    return found


_PUT_POINTS = """
    INSERT INTO history_point AS old
      (series_id, line, run_id, at, value, launches, spread, hosts, comparability, fingerprint, flagged)
    SELECT series_id, line, run_id, at, value, launches, spread, string_to_array(hosts, chr(31)), comparability,
      fingerprint, flagged
    FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS new
      (series_id, line, run_id, at, value, launches, spread, hosts, comparability, fingerprint, flagged)
    ON CONFLICT (series_id, line, run_id) DO UPDATE SET
      at = excluded.at, value = excluded.value, launches = excluded.launches, spread = excluded.spread,
      hosts = excluded.hosts, comparability = excluded.comparability, fingerprint = excluded.fingerprint,
      flagged = excluded.flagged
    WHERE (old.value, old.hosts, old.flagged) IS DISTINCT FROM (excluded.value, excluded.hosts, excluded.flagged)
    RETURNING series_id, line, run_id
    """
"""Arrays rather than rows of parameters: one statement for any number of points, which is planned once."""


class NewPoint(NamedTuple):
    """What a run gave for one series, with all that its row says."""

    run_id: int
    at: datetime
    line: str
    flagged: bool
    point: RunPoint

    @property
    def key(self) -> SeriesLine:
        """The series and the line."""
        return self.point.series_id, self.line

    def read(self) -> Point:
        """As detection reads it."""
        return Point(self.run_id, self.at, self.point.value, self.point.hosts)


async def put_points(session: AsyncSession, new: Sequence[NewPoint]) -> set[tuple[int, str, int]]:
    """Store what runs gave, in place of what was there; gives series, line and run of what is new or another value."""
    if not new:
        return set()
    points = [one.point for one in new]
    columns = (
        packed.bigints([point.series_id for point in points]),
        packed.texts([one.line for one in new]),
        packed.bigints([one.run_id for one in new]),
        packed.timestamps([one.at for one in new]),
        packed.doubles([point.value for point in points]),
        packed.smallints([point.launches for point in points]),
        packed.doubles([point.spread for point in points]),
        packed.texts([_HOSTS.join(point.hosts) for point in points]),
        packed.texts([point.comparability for point in points]),
        packed.texts([point.fingerprint for point in points]),
        packed.booleans([one.flagged for one in new]),
    )
    async with packed.driver_cursor(session) as cursor:
        await cursor.execute(_PUT_POINTS, columns)
        return set(await cursor.fetchall())


_DROP_POINTS = """
    DELETE FROM history_point AS old WHERE run_id = %s AND NOT EXISTS (
      SELECT FROM unnest(%s) AS kept (series_id) WHERE kept.series_id = old.series_id AND old.line = %s
    ) RETURNING series_id, line
    """


async def drop_points(session: AsyncSession, run_id: int, line: str, keep: Collection[int]) -> set[SeriesLine]:
    """Forget points of a run for other series than these or on another line; gives where they were."""
    async with packed.driver_cursor(session) as cursor:
        await cursor.execute(_DROP_POINTS, (run_id, packed.bigints(list(keep)), line))
        return set(await cursor.fetchall())


_POINTS = """
    SELECT point.series_id, point.line, point.run_id, point.at, point.value, array_to_string(point.hosts, chr(31))
    FROM unnest(%s, %s) AS wanted (series_id, line)
    JOIN history_point AS point ON point.series_id = wanted.series_id AND point.line = wanted.line
    ORDER BY point.series_id, point.line, point.run_id
    """


async def points_of(session: AsyncSession, keys: Collection[SeriesLine]) -> dict[SeriesLine, list[Point]]:
    """Every point of these series, oldest run first; a few hundred thousand at most are meant to be read at once."""
    found: dict[SeriesLine, list[Point]] = {key: [] for key in keys}
    hosts: dict[str, tuple[str, ...]] = {}
    async with packed.driver_cursor(session) as cursor:
        await cursor.execute(_POINTS, packed_keys(keys))
        while rows := await cursor.fetchmany(_ROWS_AT_ONCE):
            for series_id, line, run_id, at, value, told in rows:
                if told not in hosts:
                    hosts[told] = tuple(told.split(_HOSTS)) if told else ()
                found[series_id, line].append(Point(run_id, at, value, hosts[told]))
            await asyncio.sleep(0)
    return found


async def counts(session: AsyncSession, keys: Collection[SeriesLine]) -> dict[SeriesLine, int]:
    """How many points each of these series has, from an index alone; without those that have none."""
    wanted = among(keys)
    key = (HistoryPoint.series_id, HistoryPoint.line)
    statement = (
        select(*key, func.count())
        .join(wanted, and_(key[0] == wanted.c.series_id, key[1] == wanted.c.line))
        .group_by(*key)
    )
    return {(row[0], row[1]): row[2] for row in await session.execute(statement)}


async def newest_points(
    session: AsyncSession, keys: Collection[SeriesLine], most: int
) -> dict[SeriesLine, list[Point]]:
    """The last points of these series, up to `most` each, oldest run first."""
    found: dict[SeriesLine, list[Point]] = {key: [] for key in keys}
    wanted = among(keys)
    last = (
        select(HistoryPoint.run_id, HistoryPoint.at, HistoryPoint.value, HistoryPoint.hosts)
        .where(HistoryPoint.series_id == wanted.c.series_id, HistoryPoint.line == wanted.c.line)
        .order_by(HistoryPoint.run_id.desc())
        .limit(most)
        .lateral()
    )
    statement = select(wanted.c.series_id, wanted.c.line, last).join(last, true())
    for row in await session.execute(statement.order_by(wanted.c.series_id, wanted.c.line, last.c.run_id)):
        found[row[0], row[1]].append(Point(row[2], row[3], row[4], tuple(row[5])))
    return found


def packed_keys(keys: Collection[SeriesLine]) -> tuple[packed.Packed, packed.Packed]:
    """Series and lines in their order, as two columns."""
    ordered = sorted(keys)
    return packed.bigints([key[0] for key in ordered]), packed.texts([key[1] for key in ordered])


def among(keys: Collection[SeriesLine]) -> TableValuedAlias:
    """Series and lines as a table to join with: one statement for any number of them, compiled once."""
    columns = [bindparam(None, column, type_=NullType(), unique=True) for column in packed_keys(keys)]
    told = func.unnest(*columns).table_valued(column("series_id", BigInteger), column("line", Text), name="wanted")
    return told.render_derived()
