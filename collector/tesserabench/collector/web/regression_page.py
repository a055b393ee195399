"""What the page of a regression shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import regressions
from tesserabench.collector.core.spec import DEFAULT_BRANCH
from tesserabench.collector.store import boxes as box_store
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.tables import Regression, RegressionEvent, Run, Series
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES
from tesserabench.collector.web import chart
from tesserabench.collector.web.chart import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionPage:
    """A regression with its evidence and its history."""

    regression: Regression
    series: Series
    run: Run
    project: str
    evidence: Mapping[str, Any]
    """As `tesserabench.v1.ComparisonEntry` in JSON."""
    events: Sequence[RegressionEvent]
    drawing: Markup
    commands: Sequence[tuple[str, str]]
    """What can be done now: what it does, and how to type it."""


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
    measured = await box_store.of_runs(session, ids, series_id=series.id)
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
        evidence=regression.evidence,
        events=await store.events(session, regression_id),
        drawing=chart.launches(groups, series.unit),
        commands=commands(regression, run),
    )


def commands(regression: Regression, run: Run) -> list[tuple[str, str]]:
    """What a person can do with a regression in its state."""
    number = regression.id
    if regression.state not in OPEN_REGRESSION_STATES:
        return [("It is not over", f"tbctl regression reopen {number} --comment 'why'")]
    open_to = [
        ("I look after it: the alert ends, it stays open", f"tbctl regression ack {number} --comment 'what I know'"),
        ("It does not matter: the alert ends, it is closed", f"tbctl regression ignore {number} --comment 'why'"),
        ("It is fixed", f"tbctl regression resolve {number} --comment 'how'"),
        ("Measure it again", f"tbctl run retry {run.id} --wait"),
    ]
    if not regression.drill:
        moved = f"tbctl baseline set branch:{run.branch or DEFAULT_BRANCH} {run.id}"
        open_to.append(("It is wanted: compare with the new level from now on", moved))
    return open_to
