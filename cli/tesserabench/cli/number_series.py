"""Series of numbers from JSON and CSV text, with errors that name the field and the value."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN = 40


class BadSeries(ValueError):  # noqa: N818 - reads better where it is raised
    """Text that is no series; the message names field, value and remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberSeries:
    """Values, oldest first, and the host of each when that is known."""

    values: list[float]
    hosts: list[str] | None = None


def from_document(document: Any) -> NumberSeries:
    """A list of numbers, or an object with `values` and perhaps `hosts` (also under `meta`); null is no value.

    Raises:
        BadSeries: it is something else.
    """
    if isinstance(document, list):
        return NumberSeries(values=_numbers(document))
    if not isinstance(document, dict) or "values" not in document:
        raise BadSeries('give a list of numbers, or {"values": [...], "meta": {"hosts": [...]}}')
    values = _numbers(document["values"])
    meta = document.get("meta")
    if meta is not None and not isinstance(meta, dict):
        raise BadSeries(f"meta: {_short(meta)} is no object")
    hosts = document.get("hosts", (meta or {}).get("hosts"))
    return NumberSeries(values=values, hosts=None if hosts is None else _hosts(hosts, len(values)))


def from_text(text: str, *, column: str = "", host_column: str = "host") -> NumberSeries:
    """A series from JSON, or from CSV: its column `column`, else `value`, else the only one.

    A JSON list of objects is taken as rows whose fields are columns.

    Raises:
        BadSeries: it is neither.
    """
    if text.lstrip()[:1] in ("[", "{"):
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadSeries(f"line {error.lineno}: not JSON ({error.msg})") from error
        except (ValueError, RecursionError) as error:
            # What JSON has and Python does not: numbers of thousands of digits, thousands of brackets.
            raise BadSeries(f"not JSON that can be read ({error})") from error
        if isinstance(document, list) and document and isinstance(document[0], dict):
            return _from_objects(document, column, host_column)
        if column:
            raise BadSeries(f"column {column!r}: a JSON list of numbers has no columns; leave --column out")
        return from_document(document)
    return _from_csv(text, column, host_column)


def _from_objects(rows: Sequence[Any], column: str, host_column: str) -> NumberSeries:
    if not all(isinstance(row, dict) for row in rows):
        raise BadSeries("a list of objects holds nothing but objects; give numbers or objects")
    header = list(dict.fromkeys(name for row in rows for name in row))
    name = header[_column(header, column)]
    values = [math.nan if row.get(name) is None else _number(place, row[name], name) for place, row in enumerate(rows)]
    hosts = [str(row.get(host_column, "")) for row in rows] if host_column in header else None
    return NumberSeries(values=values, hosts=hosts)


def _from_csv(text: str, column: str, host_column: str) -> NumberSeries:
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if not rows:
        raise BadSeries("nothing to read; give a JSON list or CSV with a column of numbers")
    if _is_number(rows[0][-1]) and not column:
        header, first = ["value"] if len(rows[0]) == 1 else [str(number) for number in range(len(rows[0]))], 1
    else:
        header, first, rows = rows[0], 2, rows[1:]
    place = _column(header, column)
    host = header.index(host_column) if host_column in header else None
    values = [_cell(row, place, header[place], line) for line, row in enumerate(rows, start=first)]
    hosts = None if host is None else [row[host] if host < len(row) else "" for row in rows]
    return NumberSeries(values=values, hosts=hosts)


def _column(header: Sequence[str], column: str) -> int:
    wanted = column or ("value" if "value" in header else "")
    if wanted:
        if wanted not in header:
            raise BadSeries(f"column {wanted!r}: there is none; there are {', '.join(header)}")
        return header.index(wanted)
    if len(header) != 1:
        raise BadSeries(f"which column? there are {', '.join(header)}; choose with --column")
    return 0


def _cell(row: Sequence[str], place: int, name: str, line: int) -> float:
    text = row[place].strip() if place < len(row) else ""
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise BadSeries(f"line {line}, {name}: {_short(text)} is no number") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list):
        raise BadSeries(f"values: {_short(values)} is no list")
    if set(map(type, values)) <= {float}:
        # As nearly all are: a look at each in turn takes a quarter as long as their analysis.
        return values
    return [_number(place, value) for place, value in enumerate(values)]


def _number(place: int, value: Any, name: str = "values") -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadSeries(f"{name}[{place}]: {_short(value)} is no number")
    try:
        return float(value)
    except OverflowError as error:
        raise BadSeries(f"{name}[{place}]: {_short(value)} is too large") from error


def _hosts(hosts: Any, count: int) -> list[str]:
    if not isinstance(hosts, list):
        raise BadSeries(f"hosts: {_short(hosts)} is no list")
    if len(hosts) != count:
        raise BadSeries(f"hosts: {len(hosts)} names for {count} values; give one for each")
    return [str(host) for host in hosts]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
