"""Series that the detector breaks over: the others go on, these are told, left alone for a while, and tried again.

Their points are written all the same, so that nothing is lost when they can be analysed again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import metrics
from tesserabench.collector.store import history_broken as store
from tesserabench.collector.store.history import SeriesLine
from tesserabench.collector.store.history_watches import WatchRow

_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=6)

_log = structlog.get_logger(__name__)


async def those_to_look_at(session: AsyncSession, rows: Sequence[WatchRow], now: datetime) -> list[WatchRow]:
    """These without the broken ones whose time has not come."""
    broken = [row.key for row in rows if row.edition == store.BROKEN]
    waiting = await store.tries(session, broken) if broken else {}
    return [row for row in rows if row.key not in waiting or waiting[row.key][1] <= now]


async def settle(
    session: AsyncSession, *, broken: Mapping[SeriesLine, str], whole: Sequence[WatchRow], now: datetime
) -> None:
    """Remember the broken ones with their errors, and forget that those were which went through from the beginning."""
    were_broken = [row.key for row in whole if row.edition == store.BROKEN]
    if were_broken:
        for series_id, line in await store.mended(session, were_broken):
            _log.info("series.mended", series=series_id, line=line)
    known = await store.tries(session, list(broken)) if broken else {}
    for key, error in broken.items():
        before, _ = known.get(key, (0, now))
        pause = min(_FIRST_PAUSE * 2 ** min(before, 20), _LONGEST_PAUSE)
        await store.mark(session, key, error=error, now=now, until=now + pause)
        metrics.DETECTOR_FAILURES.inc()
        _log.error("series.broken", series=key[0], line=key[1], tries=before + 1, why=error)
