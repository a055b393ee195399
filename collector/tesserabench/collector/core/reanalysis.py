"""Every history analysed anew from its points: after a new edition of the detector, or when a state is doubted.

The same path as one more point, with every series read from the beginning; what the detector says again is left as it
is. Blocks are transactions of their own, so that it can be broken off and begun anew at any time, beside a collector
that goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tesserabench.collector.core import series_watch
from tesserabench.collector.core.series_watch import News, Watching
from tesserabench.collector.store import history as store

if TYPE_CHECKING:
    from tesserabench.collector.store.history import SeriesLine

_SERIES = 1600
"""Series of one transaction."""


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
        TakingInError: the results of a run cannot be taken in; those before it are.
    """
    async with watching.database.transaction() as session:
        await store.enqueue_everything(session)
    done = Reanalysed()
    while taken := await series_watch.take_in(watching):
        done = Reanalysed(runs=done.runs + len(taken))
        report(done)
    return done


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
            changed = await series_watch.look_again(watching, session, News(whole=set(keys)))
        after = keys[-1]
        done = Reanalysed(series=done.series + len(keys), changed=done.changed + changed)
        report(done)
