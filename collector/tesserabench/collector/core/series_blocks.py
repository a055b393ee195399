"""Series on their way through the detector: read in blocks, computed elsewhere, written while others are computed.

A block is bounded by series and by points, so that neither the event loop nor the memory has to take a whole store at
once, however long its histories are.
"""

import asyncio
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.rules import Rule
from tesserabench.collector.core import series_broken, series_creep, series_writing
from tesserabench.collector.core.series_detection import (
    Broken,
    Detected,
    Task,
    detect,
    edition,
    marks_json,
    segments_json,
)
from tesserabench.collector.core.series_parts import in_parts
from tesserabench.collector.core.series_rules import rules_of, smallest_steps
from tesserabench.collector.core.watching import Watching
from tesserabench.collector.store import history as store
from tesserabench.collector.store import history_watches as watch_store
from tesserabench.collector.store.history import NewPoint, Point, SeriesLine
from tesserabench.collector.store.history_watches import WatchRow, WatchState

_SERIES = 384
"""Series that a worker process gets at once: some tenths of a second of work."""
_POINTS = 60_000
"""Points that it gets at once, unless one series alone has more."""
_AHEAD = 3
"""Blocks that are read while others are computed."""
_KEPT_SPACINGS = 20


@dataclass(slots=True)
class News:
    """Points that runs gave, and series that have to be read from the beginning."""

    points: dict[SeriesLine, list[NewPoint]] = field(default_factory=dict)
    """By series, oldest run first; not written yet."""
    whole: set[SeriesLine] = field(default_factory=set)

    @property
    def keys(self) -> list[SeriesLine]:
        """Every series that something happened to."""
        return sorted(self.points.keys() | self.whole)

    def of(self, keys: Sequence[SeriesLine]) -> "News":
        """What is about these series."""
        points = {key: self.points[key] for key in keys if key in self.points}
        return News(points=points, whole=self.whole.intersection(keys))


class _Item(NamedTuple):
    """A series on its way through the detector."""

    watch: WatchRow
    rule: Rule
    task: Task
    points: Sequence[Point]
    """What the task is about: new ones, or all."""

    @property
    def anew(self) -> bool:
        """Whether everything is read and computed from the beginning."""
        return self.task.tail is None


async def through(watching: Watching, session: AsyncSession, news: News) -> int:
    """Write what is new, and what the detector says of it; gives how many series changed.

    Raises:
        UnavailableError: the database is away.
        ConnectionError: what computes is.
    """
    changed = 0
    waiting: deque[tuple[list[_Item], asyncio.Task[list[Detected | Broken]]]] = deque()
    async with asyncio.TaskGroup() as group:
        async for block in _blocks(watching, session, news):
            waiting.append((block, group.create_task(_compute(watching, block))))
            if len(waiting) > _AHEAD:
                changed += await _write(watching, session, *waiting.popleft())
        while waiting:
            changed += await _write(watching, session, *waiting.popleft())
    return changed


async def leave(watching: Watching, session: AsyncSession, news: News, error: str) -> None:
    """Write points of series that are broken, and nothing else about them but the error."""
    await _put(session, [one for points in news.points.values() for one in points])
    await watch_store.lock(session, news.keys)
    await series_broken.settle(session, broken=dict.fromkeys(news.keys, error), whole=(), now=watching.clock())


async def _compute(watching: Watching, block: Sequence[_Item]) -> list[Detected | Broken]:
    return await watching.offload(detect, [item.task for item in block])


async def _blocks(watching: Watching, session: AsyncSession, news: News) -> AsyncIterator[list[_Item]]:
    keys = news.keys
    for start in range(0, len(keys), _SERIES):
        part = keys[start : start + _SERIES]
        fresh = await _put(session, [one for key in part for one in news.points.get(key, ())])
        rows = await watch_store.lock(session, [key for key in part if key in fresh or key in news.whole])
        rows = await series_broken.those_to_look_at(session, rows, watching.clock())
        series = [(row.series, row.line) for row in rows]
        rules = await rules_of(session, series, watching.policy)
        smallest = smallest_steps(rules, series)
        going_on, whole = [], []
        for row in rows:
            new = fresh.get(row.key, [])
            if row.key not in news.whole and _continues(row, new, smallest[row.key]):
                going_on.append(_going_on(row, rules[row.key], new, smallest[row.key]))
            else:
                whole.append(row)
        if going_on:
            yield going_on
        async for part_of_whole in _read(session, whole):
            yield [_anew(row, rules[row.key], points, smallest[row.key]) for row, points in part_of_whole]


async def _put(session: AsyncSession, new: Sequence[NewPoint]) -> dict[SeriesLine, list[Point]]:
    """Write points; gives by series those that are new or have another value."""
    changed = await store.put_points(session, new)
    fresh: dict[SeriesLine, list[Point]] = {}
    for one in new:
        if (*one.key, one.run_id) in changed:
            fresh.setdefault(one.key, []).append(one.read())
    return fresh


def _continues(watch: WatchRow, new: Sequence[Point], smallest: float) -> bool:
    """Whether the new points can be added to what is known: they come after it, and it is of this detector."""
    known = watch.tail is not None and watch.edition == edition(smallest)
    return known and (not new or watch.last_run_id is None or new[0].run_id > watch.last_run_id)


def _going_on(watch: WatchRow, rule: Rule, new: Sequence[Point], smallest: float) -> _Item:
    task = Task(
        tail=watch.tail,
        values=tuple([point.value for point in new]),
        hosts=tuple(["+".join(point.hosts) for point in new]),
        smallest_change=smallest,
        known=watch.known,
        segments=watch.segments,
    )
    return _Item(watch, rule, task, new)


def _anew(watch: WatchRow, rule: Rule, points: Sequence[Point], smallest: float) -> _Item:
    names = {point.hosts: "+".join(point.hosts) for point in points}
    task = Task(
        tail=None,
        values=tuple([point.value for point in points]),
        hosts=tuple([names[point.hosts] for point in points]),
        smallest_change=smallest,
        known=watch.known,
        first_run=points[0].run_id if points else watch.last_run_id,
        # Among points that were read anew the same place may be that of another run.
        doubted=watch.points > 0,
    )
    return _Item(watch, rule, task, points)


async def _read(
    session: AsyncSession, rows: Sequence[WatchRow]
) -> AsyncIterator[list[tuple[WatchRow, Sequence[Point]]]]:
    """Series with all their points, so many at once that they do not fill the memory."""
    counts = await store.counts(session, [row.key for row in rows]) if rows else {}
    points = [counts.get(row.key, 0) for row in rows]
    for part in in_parts(rows, points, most_items=_SERIES, most_points=_POINTS):
        read = await store.points_of(session, [row.key for row in part])
        yield [(row, read[row.key]) for row in part]


async def _write(
    watching: Watching,
    session: AsyncSession,
    block: Sequence[_Item],
    computing: "asyncio.Task[list[Detected | Broken]]",
) -> int:
    good, broken = await _sorted_out(watching, session, block, await computing)
    now = watching.clock()
    today = now.date()
    moved = [
        series_writing.Moved(
            watch=item.watch,
            policy=item.rule.policy_on(today),
            findings=found.findings,
            points=item.points if item.anew else None,
        )
        for item, found in good
        if found.findings is not None
    ]
    runs = await series_writing.write_changes(session, moved, now)
    await watch_store.save(session, [_state(item, found, runs.get(item.watch.key)) for item, found in good], now)
    await series_broken.settle(session, broken=broken, whole=[item.watch for item, _ in good if item.anew], now=now)
    subjects = [
        series_creep.Subject(
            series=item.watch.series,
            line=item.watch.line,
            rule=item.rule,
            spread=found.spread or 0.0,
            host_offsets=found.host_offsets,
        )
        for item, found in good
    ]
    return len(moved) + await series_creep.look(session, subjects, now)


async def _sorted_out(
    watching: Watching, session: AsyncSession, block: Sequence[_Item], detected: Sequence[Detected | Broken]
) -> tuple[list[tuple[_Item, Detected]], dict[SeriesLine, str]]:
    """What was found, and the errors of series that are broken: those whose state cannot be read are read anew."""
    good: list[tuple[_Item, Detected]] = []
    broken: dict[SeriesLine, str] = {}
    doubtful: list[_Item] = []
    for item, found in zip(block, detected, strict=True):
        if isinstance(found, Detected):
            good.append((item, found))
        elif item.anew:
            broken[item.watch.key] = found.error
        else:
            doubtful.append(item)
    by_key = {item.watch.key: item for item in doubtful}
    async for part in _read(session, [item.watch for item in doubtful]):
        items = [_anew(row, by_key[row.key].rule, points, by_key[row.key].task.smallest_change) for row, points in part]
        again, errors = await _sorted_out(watching, session, items, await _compute(watching, items))
        good += again
        broken |= errors
    return good, broken


def _state(item: _Item, found: Detected, runs: dict[int, int | None] | None) -> WatchState:
    watch, points = item.watch, item.points
    times = [point.at for point in points[-_KEPT_SPACINGS - 1 :]]
    if not item.anew and watch.last_at is not None:
        times.insert(0, watch.last_at)
    findings = found.findings
    return WatchState(
        series_id=watch.series.id,
        line=watch.line,
        points=found.points,
        last_run_id=points[-1].run_id if points else watch.last_run_id,
        last_at=points[-1].at if points else watch.last_at,
        anew=item.anew,
        spacings=watch_store.spacings_text([(b - a).total_seconds() for a, b in itertools.pairwise(times)]),
        tail=found.tail,
        edition=edition(item.task.smallest_change),
        segments=found.segments if findings is None else segments_json(findings.levels, runs or {}),
        # Without findings what is written is still so; a new series has nothing written.
        known="" if findings is None else marks_json(findings.marks),
        host_offsets=json.dumps(found.host_offsets) if found.host_offsets else "{}",
        level=found.level,
        noise_spread=found.spread,
        noise=found.noise,
    )
