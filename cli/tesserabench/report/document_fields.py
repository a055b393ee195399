"""The fields of a parsed document, read with what is wrong with them: which field, what it holds, what is wanted."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

_MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Fields:
    """An object of a document. Everything raises ValueError, naming the field, for what is not of its kind."""

    values: Mapping[str, Any]
    path: str = ""
    """Where it is in its document: `items[2].header.`; empty for the document itself."""

    @classmethod
    def of(cls, value: Any, path: str) -> Self:
        """The object at a place; `path` is without its last dot."""
        if not isinstance(value, Mapping):
            raise _wrong(path, value, "an object")
        return cls(value, f"{path}.")

    def has(self, key: str) -> bool:
        """Whether the field is there, and not null."""
        return self.values.get(key) is not None

    def text(self, key: str) -> str:
        """A text; empty when it is absent."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise _wrong(self.path + key, value, "a text")
        return value

    def name(self, key: str) -> str:
        """A text that must be there."""
        text = self.text(key)
        if not text:
            raise ValueError(f"{self.path}{key} is missing")
        return text

    def number(self, key: str) -> float | None:
        """A number that a double holds; None when it is absent."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(self.path + key, value, "a number")
        try:
            return float(value)
        except OverflowError:
            raise _wrong(self.path + key, value, "a number below 1.8e308") from None

    def count(self, key: str) -> int | None:
        """A whole number, 0 or more, also as text; None when it is absent."""
        value = self.values.get(key)
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        number = self.number(key)
        if number is None:
            return None
        if not (number >= 0 and math.isfinite(number) and number == int(number)):
            raise _wrong(self.path + key, value, "a whole number, 0 or more")
        return int(number)

    def flag(self, key: str) -> bool:
        """A truth; false when it is absent."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise _wrong(self.path + key, value, "true or false")
        return bool(value)

    def inner(self, key: str) -> "Fields":
        """An object that must be there."""
        if not self.has(key):
            raise ValueError(f"{self.path}{key} is missing")
        return Fields.of(self.values[key], self.path + key)

    def inner_or_empty(self, key: str) -> "Fields":
        """An object; an empty one when it is absent."""
        return self.inner(key) if self.has(key) else Fields({}, f"{self.path}{key}.")

    def each(self, key: str) -> Iterator["Fields"]:
        """The objects of a list that must be there."""
        if not self.has(key):
            raise ValueError(f"{self.path}{key} is missing")
        value = self.values[key]
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise _wrong(self.path + key, value, "a list")
        for number, item in enumerate(value):
            yield Fields.of(item, f"{self.path}{key}[{number}]")

    def texts(self) -> dict[str, str]:
        """All of its fields, as texts."""
        return {str(name): str(value) for name, value in self.values.items()}


def _wrong(field: str, value: object, wanted: str) -> ValueError:
    shown = repr(value)
    cut = f"{shown[:_MOST_SHOWN]}..." if len(shown) > _MOST_SHOWN else shown
    return ValueError(f"{field} is {cut}; it must be {wanted}")
