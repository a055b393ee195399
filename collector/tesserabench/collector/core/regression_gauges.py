"""Open findings as metrics, read from the database as a whole so that what is closed disappears."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import metrics
from tesserabench.collector.core.finding_life import wakes_somebody
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.tables import Regression, Series
from tesserabench.collector.store.words import FindingKind, RegressionState


async def refresh(session: AsyncSession, now: datetime) -> None:
    """Let the gauges show the open findings of this moment.

    Only a confirmed one that nobody has answered has a ratio and an age: those wake somebody, and only where the
    branch is one that others are compared with. What is merely suspected wakes nobody.
    """
    rows = await store.gauges(session)
    opened: Counter[tuple[str, ...]] = Counter()
    ages: dict[tuple[str, ...], float] = {}
    waking: list[tuple[Regression, Series | None, str]] = []
    for row, series, _, project, alerts in rows:
        opened[project, row.suite, row.severity, row.device_key, row.state, row.kind, row.cause] += 1
        if wakes_somebody(RegressionState(row.state)) and alerts and row.alert != "none":
            waking.append((row, series, project))
            key = (project, row.alert or row.severity, row.kind)
            ages[key] = max((now - row.created_at).total_seconds(), ages.get(key, 0.0))
    metrics.REGRESSIONS_OPEN.replace(opened)
    metrics.REGRESSION_OLDEST_UNTRIAGED_AGE_SECONDS.replace(ages)
    metrics.REGRESSION_RATIO.replace(_ratios(waking))
    metrics.SLOW_DEVICE_RATIO.replace(_slow_devices(waking))


def _ratios(waking: Iterable[tuple[Regression, Series | None, str]]) -> dict[tuple[str, ...], float]:
    return {
        (
            project,
            row.suite,
            series.benchmark,
            series.metric,
            row.device_key,
            str(row.id),
            row.alert or row.severity,
        ): row.change
        for row, series, project in waking
        if row.kind == FindingKind.REGRESSION and series is not None and row.change is not None
    }


def _slow_devices(waking: Iterable[tuple[Regression, Series | None, str]]) -> dict[tuple[str, ...], float]:
    return {
        (project, row.subject, row.device_key, str(row.id), row.alert or row.severity): row.change
        for row, _, project in waking
        if row.kind == FindingKind.SLOW_DEVICE and row.change is not None
    }
