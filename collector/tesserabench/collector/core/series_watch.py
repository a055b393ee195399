"""The watch over every series: what runs gave becomes points, and each series with new points is looked at again.

Everything about a batch of runs happens in one transaction, from taking them off the list of what is due to the changes
that follow: a collector that dies in between leaves the list as it was, and another replica begins anew. Points and
changes are keyed by run, so that doing it twice writes the same. A run that comes late, or whose results changed,
makes its series be read from the beginning.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.policy import Policy
from tesserabench.collector.core import baselines, series_creep, series_writing
from tesserabench.collector.core.comparisons import key_of_entry
from tesserabench.collector.core.judging import Offload
from tesserabench.collector.core.series_detection import Detected, Task, detect, edition
from tesserabench.collector.core.series_rules import rules_of, smallest_step
from tesserabench.collector.errors import CollectorError
from tesserabench.collector.store import comparisons as comparison_store
from tesserabench.collector.store import history as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.history import Point, RunPoint, SeriesLine
from tesserabench.collector.store.history_tables import SeriesWatch
from tesserabench.collector.store.history_words import SeriesState
from tesserabench.collector.store.tables import Run, Series
from tesserabench.collector.store.words import Verdict

_BLOCK = 384
"""Series that a worker process gets at once: some tenths of a second of work."""
_AHEAD = 3
"""Blocks that are read while others are computed."""
_KEPT_SPACINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What watching takes."""

    database: Database
    offload: Offload
    clock: Callable[[], datetime]
    policy: Policy = field(default_factory=Policy)
    """What counts as a change where a project's policy says nothing else."""


@dataclass(slots=True)
class News:
    """Points that series got, and series that have to be read from the beginning."""

    points: dict[SeriesLine, list[Point]] = field(default_factory=dict)
    whole: set[SeriesLine] = field(default_factory=set)

    @property
    def keys(self) -> list[SeriesLine]:
        """Every series that something happened to."""
        return sorted(self.points.keys() | self.whole)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A series on its way through the detector."""

    watch: SeriesWatch
    series: Series
    policy: Policy
    task: Task
    new: Sequence[Point]


class TakingInError(Exception):
    """Taking in these runs broke off because of an error of ours, and changed nothing."""

    def __init__(self, run_ids: Sequence[int]) -> None:
        super().__init__(f"the results of {len(run_ids)} run(s) could not be taken into the histories")
        self.run_ids = tuple(run_ids)


async def take_in(watching: Watching, *, limit: int = 64) -> list[int]:
    """Take the results of up to `limit` ended runs into the histories, oldest first; gives the runs.

    Raises:
        UnavailableError: the database is away.
        TakingInError: anything else went wrong; all is as it was before.
    """
    due: list[int] = []
    try:
        async with watching.database.transaction() as session:
            due = await store.claim_due(session, now=watching.clock(), limit=limit)
            if due:
                news = await record(session, due)
                await look_again(watching, session, news)
                await store.done(session, due)
    except CollectorError:
        raise
    except Exception as error:
        raise TakingInError(due) from error
    return due


async def record(session: AsyncSession, run_ids: Collection[int]) -> News:
    """Write the points of these runs; gives what is new."""
    news = News()
    found = await store.runs(session, run_ids)
    wanted = [run_id for run_id, (run, _) in found.items() if store.belongs_in_history(run)]
    measured = await store.measured(session, wanted) if wanted else {}
    for run_id in sorted(found):
        run, project = found[run_id]
        points = measured.get(run_id, [])
        line = baselines.branch_line(run, project)
        flagged = await _flagged(session, run)
        changed = await store.put_points(session, run, line, points, flagged)
        news.whole |= await store.drop_points(session, run_id, line, [point.series_id for point in points])
        for point in points:
            if point.series_id in changed:
                news.points.setdefault((point.series_id, line), []).append(_point(run, point))
    return news


def _point(run: Run, point: RunPoint) -> Point:
    return Point(run.id, run.created_at, point.value, point.hosts)


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


async def look_again(watching: Watching, session: AsyncSession, news: News) -> int:
    """Let the detector look at every series with news, and write what it says; gives how many series changed.

    Raises:
        UnavailableError: the database is away.
        ConnectionError: what computes is.
    """
    try:
        return await _look_again(watching, session, news)
    except ExceptionGroup as errors:
        # A block that fails fails everything; which of two that failed together is told does not matter.
        raise errors.exceptions[0] from errors


async def _look_again(watching: Watching, session: AsyncSession, news: News) -> int:
    keys = news.keys
    written = 0
    waiting: deque[tuple[list[_Prepared], asyncio.Task[list[Detected]]]] = deque()
    async with asyncio.TaskGroup() as group:
        for start in range(0, len(keys), _BLOCK):
            block = await _prepare(watching, session, keys[start : start + _BLOCK], news)
            tasks = [prepared.task for prepared in block]
            waiting.append((block, group.create_task(_compute(watching.offload, tasks))))
            if len(waiting) > _AHEAD:
                written += await _write(watching, session, *waiting.popleft())
        while waiting:
            written += await _write(watching, session, *waiting.popleft())
    return written


async def _compute(offload: Offload, tasks: Sequence[Task]) -> list[Detected]:
    return await offload(detect, tasks)


async def _prepare(
    watching: Watching, session: AsyncSession, keys: Sequence[SeriesLine], news: News
) -> list[_Prepared]:
    rows = await store.lock_watches(session, keys)
    rules = await rules_of(session, [(series, watch.line) for watch, series in rows], watching.policy)
    whole = {key for key in keys if key in news.whole}
    smallest = {(series.id, watch.line): smallest_step(rules[series.id, watch.line], series) for watch, series in rows}
    for watch, _ in rows:
        key = (watch.series_id, watch.line)
        if not _continues(watch, news.points.get(key, ()), smallest[key]):
            whole.add(key)
    read = await store.points_of(session, whole) if whole else {}
    today = watching.clock().date()
    # Most series share a rule, and making its limits is not free.
    policies = {id(rule): rule.policy_on(today) for rule in {id(rule): rule for rule in rules.values()}.values()}
    prepared = []
    for watch, series in rows:
        key = (watch.series_id, watch.line)
        new = read[key] if key in read else news.points.get(key, [])
        task = Task(
            None if key in read else watch.tail,
            tuple(point.value for point in new),
            tuple("+".join(point.hosts) for point in new),
            smallest[key],
        )
        prepared.append(_Prepared(watch, series, policies[id(rules[key])], task, new))
    return prepared


def _continues(watch: SeriesWatch, new: Sequence[Point], smallest: float) -> bool:
    """Whether the new points can be added to what is known: they come after it, and it is of this detector."""
    known = watch.tail is not None and watch.edition == edition(smallest)
    return known and (not new or watch.last_run_id is None or new[0].run_id > watch.last_run_id)


async def _write(
    watching: Watching, session: AsyncSession, block: Sequence[_Prepared], computing: "asyncio.Task[list[Detected]]"
) -> int:
    detected = await computing
    now = watching.clock()
    moved = [
        series_writing.Moved(
            watch=prepared.watch,
            series=prepared.series,
            policy=prepared.policy,
            detected=found,
            points=prepared.new if prepared.task.tail is None else None,
        )
        for prepared, found in zip(block, detected, strict=True)
        # Among points that were read anew the same place may be that of another run.
        if series_writing.has_moved(prepared.watch, found) or (prepared.task.tail is None and prepared.watch.points)
    ]
    places = await series_writing.write_changes(session, moved, now)
    states = [
        _state(prepared, found, places.get((prepared.watch.series_id, prepared.watch.line)))
        for prepared, found in zip(block, detected, strict=True)
    ]
    await store.save_watches(session, states, now)
    subjects = [series_creep.Subject(prepared.series, prepared.watch.line, prepared.policy) for prepared in block]
    return len(moved) + await series_creep.look(session, subjects, now)


def _state(prepared: _Prepared, found: Detected, runs: Mapping[int, int] | None) -> store.WatchState:
    watch, new, task = prepared.watch, prepared.new, prepared.task
    if runs is None and task.tail is None and new:
        runs = {0: new[0].run_id}
    before = None if task.tail is None else watch.last_at
    times = [moment for moment in (before, *(point.at for point in new)) if moment is not None]
    spacings = [(after - earlier).total_seconds() for earlier, after in itertools.pairwise(times)]
    newest = found.levels[-1] if found.levels else None
    return store.WatchState(
        series_id=watch.series_id,
        line=watch.line,
        points=found.points,
        last_run_id=new[-1].run_id if new else watch.last_run_id,
        last_at=new[-1].at if new else watch.last_at,
        spacings=[*(() if task.tail is None else watch.spacings), *spacings][-_KEPT_SPACINGS:],
        tail=found.tail,
        edition=edition(task.smallest_change),
        segments=series_writing.segments_json(watch, found, runs),
        known=watch.known if runs is None else series_writing.marks_json(found),
        host_offsets=dict(found.host_offsets),
        level=newest.level if newest else None,
        noise_spread=newest.spread if newest else None,
        noise=newest.noise if newest else "",
        state=SeriesState.ACTIVE.value,
    )
