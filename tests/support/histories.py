"""Histories in a laboratory: many runs of one case, without judging them one by one."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from support.laboratory import Conditions, Laboratory, Request, at_once
from tesserabench.collector.core import endings, series_watch
from tesserabench.collector.core.series_watch import Watching
from tesserabench.collector.core.spec import Revision, RunSpec
from tesserabench.collector.store.history_tables import ChangePoint, HistoryPoint, SeriesWatch
from tesserabench.collector.store.tables import Run, Series

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
    """A run for each of these levels of one case, a minute apart, ended without a verdict; gives their ids."""
    ids = []
    for place, level in enumerate(levels):
        revision = Revision(branch=branch, commit=f"{place:07x}aaa") if branch else Revision(commit=f"{place:07x}aaa")
        run_id = await laboratory.ask(Request(revision=revision, spec=RunSpec(suite="core", trials=2)))
        await give(laboratory, run_id, level, host=host)
        ids.append(run_id)
    return ids


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
