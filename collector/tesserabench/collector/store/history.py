"""Histories of series: runs that wait to be taken into them, their points, and the watch over each series."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, bindparam, delete, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.history_tables import HistoryDue, HistoryPoint, SeriesWatch
from tesserabench.collector.store.tables import Attempt, Host, Measurement, Project, Run, Series, Trial
from tesserabench.collector.store.words import IdenticalRun, Outcome, RunState, TriggerKind

SeriesLine = tuple[int, str]
"""Id of a series and the line (branch) that is followed."""

_MOST_ROWS = 2_000
"""Rows of one statement: PostgreSQL takes 65 535 parameters."""


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


async def put_points(
    session: AsyncSession, run: Run, line: str, points: Sequence[RunPoint], flagged: Collection[int]
) -> set[int]:
    """Store what a run gave, in place of what was there; gives the series whose point is new or another one."""
    changed: set[int] = set()
    for start in range(0, len(points), _MOST_ROWS):
        rows = [
            {
                "series_id": point.series_id,
                "line": line,
                "run_id": run.id,
                "at": run.created_at,
                "value": point.value,
                "launches": point.launches,
                "spread": point.spread,
                "hosts": list(point.hosts),
                "comparability": point.comparability,
                "fingerprint": point.fingerprint,
                "flagged": point.series_id in flagged,
            }
            for point in points[start : start + _MOST_ROWS]
        ]
        statement = insert(HistoryPoint).values(rows)
        new = statement.excluded
        written = await session.scalars(
            statement.on_conflict_do_update(
                index_elements=["series_id", "line", "run_id"],
                set_={name: new[name] for name in rows[0] if name not in {"series_id", "line", "run_id"}},
                where=or_(
                    HistoryPoint.value != new.value,
                    HistoryPoint.hosts != new.hosts,
                    HistoryPoint.flagged != new.flagged,
                ),
            ).returning(HistoryPoint.series_id)
        )
        changed.update(written)
    return changed


async def drop_points(session: AsyncSession, run_id: int, line: str, keep: Collection[int]) -> set[SeriesLine]:
    """Forget points of a run for other series than these or on another line; gives where they were."""
    kept = and_(HistoryPoint.line == line, HistoryPoint.series_id.in_(keep))
    statement = delete(HistoryPoint).where(HistoryPoint.run_id == run_id, ~kept)
    gone = await session.execute(statement.returning(HistoryPoint.series_id, HistoryPoint.line))
    return {(row[0], row[1]) for row in gone}


async def points_of(session: AsyncSession, keys: Collection[SeriesLine]) -> dict[SeriesLine, list[Point]]:
    """Every point of these series, oldest run first."""
    found: dict[SeriesLine, list[Point]] = {key: [] for key in keys}
    for part in _parts(sorted(keys)):
        statement = (
            select(
                HistoryPoint.series_id,
                HistoryPoint.line,
                HistoryPoint.run_id,
                HistoryPoint.at,
                HistoryPoint.value,
                HistoryPoint.hosts,
            )
            .where(tuple_(HistoryPoint.series_id, HistoryPoint.line).in_(part))
            .order_by(HistoryPoint.series_id, HistoryPoint.line, HistoryPoint.run_id)
        )
        for row in await session.execute(statement):
            found[row[0], row[1]].append(Point(row[2], row[3], row[4], tuple(row[5])))
    return found


WatchRow = Row[SeriesWatch, Series]


async def lock_watches(session: AsyncSession, keys: Collection[SeriesLine]) -> list[tuple[SeriesWatch, Series]]:
    """The watches over these series with the series, made when they are new, locked until the commit.

    Always in one order, so that two replicas do not wait for each other.
    """
    rows: list[tuple[SeriesWatch, Series]] = []
    for part in _parts(sorted(keys)):
        new = [{"series_id": series_id, "line": line} for series_id, line in part]
        await session.execute(insert(SeriesWatch).values(new).on_conflict_do_nothing())
        statement = (
            select(SeriesWatch, Series)
            .join(Series, Series.id == SeriesWatch.series_id)
            .where(tuple_(SeriesWatch.series_id, SeriesWatch.line).in_(part))
            .order_by(SeriesWatch.series_id, SeriesWatch.line)
            .with_for_update(of=SeriesWatch)
            .execution_options(populate_existing=True)
        )
        rows += [(row[0], row[1]) for row in await session.execute(statement)]
    return rows


async def watches(session: AsyncSession, line: str, series_ids: Collection[int]) -> dict[int, SeriesWatch]:
    """The watches over these series on a line, by series."""
    statement = select(SeriesWatch).where(SeriesWatch.line == line, SeriesWatch.series_id.in_(series_ids))
    found = await session.scalars(statement, execution_options={"populate_existing": True})
    return {row.series_id: row for row in found}


async def save_watches(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write states of watches; each row holds every column."""
    if rows:
        key = and_(SeriesWatch.series_id == bindparam("b_series_id"), SeriesWatch.line == bindparam("b_line"))
        columns: dict[str, Any] = {
            name: bindparam(f"b_{name}", type_=getattr(SeriesWatch, name).type)
            for name in rows[0]
            if name not in {"series_id", "line"}
        }
        values = [{f"b_{name}": value for name, value in row.items()} for row in rows]
        # On the connection: the session would look for the rows by their primary key among its own.
        await (await session.connection()).execute(update(SeriesWatch).where(key).values(columns), values)


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


def _parts(keys: Sequence[SeriesLine]) -> Iterable[Sequence[SeriesLine]]:
    for start in range(0, len(keys), _MOST_ROWS):
        yield keys[start : start + _MOST_ROWS]
