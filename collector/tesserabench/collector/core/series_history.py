"""The history of a series as people look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.errors import NotFoundError
from tesserabench.collector.store import history_pages as store
from tesserabench.collector.store import history_watches as watch_store
from tesserabench.collector.store.history_pages import PointRow, Window
from tesserabench.collector.store.history_tables import ChangePoint, FrozenReference, SeriesWatch
from tesserabench.collector.store.tables import Baseline, Project, Series
from tesserabench.wire.names import series_name
from tesserabench.wire.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A stretch of the history of a series on a line."""

    series: Series
    project: Project
    watch: SeriesWatch
    points: Sequence[PointRow]
    changes: Sequence[tuple[ChangePoint, str, str]] = ()
    """Each with the commits after and before it."""
    references: Sequence[tuple[FrozenReference, Baseline]] = ()
    starts: Mapping[int, datetime] | None = None
    """When the first runs of segments were asked for."""


def line_of(branch: str, project: Project) -> str:
    """What the history of a branch is kept under: empty for the default branch."""
    return "" if branch == project.default_branch else branch


async def find(session: AsyncSession, series_id: int) -> tuple[Series, Project]:
    """A series and its project.

    Raises:
        NotFoundError: there is none.
    """
    found = await store.find(session, series_id)
    if found is None:
        raise missing(series_id)
    return found[0], found[1]


def missing(series_id: int) -> NotFoundError:
    """The error for a series that is not there."""
    message = f"{series_name(series_id)} does not exist; `tbctl history BENCHMARK` finds series by benchmark"
    return NotFoundError(message, reason=Reason.SERIES_NOT_FOUND)


async def read(session: AsyncSession, series_id: int, branch: str, window: Window) -> History:
    """A part of a history; what is found in the whole of it comes with the first part.

    Raises:
        NotFoundError: there is no such series, or it has no points on this branch.
    """
    series, project = await find(session, series_id)
    line = line_of(branch, project)
    watch = (await watch_store.watches(session, line, [series_id])).get(series_id)
    if watch is None or not watch.points:
        raise await _no_points(session, series, project, branch)
    points = await store.points(session, series_id, line, window)
    if window.after is not None:
        return History(series=series, project=project, watch=watch, points=points)
    runs = await store.run_facts(session, {row["run"] for row in watch.segments if row["run"] is not None})
    return History(
        series=series,
        project=project,
        watch=watch,
        points=points,
        changes=await store.changes(session, series_id, line),
        references=[(row[0], row[1]) for row in await store.references(session, series_id, line)],
        starts={run_id: at for run_id, (_, at) in runs.items()},
    )


async def _no_points(session: AsyncSession, series: Series, project: Project, branch: str) -> NotFoundError:
    others = [line or project.default_branch for line in await store.lines(session, series.id)]
    known = f"it has some on {', '.join(others[:5])}" if others else "no run has measured it yet"
    where = branch or project.default_branch
    message = f"{series.case_id} ({series.metric}) has no points on branch {where!r}; {known}"
    return NotFoundError(message, reason=Reason.SERIES_NOT_FOUND)
