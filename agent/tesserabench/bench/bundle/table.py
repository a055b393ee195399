"""Typed reading of a manifest's tables; every error names the file, the line, the field, the value and the remedy."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tesserabench.bench.bundle.expression import ARITHMETIC, Expression, ExpressionError
from tesserabench.bench.bundle.places import Path, line_of
from tesserabench.bench.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The file that tables come from: its name and the lines of its keys."""

    name: str
    lines: Mapping[Path, int]

    def error(self, path: Path, message: str) -> BundleError:
        """Return the error about a field."""
        line = line_of(self.lines, path)
        field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        place = self.name if line is None else f"{self.name}:{line}"
        return BundleError(f"{field} {message}" if field else message, place=place)


class Table:
    """One table of a manifest."""

    def __init__(self, source: Source, path: Path, data: object) -> None:
        self.source, self.path = source, path
        if not isinstance(data, Mapping):
            raise source.error(path, f"is {data!r}; it must be a table")
        self.data: Mapping[str, Any] = data

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def error(self, key: str | None, message: str) -> BundleError:
        """Return the error about one of its fields, or about itself."""
        return self.source.error(self.path if key is None else (*self.path, key), message)

    def allow(self, keys: Iterable[str]) -> None:
        """Refuse fields that nobody reads: a misspelt one must not be ignored in silence."""
        known = list(keys)
        for key in self.data:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
                raise self.error(key, f"is no field of this table; {hint}")

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text that is not empty."""
        value = self.data.get(key, default)
        if value is None:
            raise self.error(key, "is missing; it must be a text")
        if not isinstance(value, str) or (not value.strip() and value != default):
            raise self.error(key, f"is {value!r}; it must be a text that is not empty")
        return value

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """Return a whole number."""
        value = self.data.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(key, f"is {value!r}; it must be a whole number of at least {least}")
        return value

    def positive(self, key: str) -> float | None:
        """Return a number above zero, or None where it is left out."""
        value = self.data.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self.error(key, f"is {value!r}; it must be a number above zero")
        return float(value)

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return a list of texts; a single text counts as a list of one."""
        value = self.data.get(key, default)
        found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
        if found is None or not all(isinstance(item, str) for item in found):
            raise self.error(key, f"is {value!r}; it must be a list of texts")
        return found

    def table(self, key: str) -> "Table":
        """Return a table within, empty where it is left out."""
        return Table(self.source, (*self.path, key), self.data.get(key, {}))

    def tables(self, key: str) -> "tuple[Table, ...]":
        """Return a list of tables."""
        value = self.data.get(key, [])
        if not isinstance(value, list):
            raise self.error(key, f"is {value!r}; it must be a list of tables, written [[{key}]]")
        return tuple(Table(self.source, (*self.path, key, place), item) for place, item in enumerate(value))

    def choice(self, key: str, words: Iterable[str], default: str) -> str:
        """Return one of the given words."""
        value, known = self.data.get(key, default), list(words)
        if value not in known:
            raise self.error(key, f"is {value!r}; it must be one of: {', '.join(known)}")
        return str(value)

    def formula(self, key: str, functions: Iterable[str] = ARITHMETIC) -> Expression | None:
        """Return a formula, or None where it is left out."""
        return self.read_formula(key, self.data[key], functions) if key in self.data else None

    def formulas(self, key: str) -> tuple[Expression, ...]:
        """Return a list of formulas; a single one counts as a list of one."""
        value = self.data.get(key, ())
        items = value if isinstance(value, list | tuple) else (value,)
        return tuple(self.read_formula(key, item, ARITHMETIC) for item in items)

    def read_formula(self, key: str, value: object, functions: Iterable[str]) -> Expression:
        """Read one formula that stands in field `key`."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(key, f"is {value!r}; it must be a formula, as a text or a number")
        try:
            return Expression.read(value, frozenset(functions))
        except ExpressionError as error:
            raise self.error(key, f"is {value!r}: {error}") from None
