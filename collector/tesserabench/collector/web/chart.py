"""A chart of launches: one row for each worker process, its samples' spread and median on one axis."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from tesserabench.collector.store.boxes import Box
from tesserabench.collector.web import figures

_WIDTH = 640
_LEFT, _RIGHT = 8, 8
_ROW, _HEADING, _AXIS = 13, 18, 22
_TICKS = 4
_WHISKER = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Launches that belong together, under one heading."""

    name: str
    style: str
    """Class of the rows: `base`, `head` or `again`."""
    boxes: Sequence[Box]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    low: float
    q1: float
    middle: float
    q3: float
    high: float


def launches(groups: Sequence[Group], unit: str) -> Markup:
    """The chart as inline SVG; empty without launches. Styled by classes, so that it follows light and dark."""
    kept = [(group, [(box, _row(box)) for box in group.boxes if math.isfinite(box.value)]) for group in groups]
    shown = [(group, rows) for group, rows in kept if rows]
    if not shown:
        return Markup("")
    axis = _Axis(row for _, rows in shown for _, row in rows)
    parts: list[Markup] = []
    top = 0
    for group, rows in shown:
        parts.append(Markup('<text class="name" x="{}" y="{}">{}</text>').format(_LEFT, top + 13, group.name))
        top += _HEADING
        for box, row in rows:
            parts.append(_drawn(row, axis, top, group.style, _title(box, unit)))
            top += _ROW
    parts.append(_ticks(axis, top, unit))
    height = top + _AXIS
    label = f"samples of each launch, {', '.join(group.name for group, _ in shown)}"
    head = Markup('<svg class="launches" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, height, label)
    return head + Markup("").join(parts) + Markup("</svg>")


def _row(box: Box) -> _Row:
    """Whiskers as Tukey draws them: no further than 1.5 times the box, so that one spike does not flatten the rest."""
    if box.q1 is None or box.q3 is None or box.minimum is None or box.maximum is None:
        return _Row(low=box.value, q1=box.value, middle=box.value, q3=box.value, high=box.value)
    reach = _WHISKER * (box.q3 - box.q1)
    return _Row(
        low=max(box.minimum, box.q1 - reach),
        q1=box.q1,
        middle=box.value,
        q3=box.q3,
        high=min(box.maximum, box.q3 + reach),
    )


class _Axis:
    """From values to places on the drawing."""

    def __init__(self, rows: Iterable[_Row]) -> None:
        kept = list(rows)
        low, high = min(row.low for row in kept), max(row.high for row in kept)
        margin = (high - low) * 0.04 or abs(high) * 0.01 or 1.0
        self.low, self.high = low - margin, high + margin

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _drawn(row: _Row, axis: _Axis, top: int, style: str, title: str) -> Markup:
    middle = top + _ROW / 2
    return Markup(
        '<g class="{}"><title>{}</title><line class="whisker" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<rect x="{}" y="{}" width="{}" height="{}" rx="1.5"/>'
        '<line class="median" x1="{}" x2="{}" y1="{}" y2="{}"/></g>'
    ).format(
        style,
        title,
        *(axis(row.low), axis(row.high), middle, middle),
        *(axis(row.q1), top + 2.5, max(1.0, round(axis(row.q3) - axis(row.q1), 1)), _ROW - 5),
        *(axis(row.middle), axis(row.middle), top + 1, top + _ROW - 1),
    )


def _title(box: Box, unit: str) -> str:
    spread = f", {box.count} samples" if box.count else ""
    return f"{box.host or 'unknown host'}, launch {box.trial + 1}: {figures.value(box.value, unit)}{spread}"


def _ticks(axis: _Axis, top: int, unit: str) -> Markup:
    scale = figures.scale_of(axis.high, unit)
    step = _round_step((axis.high - axis.low) / _TICKS)
    first = math.ceil(axis.low / step)
    values = [index * step for index in range(first, math.floor(axis.high / step) + 1)]
    lines = [Markup('<line class="axis" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(_LEFT, _WIDTH - _RIGHT, top, top)]
    for index, value in enumerate(values):
        place = axis(value)
        anchor = "start" if place < 60 else "end" if place > _WIDTH - 60 else "middle"
        text = figures.number(value, scale) + (f" {scale[1]}" if index == len(values) - 1 else "")
        lines.append(Markup('<line class="axis" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(place, top, top + 4))
        lines.append(Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(place, top + 16, anchor, text))
    return Markup("").join(lines)


def _round_step(size: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * (1 - 1e-9))
