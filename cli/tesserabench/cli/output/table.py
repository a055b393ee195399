"""Tables: aligned columns that fit in a width, and the same columns as CSV."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tesserabench.report.quantity import UNKNOWN

Row = TypeVar("Row")
Plain = str | int | float | bool | None

_GAP = "  "
_SHORTEST = 10
# Beside control characters, those that turn the direction of what follows, and the other ends of a line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_BLANK = re.compile(r"[\t\r\n]+")
_STYLES = {"bad": "31", "good": "32", "warn": "33", "dim": "2", "bold": "1"}


# No slots: Python 3.11 raises the wrong error when a subscripted generic marks its instance.
@dataclass(frozen=True, kw_only=True)
class Column(Generic[Row]):
    """One column. `value` gives the plain value for CSV; `text` what a table shows, when that differs.

    A `whole` column shows its plain value in a wide table, because its text is a shortened one.
    """

    title: str
    value: Callable[[Row], Plain]
    text: Callable[[Row], str] | None = None
    field: str = ""
    wide: bool = False
    whole: bool = False
    right: bool = False
    shrink: bool = False
    style: Callable[[Row], str] | None = None

    def shown(self, row: Row, *, wide: bool = False) -> str:
        """The cell of a table; control characters, which a terminal would obey, are replaced."""
        if self.text is not None and not (wide and self.whole):
            return clean(self.text(row)) or UNKNOWN
        value = self.value(row)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, float):
            return f"{value:g}"
        return UNKNOWN if value is None or value == "" else clean(str(value))


def clean(text: str) -> str:
    """The text as one line with every control character replaced: it cannot steer a terminal, or pass for ours."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _BLANK.sub(" ", text))


def clean_lines(text: str) -> str:
    """The text with every control character but the ends of its lines replaced."""
    return "\n".join(map(clean, text.split("\n")))


def paint(text: str, style: str, *, color: bool) -> str:
    """The text in a style (bad, good, warn, dim, bold), when colours are on."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if color and style else text


def render_table(columns: Sequence[Column[Row]], rows: Sequence[Row], *, wide: bool, width: int, color: bool) -> str:
    """The table as lines. Unless `wide`, the shrinkable columns are cut so that a line fits in `width` characters."""
    shown = [column for column in columns if wide or not column.wide]
    cells = [[column.shown(row, wide=wide) for column in shown] for row in rows]
    widths = [max([len(column.title), *(len(line[place]) for line in cells)]) for place, column in enumerate(shown)]
    if not wide:
        widths = _fit(shown, widths, width)
    lines = [_line(shown, [column.title for column in shown], widths)]
    for row, line in zip(rows, cells, strict=True):
        styles = [column.style(row) if column.style else "" for column in shown]
        lines.append(_line(shown, line, widths, styles=styles if color else None))
    return "\n".join(lines)


def render_csv(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> str:
    """Every column with plain values, a header first; unknown is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.field or column.title.lower().replace(" ", "_") for column in columns])
    for row in rows:
        writer.writerow([_csv_value(column.value(row)) for column in columns])
    return stream.getvalue().rstrip("\n")


def render_details(pairs: Sequence[tuple[str, str]], *, color: bool) -> str:
    """`label:  value` lines with the values aligned."""
    longest = max((len(label) for label, _ in pairs), default=0) + 1
    return "\n".join(
        f"{paint(f'{label}:'.ljust(longest), 'bold', color=color)}  {clean(value) or UNKNOWN}" for label, value in pairs
    )


def _csv_value(value: Plain) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    # A whole number that came as a float is written without ".0"; floats keep every digit.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _fit(columns: Sequence[Column[Row]], widths: list[int], width: int) -> list[int]:
    fitted = list(widths)
    floors = [min(size, max(_SHORTEST, len(column.title))) for column, size in zip(columns, widths, strict=True)]
    while sum(fitted) + len(_GAP) * (len(fitted) - 1) > width:
        room = [fitted[place] - floors[place] if column.shrink else 0 for place, column in enumerate(columns)]
        if max(room) <= 0:
            break
        fitted[room.index(max(room))] -= 1
    return fitted


def _line(
    columns: Sequence[Column[Row]], cells: Sequence[str], widths: Sequence[int], styles: Sequence[str] | None = None
) -> str:
    parts: list[str] = []
    for place, (column, cell, width) in enumerate(zip(columns, cells, widths, strict=True)):
        cut = cell if len(cell) <= width else f"{cell[: width - 1]}…"
        padded = cut.rjust(width) if column.right else cut.ljust(width)
        parts.append(paint(padded, styles[place], color=True) if styles and styles[place] else padded)
    return _GAP.join(parts).rstrip()
