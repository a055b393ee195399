"""The watch over each series: one row is read and written for one more point."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer
from tesserabench.collector.store import packed
from tesserabench.collector.store.history import SeriesLine, packed_keys
from tesserabench.collector.store.history_tables import SeriesWatch
from tesserabench.collector.store.history_words import SeriesState
from tesserabench.collector.store.tables import Project, Series


class WatchedSeries(NamedTuple):
    """What is asked of a series by those who watch it; attributes are those of the table."""

    id: int
    project_id: int
    suite: str
    benchmark: str
    case_id: str
    mode: str
    metric: str
    device_key: str
    better: str
    primary: bool
    parameters_json: str

    @property
    def parameters(self) -> Mapping[str, Any]:
        """By name."""
        read: dict[str, Any] = json.loads(self.parameters_json)
        return read


class WatchRow(NamedTuple):
    """A watch as the detector reads it; rows of the mapped class would take ten times as long to make."""

    line: str
    points: int
    last_run_id: int | None
    last_at: datetime | None
    tail: bytes | None
    edition: str
    segments: str
    """JSON, as are the changes that are written down."""
    known: str
    series: WatchedSeries

    @property
    def key(self) -> SeriesLine:
        """The series and the line."""
        return self.series.id, self.line


_MAKE = """
    INSERT INTO series_watch (series_id, line) SELECT series_id, line FROM unnest(%s, %s) AS new (series_id, line)
    ON CONFLICT DO NOTHING
    """
_LOCK = """
    SELECT watch.line, watch.points, watch.last_run_id, watch.last_at, watch.tail, watch.edition,
      CAST(watch.segments AS text), CAST(watch.known AS text),
      series.id, series.project_id, series.suite, series.benchmark, series.case_id, series.mode, series.metric,
      series.device_key, series.better, series."primary",
      CAST(series.parameters AS text)
    FROM unnest(%s, %s) AS wanted (series_id, line)
    JOIN series_watch AS watch ON watch.series_id = wanted.series_id AND watch.line = wanted.line
    JOIN series ON series.id = watch.series_id
    ORDER BY watch.series_id, watch.line
    FOR UPDATE OF watch
    """
_OWN = 8
"""Columns of the watch; the others are those of the series."""


async def lock(session: AsyncSession, keys: Collection[SeriesLine]) -> list[WatchRow]:
    """The watches over these series, made when they are new, locked until the commit.

    Always in the order of their keys, so that two replicas do not wait for each other.
    """
    wanted = packed_keys(keys)
    async with packed.driver_cursor(session) as cursor:
        await cursor.execute(_MAKE, wanted)
        await cursor.execute(_LOCK, wanted)
        return [WatchRow._make((*row[:_OWN], WatchedSeries._make(row[_OWN:]))) for row in await cursor.fetchall()]


async def watches(session: AsyncSession, line: str, series_ids: Collection[int]) -> dict[int, SeriesWatch]:
    """The watches over these series on a line, by series, without what only the detector reads: most of a row."""
    statement = select(SeriesWatch).where(SeriesWatch.line == line, SeriesWatch.series_id.in_(series_ids))
    statement = statement.options(defer(SeriesWatch.tail, raiseload=True), defer(SeriesWatch.known, raiseload=True))
    found = await session.scalars(statement, execution_options={"populate_existing": True})
    return {row.series_id: row for row in found}


class WatchState(NamedTuple):
    """What a watch knows after its last point."""

    series_id: int
    line: str
    points: int
    last_run_id: int | None
    last_at: datetime | None
    anew: bool
    """Spacings are all that there are; else they come after those that are known."""
    spacings: str
    """Seconds between points, with blanks between them."""
    tail: bytes
    edition: str
    segments: str
    known: str
    """JSON; empty leaves what is written."""
    host_offsets: str
    level: float | None
    noise_spread: float | None
    noise: str


_KEPT_SPACINGS = 20
_SAVE = f"""
    UPDATE series_watch AS old SET
      points = new.points, last_run_id = new.last_run_id, last_at = new.last_at, tail = new.tail, edition = new.edition,
      spacings = CASE WHEN new.anew THEN new.spacings ELSE
        old.spacings[greatest(1, cardinality(old.spacings) + cardinality(new.spacings) - {_KEPT_SPACINGS - 1}):]
        || new.spacings END,
      segments = CAST(new.segments AS jsonb),
      known = CASE new.known WHEN '' THEN old.known ELSE CAST(new.known AS jsonb) END,
      host_offsets = CAST(new.host_offsets AS jsonb), level = new.level, noise_spread = new.noise_spread,
      noise = new.noise, state = '{SeriesState.ACTIVE.value}', updated_at = %s
    FROM (
      SELECT series_id, line, points, last_run_id, last_at, anew,
        CAST(string_to_array(spacings, ' ') AS real[]) AS spacings,
        tail, edition, segments, known, host_offsets, level, noise_spread, noise
      FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS new (series_id, line, points,
        last_run_id, last_at, anew, spacings, tail, edition, segments, known, host_offsets, level, noise_spread, noise)
    ) AS new
    WHERE old.series_id = new.series_id AND old.line = new.line
    """  # noqa: S608 - what is put in are constants of ours
_PACK: tuple[Callable[[Any], packed.Packed], ...] = (
    *(packed.bigints, packed.texts, packed.bigints, packed.bigints, packed.timestamps, packed.booleans),
    *(packed.texts, packed.byteas, packed.texts, packed.texts, packed.texts, packed.texts),
    *(packed.doubles, packed.doubles, packed.texts),
)
"""How each attribute of a `WatchState` is sent."""


def spacings_text(seconds: Sequence[float]) -> str:
    """The last spacings as a `WatchState` has them."""
    return " ".join([f"{one:.6g}" for one in seconds[-_KEPT_SPACINGS:]])


async def save(session: AsyncSession, states: Sequence[WatchState], now: datetime) -> None:
    """Write states of watches that are locked, all in one statement."""
    if not states:
        return
    columns = [now, *(pack(column) for pack, column in zip(_PACK, zip(*states, strict=True), strict=True))]
    async with packed.driver_cursor(session) as cursor:
        await cursor.execute(_SAVE, columns)


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
