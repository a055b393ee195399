"""Histories in a laboratory: many runs of one case, without judging them one by one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from support import laboratory as lab
from support.laboratory import Conditions, Laboratory, at_once
from tesserabench.collector.core import endings, series_watch
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.core.watching import Watching
from tesserabench.collector.store import history_due, projects
from tesserabench.collector.store.history_tables import ChangePoint, HistoryPoint, SeriesWatch
from tesserabench.collector.store.tables import Attempt, Run, Series

CASE = "gemm[n=512]"
WOBBLE = (0.0, 0.004, -0.003, 0.002, -0.004, 0.001, 0.003, -0.001, -0.002, 0.0005, -0.0035, 0.0025)
"""What the runs of a quiet host differ by."""


def watching(laboratory: Laboratory) -> Watching:
    """The watch over a laboratory, in this process."""
    return Watching(database=laboratory.database, offload=at_once, clock=laboratory.clock)


def wobbly(levels: Iterable[float], shift: int = 0) -> list[float]:
    """Levels with a little noise, the same every time."""
    return [level * (1 + WOBBLE[(place + shift) % len(WOBBLE)]) for place, level in enumerate(levels)]


async def measure(
    laboratory: Laboratory, levels: Sequence[float], *, host: str = "node-1", branch: str = ""
) -> list[int]:
    """A run for each of these levels of one case, a minute apart, ended without a verdict; gives their ids.

    Every row that matters to histories is written as it would have been, in one transaction for all of them.
    """
    host_id = await laboratory.host(host)
    ids: list[int] = []
    async with laboratory.database.transaction() as session:
        project = await projects.get_or_create(session, "default")
        series = await lab._series(session, project.id, [CASE], "")
        for place, level in enumerate(levels):
            run = _run(laboratory, project.id, branch, place)
            session.add(run)
            await session.flush()
            laboratory.clock.advance(60)
            await _measured(session, laboratory, run, host_id, Given(host=host, level=level, series=series))
            run.ended_at = laboratory.clock.now
            await history_due.enqueue(session, run.id)
            ids.append(run.id)
    return ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a run measures."""

    host: str
    level: float
    series: Mapping[str, int]


def _run(laboratory: Laboratory, project_id: int, branch: str, place: int) -> Run:
    return Run(
        project_id=project_id,
        suite="core",
        tier="regression",
        spec=RunSpec(suite="core", trials=2).to_json(),
        gate={},
        commit=f"{place:07x}aaa",
        branch=branch,
        trigger="person",
        requested_by="tester",
        state="finished",
        outcome="ok",
        verdict="pass",
        created_at=laboratory.clock.now,
    )


async def _measured(session: AsyncSession, laboratory: Laboratory, run: Run, host_id: int, given: Given) -> None:
    now = laboratory.clock.now
    attempt = Attempt(
        run_id=run.id,
        ordinal=0,
        epoch=1,
        host_id=host_id,
        state="finished",
        outcome="ok",
        suite="core",
        device_kind="simulated",
        hosts=[],
        conditions=[],
        priority=0,
        created_at=now,
    )
    session.add(attempt)
    await session.flush()
    for trial in range(2):
        under = Conditions(host=given.host)
        session.add(lab._trial(attempt, trial, under, now))
        common = {
            "attempt_id": attempt.id,
            "epoch": 1,
            "sequence": trial + 1,
            "measured_at": now,
            "run_id": run.id,
            "trial": trial,
            "outcome": "ok",
            "late": False,
        }
        value = under.level * given.level * (1 + lab.STEPS[trial])
        session.add_all(
            [lab._time(common, given.series[CASE], value), lab._rate(common, given.series["rate/" + CASE], value)]
        )
    await session.flush()


async def give(laboratory: Laboratory, run_id: int, level: float, *, host: str = "node-1") -> None:
    """Let a run that was asked for measure this level, and end it."""
    await laboratory.measure(run_id, Conditions(host=host, factors={CASE: level}, cases=[CASE]))
    await end(laboratory, run_id)


async def end(laboratory: Laboratory, run_id: int) -> None:
    """End a measured run as the detector would, without a comparison."""
    async with laboratory.database.transaction() as session:
        run = await session.get_one(Run, run_id, with_for_update=True)
        run.verdict = run.verdict or "pass"
        await endings.finish(session, run, laboratory.clock.now)


async def take_in(laboratory: Laboratory) -> None:
    """Take everything that is due into the histories."""
    while await series_watch.take_in(watching(laboratory)):
        pass


async def changes(laboratory: Laboratory, *, metric: str = "time") -> list[ChangePoint]:
    """The changes of the case's series, in the order of their runs."""
    async with laboratory.database.transaction() as session:
        statement = select(ChangePoint).join(Series, Series.id == ChangePoint.series_id).where(Series.metric == metric)
        return list(await session.scalars(statement.order_by(ChangePoint.line, ChangePoint.run_id, ChangePoint.id)))


async def watch(laboratory: Laboratory, *, line: str = "", metric: str = "time") -> SeriesWatch:
    """The watch over the case's series."""
    async with laboratory.database.transaction() as session:
        statement = select(SeriesWatch).join(Series, Series.id == SeriesWatch.series_id)
        return (await session.scalars(statement.where(Series.metric == metric, SeriesWatch.line == line))).one()


async def points(laboratory: Laboratory, *, metric: str = "time") -> list[HistoryPoint]:
    """The points of the case's series, in the order of their runs."""
    async with laboratory.database.transaction() as session:
        statement = select(HistoryPoint).join(Series, Series.id == HistoryPoint.series_id)
        return list(await session.scalars(statement.where(Series.metric == metric).order_by(HistoryPoint.run_id)))
