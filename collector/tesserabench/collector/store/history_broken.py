"""Series that could not be analysed: what is known of them stands still, and they are tried again and again."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import and_, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.store.history import SeriesLine, among
from tesserabench.collector.store.history_tables import HistoryBroken, SeriesWatch

BROKEN = "broken"
"""In place of the edition of the detector that a state belongs to."""


async def mark(session: AsyncSession, key: SeriesLine, *, error: str, now: datetime, until: datetime) -> None:
    """Remember that a series is broken, and leave it alone until then. Its state is forgotten: it may be the cause."""
    values = {"series_id": key[0], "line": key[1], "since": now, "tries": 1, "not_before": until, "error": error}
    again = {"tries": HistoryBroken.tries + 1, "not_before": until, "error": error}
    statement = insert(HistoryBroken).values(values)
    await session.execute(statement.on_conflict_do_update(index_elements=["series_id", "line"], set_=again))
    here = and_(SeriesWatch.series_id == key[0], SeriesWatch.line == key[1])
    await session.execute(update(SeriesWatch).where(here).values(tail=None, edition=BROKEN))


async def tries(session: AsyncSession, keys: Collection[SeriesLine]) -> dict[SeriesLine, tuple[int, datetime]]:
    """How often those of these series that are broken were tried, and until when they are left alone."""
    wanted = among(keys)
    here = and_(HistoryBroken.series_id == wanted.c.series_id, HistoryBroken.line == wanted.c.line)
    columns = (HistoryBroken.series_id, HistoryBroken.line, HistoryBroken.tries, HistoryBroken.not_before)
    return {(row[0], row[1]): (row[2], row[3]) for row in await session.execute(select(*columns).join(wanted, here))}


async def due(session: AsyncSession, now: datetime, *, limit: int) -> list[SeriesLine]:
    """Broken series that are to be tried again, longest overdue first.

    They are not locked: whoever has the watch over a series has the right to this, and looks again.
    """
    statement = (
        select(HistoryBroken.series_id, HistoryBroken.line)
        .where(HistoryBroken.not_before <= now)
        .order_by(HistoryBroken.not_before)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(statement)]


async def mended(session: AsyncSession, keys: Collection[SeriesLine]) -> list[SeriesLine]:
    """Forget that these series were broken; gives those that were."""
    where = tuple_(HistoryBroken.series_id, HistoryBroken.line).in_(list(keys))
    statement = delete(HistoryBroken).where(where).returning(HistoryBroken.series_id, HistoryBroken.line)
    return [(row[0], row[1]) for row in await session.execute(statement)]


async def count(session: AsyncSession) -> int:
    """How many series are broken."""
    return await session.scalar(select(func.count()).select_from(HistoryBroken)) or 0
