"""What the history says to the gate: the level that runs are compared with, and how much runs differ at it.

The level is that of the newest segment that nobody has to be told about: a change for the worse counts from when it was
accepted, one for the better at once, one that is only suspected not yet. Results that a comparison called worse never
move it.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.history import MINIMUM_RUNS, RunNoise
from tesserabench.analysis.words import Better
from tesserabench.collector.store import history_changes as change_store
from tesserabench.collector.store import history_watches as store
from tesserabench.collector.store.history_tables import ChangePoint, SeriesWatch
from tesserabench.collector.store.history_words import ChangeState
from tesserabench.collector.store.words import RegressionState

ACCEPTING = frozenset({RegressionState.IGNORED, RegressionState.WONT_FIX, RegressionState.ACCEPTED})
"""States of a finding after which the level that it found is the normal one."""

_ROBUST_EFFICIENCY = 0.37
"""Of a spread from absolute deviations, against one from squares."""
_LEAST_DEGREES = 2.0
_SAME_LEVEL = 0.005
"""Levels this near count as one: a logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseSegment:
    """The stretch of a history that runs are compared with."""

    run_id: int
    """Its first run."""
    level: float
    spread: float
    correlation: float
    points: int


async def accept_level(
    session: AsyncSession, series_ids: Collection[int], line: str, *, run_id: int, now: datetime
) -> None:
    """Let the level that these series have from a run on be the normal one, whatever was normal before."""
    await change_store.accept(session, series_ids, line, run_id, now)


async def refuse_level(session: AsyncSession, series_ids: Collection[int], line: str, *, run_id: int) -> None:
    """Take back that these series have their normal level from a run on."""
    await change_store.refuse(session, series_ids, line, run_id)


async def run_noise_of(
    session: AsyncSession, line: str, better: Mapping[int, str], *, before: int
) -> dict[int, RunNoise]:
    """By series how much runs at its present level differ, for those whose level stands on enough runs.

    Args:
        session: The transaction.
        line: Line of the branch that is compared with.
        better: Direction of each wanted series.
        before: Only runs before this one count for the level.
    """
    watches = await store.watches(session, line, list(better))
    keys = [(series_id, line) for series_id in watches]
    changes = await change_store.changes_of(session, keys)
    ids = {change.regression_id for rows in changes.values() for change in rows if change.regression_id is not None}
    findings = await change_store.regressions_of(session, ids)
    states = {number: RegressionState(row.state) for number, row in findings.items()}
    accepted = await change_store.accepted(session, line, list(watches))
    found = {
        series_id: base_segment(
            watch, changes[series_id, line], states, better[series_id], accepted.get(series_id), before=before
        )
        for series_id, watch in watches.items()
    }
    known = {series_id: segment for series_id, segment in found.items() if segment is not None}
    starts = {series_id: segment.run_id for series_id, segment in known.items()}
    values = await change_store.values_since(
        session, line, await _to_read(session, line, starts, accepted), before=before
    )
    noises = {series_id: _noise(segment, values.get(series_id)) for series_id, segment in known.items()}
    return {series_id: noise for series_id, noise in noises.items() if noise is not None}


async def _to_read(
    session: AsyncSession, line: str, starts: Mapping[int, int], accepted: Mapping[int, int]
) -> dict[int, int]:
    """Series whose level has to be made from points: those with flagged ones, and those of an accepted level."""
    flagged = await change_store.flagged_since(session, line, starts)
    return {number: start for number, start in starts.items() if number in flagged or accepted.get(number) == start}


def base_segment(
    watch: SeriesWatch,
    changes: Sequence[ChangePoint],
    findings: Mapping[int, RegressionState],
    better: str,
    accepted: int | None,
    *,
    before: int | None = None,
) -> BaseSegment | None:
    """The stretch of a history that runs are compared with; None when nothing is known yet.

    Args:
        watch: The watch over the series.
        changes: Its changes.
        findings: States of the findings that they belong to.
        better: Direction of the metric.
        accepted: The newest run whose level was accepted by hand.
        before: Only stretches that began before this run: an old run is not held against what came after it.
    """
    if before is not None and accepted is not None and accepted >= before:
        accepted = None
    by_run = {change.run_id: change for change in changes if change.reference_id is None}
    base: Mapping[str, Any] | None = None
    for segment in watch.segments:
        if before is not None and segment["run"] is not None and segment["run"] >= before:
            break
        change = by_run.get(segment["run"])
        if base is None or _counts(segment, base, change, findings, better, accepted):
            base = segment
    # A level that is no logarithm is nothing that a ratio could be held against.
    if base is None or base["run"] is None or base.get("unit"):
        return None
    start = max(base["run"], accepted or 0)
    return BaseSegment(
        run_id=start,
        level=base["level"],
        spread=base["spread"],
        correlation=base["correlation"],
        points=base["end"] - base["start"],
    )


def _counts(  # noqa: PLR0917 - one decision
    segment: Mapping[str, Any],
    base: Mapping[str, Any],
    change: ChangePoint | None,
    findings: Mapping[int, RegressionState],
    better: str,
    accepted: int | None,
) -> bool:
    if accepted is not None and segment["run"] is not None and segment["run"] <= accepted:
        return True
    if change is not None and change.state == ChangeState.SUSPECTED:
        return False
    rise = segment["level"] - base["level"]
    worse = rise > _SAME_LEVEL if better == Better.LOWER else rise < -_SAME_LEVEL if better == Better.HIGHER else False
    if not worse:
        return True
    state = findings.get(change.regression_id) if change is not None and change.regression_id is not None else None
    return state in ACCEPTING


def _noise(segment: BaseSegment, values: Sequence[float] | None) -> RunNoise | None:
    points, level = segment.points, segment.level
    if values is not None:
        logs = [math.log(value) for value in values if value > 0]
        if not logs:
            return None
        points, level = len(logs), median(logs)
    if points < MINIMUM_RUNS:
        return None
    return RunNoise(
        deviation=segment.spread,
        degrees=max(_LEAST_DEGREES, _ROBUST_EFFICIENCY * (points - 1)),
        level=level,
        runs=points,
        correlation=segment.correlation,
    )
