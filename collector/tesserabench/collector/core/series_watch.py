"""The watch over every series: what runs gave becomes points, and each series with new points is looked at again.

Everything about a batch of runs happens in one transaction, from taking them off the list of what is due to the changes
that follow: a collector that dies in between leaves the list as it was, and another replica begins anew. Points and
changes are keyed by run, so that doing it twice writes the same. A run that comes late, or whose results changed,
makes its series be read from the beginning.

A transaction takes its locks in the order in which all of the collector does: see `store.database`.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import baselines, series_blocks
from tesserabench.collector.core.comparisons import key_of_entry
from tesserabench.collector.core.series_blocks import News
from tesserabench.collector.core.series_detection import detect
from tesserabench.collector.core.watching import Watching
from tesserabench.collector.errors import CollectorError
from tesserabench.collector.store import comparisons as comparison_store
from tesserabench.collector.store import history as store
from tesserabench.collector.store import history_broken as broken_store
from tesserabench.collector.store import history_due as due_store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.database import translated_errors
from tesserabench.collector.store.history import NewPoint
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import Verdict

_RUNS_AT_ONCE = 4
_POINTS = 8000
"""Points after which a transaction takes no further runs: it lasts some seconds, and a death repeats no more."""


class TakingInError(Exception):
    """Taking in these runs broke off because of an error of ours, and changed nothing."""

    def __init__(self, run_ids: Sequence[int]) -> None:
        super().__init__(f"the results of {len(run_ids)} run(s) could not be taken into the histories")
        self.run_ids = tuple(run_ids)


async def take_in(watching: Watching, *, limit: int = 64, carefully: bool = False) -> list[int]:
    """Take the results of up to `limit` ended runs into the histories, oldest first; gives the runs.

    Args:
        watching: What it takes.
        limit: The most runs; fewer where they have many results.
        carefully: Find out over which series it breaks, let the others go on, and try those again later. This is for
            runs that could not be taken in otherwise.

    Raises:
        UnavailableError: the database is away.
        TakingInError: anything else went wrong; all is as it was before.
    """
    due: list[int] = []
    try:
        async with watching.database.transaction() as session:
            due = await due_store.claim_due(session, now=watching.clock(), limit=limit)
            if due:
                news, due = await record(session, due)
                await look_again(watching, session, news, carefully=carefully)
                await due_store.done(session, due)
    except CollectorError:
        raise
    except Exception as error:
        raise TakingInError(due) from error
    return due


async def record(session: AsyncSession, run_ids: Sequence[int]) -> tuple[News, list[int]]:
    """What the first of these runs gave, as many as belong into one transaction; gives them too."""
    news, taken, points = News(), list[int](), 0
    for start in range(0, len(run_ids), _RUNS_AT_ONCE):
        part = run_ids[start : start + _RUNS_AT_ONCE]
        points += await _read(session, part, news)
        taken += part
        if points >= _POINTS:
            break
    return news, taken


async def _read(session: AsyncSession, run_ids: Sequence[int], news: News) -> int:
    found = await store.runs(session, run_ids)
    wanted = [run_id for run_id, (run, _) in found.items() if store.belongs_in_history(run)]
    measured = await store.measured(session, wanted) if wanted else {}
    for run_id in sorted(found):
        run, project = found[run_id]
        line = baselines.branch_line(run, project)
        points = measured.get(run_id, [])
        flagged = await _flagged(session, run)
        news.whole |= await store.drop_points(session, run_id, line, [point.series_id for point in points])
        await asyncio.sleep(0)
        for point in points:
            new = NewPoint(run_id, run.created_at, line, point.series_id in flagged, point)
            news.points.setdefault(new.key, []).append(new)
    return sum(len(points) for points in measured.values())


async def _flagged(session: AsyncSession, run: Run) -> set[int]:
    """Series that the run's own comparison called worse, be it for sure or not."""
    if run.verdict not in {Verdict.REGRESSED, Verdict.INCONCLUSIVE}:
        return set()
    comparison = await comparison_store.find(session, run.id)
    entries = comparison.content.get("entries", ()) if comparison is not None else ()
    keys = [
        key_of_entry(entry)
        for entry in entries
        if entry.get("verdict") == "VERDICT_REGRESSED" or entry.get("reason") == "VERDICT_REASON_NOT_CONFIRMED"
    ]
    columns = [(key.case_id, key.mode, key.metric, key.device) for key in keys]
    return set((await result_store.series_ids(session, run.project_id, columns)).values())


async def look_again(watching: Watching, session: AsyncSession, news: News, *, carefully: bool = False) -> int:
    """Write what is new, let the detector look at those series, and write what it says.

    Args:
        watching: What it takes.
        session: The transaction.
        news: What happened to which series.
        carefully: See `take_in`.

    Returns:
        How many series changed.

    Raises:
        UnavailableError: the database is away.
        ConnectionError: what computes is.
    """
    return await (_carefully if carefully else _through)(watching, session, news)


async def mend(watching: Watching, *, limit: int = 32) -> int:
    """Look again at series that were broken some time ago; gives how many.

    Raises:
        UnavailableError: the database is away.
    """
    async with watching.database.transaction() as session:
        keys = await broken_store.due(session, watching.clock(), limit=limit)
        if keys:
            await look_again(watching, session, News(whole=set(keys)), carefully=True)
    return len(keys)


async def _through(watching: Watching, session: AsyncSession, news: News) -> int:
    try:
        return await series_blocks.through(watching, session, news)
    except ExceptionGroup as errors:
        # A block that fails fails everything; which of two that failed together is told does not matter.
        raise errors.exceptions[0] from errors


async def _carefully(watching: Watching, session: AsyncSession, news: News) -> int:
    """Halve what breaks until it is one series, each time as if nothing had been written."""
    try:
        with translated_errors():
            async with session.begin_nested():
                return await _through(watching, session, news)
    except (CollectorError, ConnectionError):
        raise
    except Exception as error:
        if isinstance(error, BrokenExecutor) and not await _computes(watching):
            raise
        keys = news.keys
        if len(keys) == 1:
            await series_blocks.leave(watching, session, news, f"{type(error).__name__}: {error}")
            return 0
        middle = len(keys) // 2
        return sum([await _carefully(watching, session, news.of(part)) for part in (keys[:middle], keys[middle:])])


async def _computes(watching: Watching) -> bool:
    """Whether processes can compute at all: else their death says nothing about what they were given."""
    try:
        await watching.offload(detect, [])
    except BrokenExecutor:
        return False
    return True
