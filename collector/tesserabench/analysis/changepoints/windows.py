"""One window of a history: what its points alone say.

A history is looked at through windows of SIZE points, one every STRIDE points. A window's answer depends on nothing
but its points, so that a full one never changes, and a history of any length takes the time of its windows.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from tesserabench.analysis.changepoints.acceptance import Accepted, accept
from tesserabench.analysis.changepoints.evidence import Evidence
from tesserabench.analysis.changepoints.hosts import HostDrift, estimated_at, host_drift, host_offsets
from tesserabench.analysis.changepoints.levels import (
    Program,
    Values,
    checkpoint,
    deviation_of,
    middle_of,
    run_programs,
)
from tesserabench.analysis.changepoints.model import Segment, Settings

SIZE = 768
STRIDE = 512
_FARTHEST = 1e9
"""Shares of the typical size are taken up to this, since they need not have a logarithm to tame them."""
FEWEST = 6
"""Points below which nothing is said about changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The points of a window on the scale that is looked at."""

    values: Values
    offsets: dict[str, float]
    drift: HostDrift | None
    """A host that drifts alone: its points are taken back to where it stood."""
    told_by: int
    """How many of the first points the offsets come from."""
    unit: float
    """0 for logarithms; else what the values were divided by."""
    deviation: float


@dataclass(slots=True)
class Window:
    """A window that may grow, with what was worked out so far."""

    settings: Settings
    raw: list[float] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    """Of `raw`; not a number for what has none."""
    hosts: list[str] | None = None
    points: Points | None = None
    program: Program | None = None
    evidence: Evidence | None = None
    accepted: Accepted = field(default_factory=Accepted)
    described: dict[tuple[int, int, float], tuple[Segment, float | None]] = field(default_factory=dict)
    """Segments that have ended, so that they need not be described again."""


def logarithms(raw: Iterable[float]) -> list[float]:
    """Of each value. Not np.log: one more point must get what it would get among all, to the last bit."""
    return [math.log(value) if value > 0 else math.nan for value in raw]


def scaled(raw: Sequence[float], logs: Sequence[float], hosts: Sequence[str] | None) -> Points:
    """The values as logarithms, or as shares of their typical size when some are not positive, without host offsets."""
    values = np.array(logs)
    unit = 0.0
    if np.isnan(values).any():
        values = np.array(raw)
        first = np.abs(values[: checkpoint(len(values))])
        unit = middle_of(first) or float(first.max()) or 1.0
        values = np.clip(values, -_FARTHEST * unit, _FARTHEST * unit) / unit
    offsets: dict[str, float] = {}
    told_by, drift = 0, None
    if hosts is not None:
        told_by = estimated_at(hosts)
        offsets = host_offsets(values[:told_by], hosts[:told_by])
        if offsets:
            values = values - np.array([offsets[host] for host in hosts])
            drift = host_drift(values[:told_by], hosts[:told_by])
        if drift is not None:
            moved = [drift.at(place) if host == drift.host else 0.0 for place, host in enumerate(hosts)]
            values = values - np.array(moved)
    deviation = deviation_of(values[: checkpoint(len(values))])
    return Points(values=values, offsets=offsets, drift=drift, told_by=told_by, unit=unit, deviation=deviation)


def begin(
    settings: Settings, raw: Sequence[float], hosts: Sequence[str] | None, logs: Sequence[float] | None = None
) -> Window:
    """A window with these points, not analysed yet; `logs` are their logarithms when those are known."""
    return Window(
        settings=settings,
        raw=list(raw),
        logs=logarithms(raw) if logs is None else list(logs),
        hosts=None if hosts is None else list(hosts),
    )


def append(window: Window, value: float, host: str | None) -> None:
    """Take one more point; the answer is the same as if all had come at once."""
    before, program = window.points, window.program
    window.raw.append(value)
    window.logs.append(math.log(value) if value > 0 else math.nan)
    if window.hosts is not None:
        window.hosts.append(host or "")
    count = len(window.raw)
    if before is None or program is None or checkpoint(count) == count or (before.unit == 0.0 and value <= 0):
        window.points = None
        return
    if window.hosts is not None and estimated_at(window.hosts) != before.told_by:
        window.points = None
        return
    if before.unit == 0.0:
        point = window.logs[-1]
    else:
        most = _FARTHEST * before.unit
        point = min(max(value, -most), most) / before.unit
    if window.hosts is not None and before.offsets:
        point -= before.offsets[window.hosts[-1]]
    if window.hosts is not None and before.drift is not None and window.hosts[-1] == before.drift.host:
        point -= before.drift.at(count - 1)
    values = np.append(before.values, point)
    if not program.append(point):
        window.points = None
        return
    window.points = replace(before, values=values)


def settle(windows: Sequence[Window]) -> None:
    """Bring the answers of windows up to date; those that need the whole program take it together."""
    behind = [window for window in windows if window.points is None and window.raw]
    for window in behind:
        window.points = scaled(window.raw, window.logs, window.hosts)
        window.program = window.evidence = None
        window.described = {}
    long = [window for window in behind if len(window.raw) >= FEWEST]
    told = [window.points for window in long if window.points is not None]
    programs = run_programs([points.values for points in told], [points.deviation for points in told])
    for window, program in zip(long, programs, strict=True):
        window.program = program
    for window in windows:
        _decide(window)


def _decide(window: Window) -> None:
    points = window.points
    if points is None:
        return
    if window.evidence is None:
        window.evidence = Evidence(
            values=points.values,
            deviation=points.deviation,
            smallest=math.log1p(window.settings.smallest_change),
            strictness=window.settings.strictness,
            hosts=window.hosts if points.offsets else None,
        )
    window.evidence.values = points.values
    window.accepted = accept(window.evidence, window.program.proposal()) if window.program is not None else Accepted()
