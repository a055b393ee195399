"""What the page of a run shows."""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import runs
from tesserabench.collector.core.runs import RunView
from tesserabench.collector.store import boxes as box_store
from tesserabench.collector.store import comparisons as comparison_store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.boxes import Box
from tesserabench.collector.store.tables import CaseResult, Series
from tesserabench.collector.web import chart
from tesserabench.collector.web.chart import Group

_MOST_CHARTS = 60
_MOST_FAILURES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """A case's primary metric in a run."""

    series: Series
    median: float
    low: float
    """Smallest lower end of the launches' intervals."""
    high: float
    launches: int
    change: Mapping[str, Any]
    """Its entry in the comparison; empty when it has none."""
    drawing: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """A run with its results and its comparison."""

    view: RunView
    cases: Sequence[CaseRow]
    failures: Sequence[CaseResult]
    comparison: Mapping[str, Any]
    """As `tesserabench.v1.Comparison` in JSON; empty while there is none."""
    base_run_id: int | None
    build_link: str
    """Address of the build that asked, when it is one that may be followed: a caller chose it."""


async def read(session: AsyncSession, run_id: int, now: datetime) -> RunPage:
    """The page of a run as it is now.

    Raises:
        NotFoundError: there is no such run.
    """
    view = await runs.view(session, run_id, now=now)
    decided = await comparison_store.find(session, run_id)
    content: Mapping[str, Any] = decided.content if decided is not None else {}
    base_run_id = decided.base_run_id if decided is not None else None
    measured = await box_store.of_runs(session, [run_id, *([base_run_id] if base_run_id is not None else [])])
    failures = await result_store.unsuccessful(session, run_id)
    return RunPage(
        view=view,
        cases=list(_cases(measured, run_id, base_run_id, _primary_entries(content))),
        failures=failures[:_MOST_FAILURES],
        comparison=content,
        base_run_id=base_run_id,
        build_link=view.run.build_url if urlsplit(view.run.build_url).scheme in {"http", "https"} else "",
    )


def _key(series: Series) -> tuple[str, str, str, str]:
    return series.case_id, series.mode, series.metric, series.device_key


def _primary_entries(content: Mapping[str, Any]) -> dict[tuple[str, str, str, str], Mapping[str, Any]]:
    return {
        (
            entry["case"]["id"],
            entry.get("mode", "").removeprefix("TIMING_MODE_").lower(),
            entry.get("metric", ""),
            entry.get("device", ""),
        ): entry
        for entry in content.get("entries", ())
        if entry.get("primary")
    }


def _cases(
    measured: Iterable[Box],
    run_id: int,
    base_run_id: int | None,
    entries: Mapping[tuple[str, str, str, str], Mapping[str, Any]],
) -> Iterable[CaseRow]:
    drawn = 0
    for _, group in itertools.groupby(measured, key=lambda box: box.series.id):
        found = list(group)
        own = [box for box in found if box.run_id == run_id]
        if not own:
            continue
        series = own[0].series
        before = [box for box in found if box.run_id == base_run_id]
        groups = [
            Group(name=f"base, run {base_run_id}", style="base", boxes=before),
            Group(name=f"run {run_id}", style="head", boxes=own),
        ]
        drawn += 1
        yield CaseRow(
            series=series,
            median=statistics.median(box.value for box in own),
            low=min(box.ci_low if box.ci_low is not None else box.value for box in own),
            high=max(box.ci_high if box.ci_high is not None else box.value for box in own),
            launches=len(own),
            # Of two arms, the comparison names the case of the first.
            change={} if series.arm not in {"", "a"} else entries.get(_key(series), {}),
            drawing=chart.launches(groups, series.unit) if drawn <= _MOST_CHARTS else Markup(""),
        )
