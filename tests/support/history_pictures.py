"""Pictures of histories, drawn from what the analysis of change points says of generated ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from support.detection_data import bimodal, bursts, correlated, white
from support.svg import Drawing, ticks
from tesserabench.analysis.changepoints import NoiseClass, SeriesAnalysis, analyse

WIDTH, HEIGHT = 760, 210
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 34, 26
POINTS = 90
_COLOURS = ("a", "b", "c", "d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A history with its analysis."""

    name: str
    values: tuple[float, ...]
    hosts: tuple[str, ...] | None
    analysis: SeriesAnalysis


def told(name: str, logs: npt.NDArray[np.float64], hosts: Sequence[str] | None = None) -> Told:
    """A history from logarithms around a millisecond."""
    values = tuple(float(value) for value in np.exp(logs))
    return Told(name=name, values=values, hosts=tuple(hosts) if hosts else None, analysis=analyse(values, hosts))


def shapes() -> dict[str, Told]:
    """What histories do: each name says it."""
    rng = np.random.default_rng(20)
    steps = np.arange(POINTS)
    flat = white(rng, POINTS, 0.006)
    early = white(rng, POINTS, 0.006)
    early[POINTS - 3 :] += 0.025
    short = white(rng, POINTS, 0.006)
    short[50:53] += 0.08
    where = np.random.default_rng(21).integers(0, 3, POINTS)
    names = [f"host{host}" for host in where]
    offsets = np.array([0.0, 0.04, -0.03])[where]
    lone = white(rng, POINTS, 0.005) + offsets + 0.06 * ((where == 1) & (steps >= 45))
    return {
        "step": told("a commit made it 5 % slower", flat + 0.05 * (steps >= 55)),
        "suspected": told("a step, three points old", early),
        "drift": told("a creep of 9 % in all", white(rng, POINTS, 0.006) + 0.09 * np.clip((steps - 20) / 60, 0, 1)),
        "transient": told("three runs beside a busy neighbour", short),
        "two-modes": told("a kernel with two modes", bimodal(np.random.default_rng(4), POINTS, 0.004, stay=0.0)),
        "one-slow-host": told("three hosts; one of them became 6 % slower", lone, names),
        "driver-change": told(
            "three hosts; a driver made all of them 4 % slower",
            white(rng, POINTS, 0.005) + offsets + 0.04 * (steps >= 48),
            names,
        ),
    }


def noises() -> dict[NoiseClass, Told]:
    """A history without a change for every class of noise."""
    rng = np.random.default_rng
    constant = np.zeros(POINTS)
    constant[[20, 61]] = 0.002
    makers: dict[NoiseClass, Callable[[], npt.NDArray[np.float64]]] = {
        NoiseClass.CONSTANT: lambda: constant,
        NoiseClass.QUIET: lambda: white(rng(31), POINTS, 0.003),
        NoiseClass.WHITE: lambda: white(rng(32), POINTS, 0.02),
        NoiseClass.CORRELATED: lambda: correlated(rng(33), 2 * POINTS, 0.015, 0.6),
        NoiseClass.BIMODAL: lambda: bimodal(rng(4), POINTS, 0.004, stay=0.0),
        NoiseClass.HEAVY_TAILED: lambda: bursts(rng(35), 2 * POINTS, 0.006),
        NoiseClass.DRIFTING: lambda: white(rng(36), POINTS, 0.005) + np.linspace(0, 0.1, POINTS),
        NoiseClass.UNKNOWN: lambda: white(rng(37), 6, 0.01),
    }
    return {noise: told(noise.value.replace("_", " "), make()) for noise, make in makers.items()}


# --- drawing ---------------------------------------------------------------------------------------------------------


class _Scale:
    """Where points are drawn: changes against the middle of the first level, in logarithms."""

    def __init__(self, history: Told) -> None:
        logs = np.log(history.values)
        first = history.analysis.segments[0].end if history.analysis.segments else len(logs)
        self.origin = float(np.median(logs[:first]))
        spread = max(0.012, float(np.abs(logs - self.origin).max()))
        self.low = min(float(logs.min() - self.origin), -0.3 * spread) - 0.12 * spread
        self.high = max(float(logs.max() - self.origin), 0.3 * spread) + 0.12 * spread
        self._points = len(logs)

    def across(self, index: float) -> float:
        """Pixels from the left."""
        return LEFT + (index + 0.5) / self._points * (WIDTH - LEFT - RIGHT)

    def up(self, change: float) -> float:
        """Pixels from the top."""
        return TOP + (self.high - change) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)


def drawn(history: Told) -> Drawing:
    """Points by host, levels, changes with where they may have happened, drifts and excursions."""
    sheet, scale = Drawing(WIDTH, HEIGHT, history.name), _Scale(history)
    sheet.text((16, 20), history.name, "ink strong")
    sheet.text((WIDTH - RIGHT, 20), said(history.analysis), "ink", anchor="end")
    for tick in ticks(scale.low, scale.high, 5):
        sheet.line((LEFT, scale.up(tick)), (WIDTH - RIGHT, scale.up(tick)), "line")
        sheet.text((LEFT - 8, scale.up(tick) + 4), f"{100 * tick:+g} %" if tick else "0", anchor="end")
    for index in range(0, len(history.values), max(1, len(history.values) // 6)):
        sheet.text((scale.across(index), HEIGHT - 8), str(index), anchor="middle")
    _changes(sheet, scale, history.analysis)
    _points(sheet, scale, history)
    _levels(sheet, scale, history)
    return sheet


def said(analysis: SeriesAnalysis) -> str:
    """What the analysis found, in a line."""
    parts = [
        f"step {100 * math.expm1(change.shift):+.1f} % at {change.index}, {change.status.value}"
        for change in analysis.changes
    ]
    parts += [
        f"drift {100 * math.expm1(drift.shift):+.1f} % over {drift.start} to {drift.end - 1}"
        for drift in analysis.drifts
    ]
    parts += [f"transient at {item.start} to {item.end - 1}" for item in analysis.transients]
    noise = dict.fromkeys(segment.noise.value for segment in analysis.segments)
    return f"{'; '.join(parts) or 'no change'}; noise: {', '.join(noise) or 'unknown'}"


def _changes(sheet: Drawing, scale: _Scale, analysis: SeriesAnalysis) -> None:
    height = HEIGHT - TOP - BOTTOM
    for change in analysis.changes:
        start, end = scale.across(change.earliest - 0.5), scale.across(change.latest + 0.5)
        sheet.box((start, TOP), (end - start, height), "band", faint=0.35)
        at = scale.across(change.index - 0.5)
        sheet.line((at, TOP), (at, HEIGHT - BOTTOM), "bad", wide=1.5, dash="5 3")
    for item in analysis.transients:
        start, end = scale.across(item.start - 0.5), scale.across(item.end - 0.5)
        sheet.box((start, TOP), (end - start, height), "grey", faint=0.3)
    for drift in analysis.drifts:
        start, end = scale.across(drift.start - 0.5), scale.across(drift.end - 0.5)
        sheet.box((start, TOP), (end - start, height), "band", faint=0.15)


def _points(sheet: Drawing, scale: _Scale, history: Told) -> None:
    colours = {host: _COLOURS[place % 4] for place, host in enumerate(sorted(set(history.hosts or ())))}
    for index, value in enumerate(history.values):
        look = colours[history.hosts[index]] if history.hosts else "a"
        sheet.dot((scale.across(index), scale.up(math.log(value) - scale.origin)), look, radius=2.6)
    for place, (host, look) in enumerate(colours.items()):
        sheet.dot((LEFT + 12 + 70 * place, TOP + 4), look, radius=4)
        sheet.text((LEFT + 20 + 70 * place, TOP + 8), host)


def _levels(sheet: Drawing, scale: _Scale, history: Told) -> None:
    """Levels are drawn through the points as they are: the offsets of the hosts are put back in the mean."""
    logs = np.log(history.values)
    drifting = [(drift.start, drift.end) for drift in history.analysis.drifts]
    for segment in history.analysis.segments:
        if any(start < segment.end and segment.start < end for start, end in drifting):
            continue
        level = float(np.median(logs[segment.start : segment.end])) - scale.origin
        ends = scale.across(segment.start - 0.4), scale.across(segment.end - 0.6)
        sheet.line((ends[0], scale.up(level)), (ends[1], scale.up(level)), "level", wide=2)
    for drift in history.analysis.drifts:
        index = np.arange(drift.start, drift.end)
        middle = float(np.median(logs[drift.start : drift.end] - drift.slope * (index - drift.start))) - scale.origin
        sheet.line(
            (scale.across(drift.start), scale.up(middle)),
            (scale.across(drift.end - 1), scale.up(middle + drift.shift)),
            "level",
            wide=2,
        )
