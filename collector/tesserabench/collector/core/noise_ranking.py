"""Which series are noisy and why: where it pays to repeat more, or to look after a host."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.attribution.noise_shares import NoiseShares, RunSample, noise_shares
from tesserabench.collector.core import false_alarms
from tesserabench.collector.store import noise as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.tables import Project, Series

WINDOW = timedelta(days=30)
"""What was measured longer ago is not looked at."""

_MOST_RUNS = 500
_FEWEST_RUNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which series; empty names do not filter."""

    project: str = ""
    suite: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisySeries:
    """A series with its noise still to be computed."""

    series: Series
    project: str
    hosts: tuple[str, ...]
    samples: tuple[RunSample, ...]
    spent_seconds: float
    false_alarm_rate: float | None
    """Absent when identical code was never compared there."""


async def read(session: AsyncSession, wanted: Wanted, now: datetime) -> list[NoisySeries]:
    """The series that were measured often enough of late, by id."""
    runs = await store.runs_since(
        session,
        since=now - WINDOW,
        project=wanted.project,
        suite=wanted.suite,
        host=wanted.host,
        most=_MOST_RUNS,
    )
    rows = await store.spreads(session, runs, host=wanted.host)
    series = await result_store.series(session, {row.series_id for row in rows})
    seconds = await store.spent(session, runs)
    grouped: defaultdict[int, list[store.SpreadRow]] = defaultdict(list)
    for row in rows:
        grouped[row.series_id].append(row)
    projects = {row.project_id: await session.get_one(Project, row.project_id) for row in series.values()}
    rates = {
        (project.id, rate.host_class): rate.rate
        for project in projects.values()
        for rate in await false_alarms.rates(session, project.name, now)
    }
    return [
        NoisySeries(
            series=series[series_id],
            project=projects[series[series_id].project_id].name,
            hosts=tuple(sorted({row.host for row in group})),
            samples=tuple(map(_sample, group)),
            spent_seconds=seconds.get((series[series_id].case_id, series[series_id].mode), 0.0),
            false_alarm_rate=rates.get((series[series_id].project_id, series[series_id].device_key)),
        )
        for series_id, group in sorted(grouped.items())
        if len({row.run_id for row in group}) >= _FEWEST_RUNS
    ]


def _sample(row: store.SpreadRow) -> RunSample:
    return RunSample(run=row.run_id, device=row.device, launches=row.launches, mean=row.mean, variance=row.variance)


def all_shares(samples: Sequence[Sequence[RunSample]]) -> list[NoiseShares]:
    """The noise of each series, in the same order; to be computed away from the event loop."""
    return [noise_shares(one) for one in samples]
