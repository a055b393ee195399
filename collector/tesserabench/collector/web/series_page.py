"""What the page of a series shows."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import series_history
from tesserabench.collector.core.series_history import History
from tesserabench.collector.errors import invalid_field
from tesserabench.collector.store import history_pages as store
from tesserabench.collector.store.history_tables import ChangePoint
from tesserabench.collector.web import history_chart

_MOST_POINTS = 1000
_DAYS = 365
_MOST_DAYS = 3650
_NEWEST = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPage:
    """A series on a branch."""

    history: History
    branch: str
    branches: Sequence[str]
    drawing: Markup
    changes: Sequence[tuple[int, ChangePoint, str, str]]
    """Number in the chart (0: not drawn), change, commits after and before."""
    newest: Sequence[store.PointRow]
    days: int
    command: str


async def read(session: AsyncSession, series_id: int, query: Mapping[str, str], now: datetime) -> SeriesPage:
    """The page of a series; `query` may hold `branch` and `days`.

    Raises:
        NotFoundError: there is no such series, or nothing on this branch.
        InvalidArgumentError: `days` is no sensible number, or `branch` no text.
    """
    branch, days = _branch(query.get("branch", "")), _days(query.get("days", str(_DAYS)))
    window = store.Window(since=now - timedelta(days=days), size=_MOST_POINTS, newest=True)
    history = await series_history.read(session, series_id, branch, window)
    lines = await store.lines(session, series_id)
    numbers = {change.id: number for number, change in history_chart.numbered(history)}
    changes = [(numbers.get(row[0].id, 0), row[0], row[1], row[2]) for row in reversed(history.changes)]
    shown = branch or history.project.default_branch
    series = history.series
    words = ("tbctl", "history", series.case_id, "--metric", series.metric)
    return SeriesPage(
        history=history,
        branch=shown,
        branches=[line or history.project.default_branch for line in lines],
        drawing=history_chart.drawn(history),
        changes=changes,
        newest=list(reversed(history.points))[:_NEWEST],
        days=days,
        command=shlex.join((*words, "--device", series.device_key, "--branch", shown)),
    )


def _branch(text: str) -> str:
    if "\x00" in text:
        raise invalid_field("branch", text, "remove the NUL character")
    return text[:255]


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MOST_DAYS)) and 1 <= int(text) <= _MOST_DAYS):
        raise invalid_field("days", text, f"give a number from 1 to {_MOST_DAYS}")
    return int(text)
