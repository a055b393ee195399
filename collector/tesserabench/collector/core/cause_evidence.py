"""The evidence for a cause, read from the store: who was measured around a change, and what changed there."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.attribution import Change, Evidence, SiblingScore, Track, Visit
from tesserabench.collector.core import references, siblings
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store import tracks as store
from tesserabench.collector.store.tables import Project, Series
from tesserabench.collector.store.tracks import DevicePoint, DeviceVisit

VISITS_AROUND = 12
"""Runs on each device before and behind the changes that are looked at: more would bring older changes in."""

_RUNS_AROUND = 200
"""Runs of the affected suites in which those are looked for, on either side: a run may be on one host of many."""
_MOST_SERIES = 200
_MOST_TRACKS = 6000
"""What is weighed in a few seconds: one series on one device is a track."""
_FEWEST_DEVICES = 16
CANARY_SUITE = "canary"
"""A suite of this name holds nothing but canaries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSeen:
    """A change point as it is stored; `key` is the caller's."""

    key: int
    series_id: int
    change: float
    """As a fraction, positive for a larger value."""
    run_id: int
    before_run_id: int | None = None
    earliest_run_id: int | None = None
    latest_run_id: int | None = None
    devices: frozenset[str] = frozenset()
    """Ids (`store.tracks.device_id`) that it was seen on; empty for the series as a whole."""


IsCanary = Callable[[Series], bool]


def in_canary_suite(series: Series) -> bool:
    """Whether a series is a canary by its suite alone."""
    return series.suite == CANARY_SUITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Changes of one project on one line whose causes are asked for together."""

    project: Project
    line: str
    """See `baselines.branch_line`."""
    changes: Sequence[ChangeSeen]
    is_canary: IsCanary = in_canary_suite
    siblings: Mapping[str, SiblingScore] = field(default_factory=dict)
    """Standings of devices by id, where they are known."""


async def gather(session: AsyncSession, question: Question) -> Evidence:
    """The evidence for `analysis.attribution.attribute`, which is to be computed away from the event loop."""
    changes = question.changes
    affected = {change.series_id for change in changes}
    runs = await _runs(session, question)
    others = await store.series_on(session, runs, most=_MOST_SERIES)
    series = {row.id: row for row in others} | await result_store.series(session, affected)
    visits = _bounded(_around(await store.visits(session, runs), changes), changes, series=len(series))
    points = await store.points(session, runs={visit.run_id for visit in visits}, series_ids=series)
    names = _names(series, points, visits)
    return Evidence(
        visits=tuple(map(_visit, visits)),
        tracks=_tracks(points, visits, series, names, question.is_canary),
        changes=tuple(_change(change, names) for change in changes if change.series_id in names),
        siblings=await _siblings(session, visits) | dict(question.siblings),
    )


async def _siblings(session: AsyncSession, visits: Sequence[DeviceVisit]) -> dict[str, SiblingScore]:
    """How far behind their siblings the devices are that have an open finding for it."""
    known = await siblings.known_slow(session, {visit.device for visit in visits})
    return {device: SiblingScore(deviation=row.change) for device, row in known.items() if row.change is not None}


async def _runs(session: AsyncSession, question: Question) -> list[int]:
    first, last = _span(question.changes)
    default = question.project.default_branch
    # Not those of the series: a run of `core` is made of cases of `memory` and `gemm`.
    showed = {run for change in question.changes for run in (change.run_id, change.before_run_id) if run is not None}
    suites = await store.suites_of(session, showed)
    return await store.runs_around(
        session,
        store.Line(project_id=question.project.id, branches=references.branch_names(question.line or default, default)),
        suites=suites,
        first=first,
        last=last,
        most=_RUNS_AROUND,
    )


def _span(changes: Sequence[ChangeSeen]) -> tuple[int, int]:
    """The first and the last run between which the changes lie."""
    return (
        min(change.earliest_run_id or change.run_id for change in changes),
        max(change.latest_run_id or change.run_id for change in changes),
    )


def _around(visits: Sequence[DeviceVisit], changes: Sequence[ChangeSeen]) -> list[DeviceVisit]:
    """Oldest first, the visits of each device that lie next to the changes."""
    first, last = _span(changes)
    kept: list[DeviceVisit] = []
    by_device: defaultdict[str, list[DeviceVisit]] = defaultdict(list)
    for visit in sorted(visits, key=lambda one: (one.at, one.run_id)):
        by_device[visit.device].append(visit)
    for own in by_device.values():
        before = [visit for visit in own if visit.run_id < first]
        behind = [visit for visit in own if visit.run_id > last]
        between = [visit for visit in own if first <= visit.run_id <= last]
        kept += [*before[-VISITS_AROUND:], *between, *behind[:VISITS_AROUND]]
    return sorted(kept, key=lambda one: (one.at, one.run_id, one.device))


def _bounded(visits: Sequence[DeviceVisit], changes: Sequence[ChangeSeen], *, series: int) -> list[DeviceVisit]:
    """The visits of as many devices as can be weighed: those that showed the changes, and others evenly."""
    devices = sorted({visit.device for visit in visits})
    most = max(_FEWEST_DEVICES, _MOST_TRACKS // max(series, 1))
    if len(devices) <= most:
        return list(visits)
    runs = {change.run_id for change in changes}
    named = {device for change in changes for device in change.devices}
    showed = sorted(named | {visit.device for visit in visits if visit.run_id in runs})[: most // 2]
    others = [device for device in devices if device not in set(showed)]
    places = most - len(showed)
    kept = set(showed) | {others[i * len(others) // places] for i in range(places)}
    return [visit for visit in visits if visit.device in kept]


def _names(
    series: Mapping[int, Series], points: Sequence[DevicePoint], visits: Sequence[DeviceVisit]
) -> dict[int, str]:
    """What shares an effect: a GPU's series spans its model; those of CPUs, kept by host, are one over equal CPUs."""
    of_device = {visit.device: visit for visit in visits}
    models: dict[int, str] = {}
    for point in points:
        visit = of_device.get(point.device)
        if visit is not None and visit.kind == "cpu":
            models.setdefault(point.series_id, str(visit.facts.get("cpu.model", "cpu")))
    return {
        row.id: f"{row.case_id} {row.mode} {row.metric} {models.get(row.id, row.device_key)}" for row in series.values()
    }


def _visit(row: DeviceVisit) -> Visit:
    return Visit(
        run=row.run_id,
        at=row.at.timestamp(),
        commit=row.commit,
        host=row.host,
        device=row.device,
        facts={name: str(value) for name, value in row.facts.items()},
        throttle=row.throttle,
    )


def _tracks(
    points: Sequence[DevicePoint],
    visits: Sequence[DeviceVisit],
    series: Mapping[int, Series],
    names: Mapping[int, str],
    is_canary: IsCanary,
) -> tuple[Track, ...]:
    places = {(visit.run_id, visit.host, visit.device): index for index, visit in enumerate(visits)}
    grouped: defaultdict[tuple[int, str], list[tuple[int, DevicePoint]]] = defaultdict(list)
    for point in points:
        place = places.get((point.run_id, point.host, point.device))
        if place is not None:
            grouped[point.series_id, point.device].append((place, point))
    found = []
    for (series_id, device), group in sorted(grouped.items()):
        row = series[series_id]
        ordered = sorted(group, key=lambda pair: pair[0])
        found.append(
            Track(
                series=names[series_id],
                benchmark=row.benchmark,
                suite=row.suite,
                host=ordered[-1][1].host,
                device=device,
                model=row.device_key,
                canary=is_canary(row),
                visits=tuple(place for place, _ in ordered),
                values=tuple(math.log(point.value) for _, point in ordered),
            )
        )
    return tuple(found)


def _change(change: ChangeSeen, names: Mapping[int, str]) -> Change:
    return Change(
        key=change.key,
        series=names[change.series_id],
        shift=math.log1p(max(change.change, -0.999)),
        run=change.run_id,
        earliest_run=change.earliest_run_id or change.run_id,
        latest_run=change.latest_run_id or change.run_id,
        before_run=change.before_run_id or 0,
        devices=change.devices,
    )
