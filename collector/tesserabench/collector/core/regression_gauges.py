"""Open regressions as metrics, read from the database as a whole so that what is closed disappears."""

from collections import Counter
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import metrics
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.words import RegressionState


async def refresh(session: AsyncSession, now: datetime) -> None:
    """Let the gauges show the open regressions of this moment.

    Only a confirmed one that nobody has acknowledged has a ratio and an age: those wake somebody, and only where the
    branch is one that others are compared with.
    """
    opened: Counter[tuple[str, ...]] = Counter()
    ratios: dict[tuple[str, ...], float] = {}
    ages: dict[tuple[str, ...], float] = {}
    for regression, series, run, project, alerts in await store.gauges(session):
        opened[project, run.suite, regression.severity, series.device_key, regression.state] += 1
        if regression.state != RegressionState.CONFIRMED or not alerts:
            continue
        age = (now - regression.created_at).total_seconds()
        ages[project, regression.severity] = max(age, ages.get((project, regression.severity), 0.0))
        labels = (project, run.suite, series.benchmark, series.metric, series.device_key)
        ratios[(*labels, str(regression.id), regression.severity)] = regression.change
    metrics.REGRESSIONS_OPEN.replace(opened)
    metrics.REGRESSION_OLDEST_UNTRIAGED_AGE_SECONDS.replace(ages)
    metrics.REGRESSION_RATIO.replace(ratios)
