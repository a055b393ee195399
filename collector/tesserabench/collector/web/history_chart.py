"""A chart of a history: a dot for each run, the level of each stretch with its noise, a line where it changed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from tesserabench.collector.core.series_detection import value_of
from tesserabench.collector.core.series_history import History
from tesserabench.collector.store.history_tables import ChangePoint
from tesserabench.collector.store.history_words import LIVE_CHANGE_STATES
from tesserabench.collector.web import figures

_WIDTH, _HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 8, 16, 20
_MARGIN = 0.06
_TICKS = 4


@dataclass(frozen=True, slots=True)
class _Frame:
    """From places and values to the drawing."""

    count: int
    low: float
    high: float

    def across(self, place: float) -> float:
        share = place / (self.count - 1) if self.count > 1 else 0.5 + place
        return round(_LEFT + min(1.0, max(0.0, share)) * (_WIDTH - _LEFT - _RIGHT), 1)

    def up(self, value: float) -> float:
        share = (self.high - value) / (self.high - self.low)
        return round(_TOP + min(1.0, max(0.0, share)) * (_HEIGHT - _TOP - _BOTTOM), 1)


def drawn(history: History) -> Markup:
    """The chart as inline SVG; empty without points. Styled by classes, so that it follows light and dark."""
    points = [point for point, _ in history.points]
    if not points:
        return Markup("")
    low, high = min(point.value for point in points), max(point.value for point in points)
    margin = (high - low) * _MARGIN or abs(high) * 0.01 or 1.0
    frame = _Frame(len(points), low - margin, high + margin)
    places = {point.run_id: place for place, point in enumerate(points)}
    unit = history.series.unit
    parts = [
        _axis(frame, unit),
        *_levels(history.watch.segments, places, frame, unit),
        *[_change(number, change, places, frame) for number, change in numbered(history) if change.run_id in places],
        *_dots(history, frame, unit),
        _ends(history),
    ]
    label = f"{history.series.metric} of {history.series.case_id} over {len(points)} runs"
    head = Markup('<svg class="series" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, _HEIGHT, label)
    return head + Markup("").join(parts) + Markup("</svg>")


def numbered(history: History) -> list[tuple[int, ChangePoint]]:
    """The changes that stand, with the numbers that they have in the chart."""
    live = [change for change, _, _ in history.changes if change.state in LIVE_CHANGE_STATES]
    return list(enumerate(live, start=1))


def _axis(frame: _Frame, unit: str) -> Markup:
    scale = figures.scale_of(frame.high, unit)
    lines = []
    for step in range(_TICKS + 1):
        value = frame.low + (frame.high - frame.low) * step / _TICKS
        height = frame.up(value)
        text = figures.number(value, scale) + (f" {scale[1]}" if step == _TICKS else "")
        lines.append(
            Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                _LEFT, _WIDTH - _RIGHT, height, height
            )
        )
        lines.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(_LEFT - 6, height + 4, text))
    return Markup("").join(lines)


def _levels(
    segments: Sequence[Mapping[str, float]], places: Mapping[int, int], frame: _Frame, unit: str
) -> list[Markup]:
    found = []
    known = [segment for segment in segments if segment["run"] is not None]
    for number, segment in enumerate(known):
        later = known[number + 1]["run"] if number + 1 < len(known) else math.inf
        inside = [place for run, place in places.items() if segment["run"] <= run < later]
        if not inside:
            continue
        spread = segment["spread"]
        left, right = frame.across(min(inside) - 0.4), frame.across(max(inside) + 0.4)
        top, bottom = frame.up(value_of(segment, spread)), frame.up(value_of(segment, -spread))
        middle = frame.up(value_of(segment))
        found.append(
            Markup(
                '<g class="level"><title>{}</title><rect x="{}" y="{}" width="{}" height="{}"/>'
                '<line x1="{}" x2="{}" y1="{}" y2="{}"/></g>'
            ).format(
                f"level {figures.value(value_of(segment), unit)}, runs differ by {100 * spread:.2g} %",
                *(left, top, round(right - left, 1), max(0.5, round(bottom - top, 1))),
                *(left, right, middle, middle),
            )
        )
    return found


def _change(number: int, change: ChangePoint, places: Mapping[int, int], frame: _Frame) -> Markup:
    across = frame.across(places[change.run_id] - 0.5)
    title = f"{figures.percent(change.change)} from run {change.run_id} on, {change.state}"
    return Markup(
        '<g class="change {}"><title>{}</title><line x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text></g>'
    ).format("worse" if change.worse else "better", title, across, across, _TOP, _HEIGHT - _BOTTOM, across, 11, number)


def _dots(history: History, frame: _Frame, unit: str) -> list[Markup]:
    dots = []
    before = ""
    for place, (point, commit) in enumerate(history.points):
        across, up = frame.across(place), frame.up(point.value)
        if before and point.comparability != before:
            dots.append(
                Markup('<line class="environment" x1="{}" x2="{}" y1="{}" y2="{}"><title>{}</title></line>').format(
                    *(across, across, _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM + 6), "another environment from here on"
                )
            )
        before = point.comparability
        facts = (f"run {point.run_id}", figures.clock(point.at), figures.value(point.value, unit))
        title = ", ".join(filter(None, (*facts, " ".join(point.hosts), commit[:10])))
        dots.append(
            Markup('<a href="/runs/{}"><circle class="{}" cx="{}" cy="{}" r="3"><title>{}</title></circle></a>').format(
                point.run_id, "flagged" if point.flagged else "point", across, up, title
            )
        )
    return dots


def _ends(history: History) -> Markup:
    first, last = figures.ends(history.points[0][0].at, history.points[-1][0].at)
    return Markup('<text x="{}" y="{}">{}</text><text x="{}" y="{}" text-anchor="end">{}</text>').format(
        *(_LEFT, _HEIGHT - 4, first), *(_WIDTH - _RIGHT, _HEIGHT - 4, last)
    )
