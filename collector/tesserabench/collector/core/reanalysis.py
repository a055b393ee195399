"""Every history analysed anew from its points: after a new edition of the detector, or when a state is doubted.

The same path as one more point, with every series read from the beginning; what the detector says again is left as it
is. Blocks are transactions of their own, so that it can be broken off and begun anew at any time, beside a collector
that goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from tesserabench.collector.core import series_watch
from tesserabench.collector.core.series_blocks import News
from tesserabench.collector.core.series_watch import TakingInError
from tesserabench.collector.core.watching import Watching
from tesserabench.collector.errors import CollectorError
from tesserabench.collector.store import history_due as due_store
from tesserabench.collector.store import history_watches as store
from tesserabench.collector.store.history import SeriesLine

_SERIES = 1600
"""Series of one transaction."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reanalysed:
    """What was done."""

    series: int = 0
    changed: int = 0
    """Series in which something else was found than before."""
    runs: int = 0
    """Runs whose results were read anew."""


Report = Callable[[Reanalysed], None]


async def read_again(watching: Watching, report: Report) -> Reanalysed:
    """Take the results of every run that has ended into the histories anew, from the measurements.

    Raises:
        UnavailableError: the database is away.
        TakingInError: the results of a run cannot be taken in at all; those before it are.
    """
    async with watching.database.transaction() as session:
        await due_store.enqueue_everything(session)
    done = Reanalysed()
    while taken := await _take_in(watching):
        done = Reanalysed(runs=done.runs + len(taken))
        report(done)
    return done


async def _take_in(watching: Watching) -> list[int]:
    try:
        return await series_watch.take_in(watching)
    except TakingInError as error:
        _log.warning("history.breaking", runs=len(error.run_ids), why=f"{error.__cause__!r}")
        return await series_watch.take_in(watching, limit=1, carefully=True)


async def reanalyse(watching: Watching, report: Report, *, project: str = "") -> Reanalysed:
    """Analyse every history (of one project) anew; `report` is told after each block.

    Raises:
        UnavailableError: the database is away.
    """
    done = Reanalysed()
    after: SeriesLine | None = None
    while True:
        async with watching.database.transaction() as session:
            keys = await store.keys_after(session, after, limit=_SERIES, project=project)
        if not keys:
            return done
        changed = await _look_again(watching, keys)
        after = keys[-1]
        done = Reanalysed(series=done.series + len(keys), changed=done.changed + changed)
        report(done)


async def _look_again(watching: Watching, keys: Sequence[SeriesLine]) -> int:
    """Series over which it breaks are told, and the others go on."""
    news = News(whole=set(keys))
    try:
        async with watching.database.transaction() as session:
            return await series_watch.look_again(watching, session, news)
    except (CollectorError, ConnectionError):
        raise
    except Exception as error:  # noqa: BLE001 - it is found out which series it was, or raised again
        _log.warning("series.breaking", series=len(keys), why=f"{type(error).__name__}: {error}")
        async with watching.database.transaction() as session:
            return await series_watch.look_again(watching, session, news, carefully=True)
