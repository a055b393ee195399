"""What the page of a regression shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import regressions
from tesserabench.collector.core.finding_evidence import told
from tesserabench.collector.core.next_steps import NextStep, next_steps
from tesserabench.collector.core.reproducing import reproduce_command
from tesserabench.collector.store import boxes as box_store
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.tables import Regression, RegressionEvent, RegressionMember, Run, Series
from tesserabench.collector.web import chart
from tesserabench.collector.web.chart import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionPage:
    """A regression with its evidence and its history."""

    regression: Regression
    series: Series | None
    run: Run | None
    project: str
    evidence: Mapping[str, Any]
    """As `tesserabench.v1.ComparisonEntry` in JSON."""
    attribution: Mapping[str, Any]
    """As `tesserabench.v1.Attribution` in JSON; empty when no cause has been looked for."""
    members: Sequence[Row[RegressionMember, Series]]
    """The series that show it, worst first."""
    reproduce: str
    events: Sequence[RegressionEvent]
    drawing: Markup
    next_steps: Sequence[NextStep]


async def read(session: AsyncSession, regression_id: int) -> RegressionPage:
    """The page of a regression.

    Raises:
        NotFoundError: there is no such regression.
    """
    regression, series, run, project = await regressions.get(session, regression_id)
    looks = [
        ("base", "base", regression.base_run_id),
        ("head", "seen in", regression.run_id),
        ("again", "measured again in", regression.confirming_run_id),
    ]
    ids = [run_id for _, _, run_id in looks if run_id is not None]
    measured = await box_store.of_runs(session, ids, series_id=series.id) if series is not None else []
    groups = [
        Group(name=f"{what}, run {run_id}", style=style, boxes=[box for box in measured if box.run_id == run_id])
        for style, what, run_id in looks
        if run_id is not None
    ]
    return RegressionPage(
        regression=regression,
        series=series,
        run=run,
        project=project,
        evidence=told(regression),
        attribution=regression.attribution,
        members=await store.members(session, regression_id),
        reproduce=reproduce_command(regression),
        events=await store.events(session, regression_id),
        drawing=chart.launches(groups, series.unit) if series is not None else Markup(),
        next_steps=next_steps(regression),
    )
