"""How right the detector is, as metrics."""

from collections import Counter
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import detector_score, false_alarms, metrics
from tesserabench.collector.store import detector_scores as store
from tesserabench.collector.store import false_alarms as rate_store

_SAID = {True: "right", False: "wrong", None: "none"}


async def refresh(session: AsyncSession, now: datetime) -> None:
    """Let the gauges show what people and comparisons of identical code say of the last 90 days."""
    ratios: dict[tuple[str, ...], float] = {}
    comparisons: dict[tuple[str, ...], float] = {}
    factors: dict[tuple[str, ...], float] = {}
    for project in await rate_store.projects(session, since=now - false_alarms.WINDOW):
        for rate in await false_alarms.rates(session, project, now):
            key = (project, rate.host_class)
            ratios[key], comparisons[key], factors[key] = rate.rate, rate.comparisons, rate.limit_factor
    metrics.FALSE_ALARM_RATIO.replace(ratios)
    metrics.IDENTICAL_COMPARISONS.replace(comparisons)
    metrics.LIMIT_FACTOR.replace(factors)
    findings: Counter[tuple[str, ...]] = Counter()
    since = now - detector_score.WINDOW
    for project, host_class, kind, feedback, count in await store.feedback(session, since=since):
        findings[project, host_class, kind, _SAID[feedback]] += count
    metrics.DETECTOR_FINDINGS.replace(findings)
