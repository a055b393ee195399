"""A chart of values in a terminal: points, the levels that they stand at, and where those change.

One series is drawn with braille dots, eight to a character; several in marks of their own; a terminal that has only
ASCII gets asterisks and dashes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tesserabench.cli.output.table import paint

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille character by column and row."""
_MARKS = ("\N{BULLET}", "\N{MULTIPLICATION SIGN}", "\N{WHITE CIRCLE}", "+")
_ASCII_MARKS = ("*", "x", "o", "+")
_STYLES = ("", "good", "warn", "dim")
_ROWS = 12
_LEAST_COLUMNS = 20
_MARGIN = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A stretch at one level, from one place to another on the axis of the points."""

    start: float
    end: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Where the level changes."""

    at: float
    label: str
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One series."""

    points: Sequence[tuple[float, float]]
    """Places, growing, and values."""
    levels: Sequence[Level] = ()
    changes: Sequence[Change] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How to draw."""

    width: int
    """Of a line with everything, in characters."""
    label: Callable[[float], str]
    """Writes a value beside the axis."""
    unicode: bool = True
    color: bool = False
    rows: int = _ROWS


def render(series: Sequence[Drawn], look: Look, *, first: str = "", last: str = "") -> str:
    """The chart as lines; `first` and `last` stand under the ends of the axis. Empty without points."""
    if not any(drawn.points for drawn in series):
        return ""
    canvas = _Canvas(series, look)
    for drawn in series:
        canvas.levels(drawn)
        canvas.changes(drawn)
    for number, drawn in enumerate(series):
        canvas.points(drawn, number, fine=len(series) == 1 and look.unicode)
    return "\n".join([*canvas.lines(), *canvas.feet(series, first, last)])


class _Canvas:
    """Cells of a character and its style."""

    def __init__(self, series: Sequence[Drawn], look: Look) -> None:
        values = [value for drawn in series for _, value in drawn.points]
        places = [place for drawn in series for place, _ in drawn.points]
        low, high = min(values), max(values)
        margin = (high - low) * _MARGIN or abs(high) * 0.01 or 1.0
        self._low, self._high = low - margin, high + margin
        self._first, self._last = min(places), max(places)
        self._look = look
        labels = [look.label(value) for value in self._ticks()]
        self._gutter = max(map(len, labels))
        self.columns = max(_LEAST_COLUMNS, look.width - self._gutter - 2)
        self._cells = [[(" ", "")] * self.columns for _ in range(look.rows)]

    def _ticks(self) -> list[float]:
        return [self._high, (self._high + self._low) / 2, self._low]

    def _column(self, place: float, steps: int = 1) -> int:
        width = self.columns * steps
        share = (place - self._first) / (self._last - self._first) if self._last > self._first else 0.5
        return min(width - 1, max(0, round(share * (width - 1))))

    def _row(self, value: float, steps: int = 1) -> int:
        height = self._look.rows * steps
        share = (self._high - value) / (self._high - self._low)
        return min(height - 1, max(0, int(share * height)))

    def levels(self, drawn: Drawn) -> None:
        """Draw the level of each stretch as a line."""
        dash = "\N{BOX DRAWINGS LIGHT HORIZONTAL}" if self._look.unicode else "-"
        for level in drawn.levels:
            row = self._row(level.value)
            for column in range(self._column(level.start), self._column(level.end) + 1):
                self._cells[row][column] = (dash, "dim")

    def changes(self, drawn: Drawn) -> None:
        """Draw a line from top to bottom at each change."""
        bar = "\N{BOX DRAWINGS LIGHT QUADRUPLE DASH VERTICAL}" if self._look.unicode else "|"
        for change in drawn.changes:
            column = self._column(change.at)
            for row in range(self._look.rows):
                self._cells[row][column] = (bar, change.style)

    def points(self, drawn: Drawn, number: int, *, fine: bool) -> None:
        """Draw the points over everything else: as dots when fine, else as marks."""
        style = _STYLES[number % len(_STYLES)]
        if not fine:
            marks = _MARKS if self._look.unicode else _ASCII_MARKS
            for place, value in drawn.points:
                self._cells[self._row(value)][self._column(place)] = (marks[number % len(marks)], style)
            return
        dots: dict[tuple[int, int], int] = {}
        for place, value in drawn.points:
            column, row = self._column(place, 2), self._row(value, 4)
            cell = (row // 4, column // 2)
            dots[cell] = dots.get(cell, 0) | _DOTS[column % 2][row % 4]
        for (row, column), bits in dots.items():
            self._cells[row][column] = (chr(_BRAILLE + bits), style)

    def lines(self) -> list[str]:
        """The rows with the axis before them."""
        ticks = dict(zip((0, self._look.rows // 2, self._look.rows - 1), self._ticks(), strict=True))
        axis, tick = ("\N{BOX DRAWINGS LIGHT VERTICAL}", "\N{BOX DRAWINGS LIGHT VERTICAL AND LEFT}")
        if not self._look.unicode:
            axis = tick = "|"
        lines = []
        for row, cells in enumerate(self._cells):
            label = self._look.label(ticks[row]) if row in ticks else ""
            drawn = "".join(paint(text, style, color=self._look.color) for text, style in cells).rstrip()
            lines.append(f"{label.rjust(self._gutter)} {tick if row in ticks else axis}{drawn}")
        return lines

    def feet(self, series: Sequence[Drawn], first: str, last: str) -> list[str]:
        """What stands under the rows: the labels of changes, and the ends of the axis."""
        marks = [" "] * self.columns
        end = -1
        for change in sorted((change for drawn in series for change in drawn.changes), key=lambda change: change.at):
            # At the right edge it stands before its line: a terminal would break the row.
            column = max(0, min(self._column(change.at), self.columns - len(change.label)))
            if column > end and change.label:
                marks[column : column + len(change.label)] = change.label
                end = column + len(change.label)
        indent = " " * (self._gutter + 2)
        room = max(1, self.columns - len(first) - len(last))
        feet = [indent + "".join(marks).rstrip(), f"{indent}{first}{' ' * room}{last}".rstrip()]
        return [line for line in feet if line.strip()]
