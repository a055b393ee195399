"""Frozen dataclasses to JSON types and back, field by field, with errors that name the field."""

import types
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tesserabench.bench.case import Case
from tesserabench.bench.errors import InvalidPlan

T = TypeVar("T")

_ACCEPTED: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}


def encode(value: object) -> Any:
    """Return `value` as JSON types: dataclasses become objects, absent stays null, enums become their text."""
    if isinstance(value, Case):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: encode(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): encode(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        # Samples are the bulk of every message: plain integers need no second look.
        return [item if type(item) is int else encode(item) for item in value]
    return value


@cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return get_type_hints(cls)


def decode(cls: type[T], data: object, where: str | None = None) -> T:
    """Rebuild the dataclass `cls` from what `encode` wrote.

    Unknown fields are refused (a misspelt option must not be ignored in silence), missing ones take their default.
    Raises InvalidPlan naming the field, the value and what is expected.
    """
    where = where or cls.__name__
    if not isinstance(data, Mapping):
        raise InvalidPlan(f"{where} is {data!r}; it must be an object")
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    for name in data:
        if name not in known:
            raise InvalidPlan(f"{where} has the unknown field {name!r}; known fields: {', '.join(known)}")
    hints = _hints(cast("Hashable", cls))
    values = {
        name: _read(hints[name], data[name], f"{where}.{name}")
        for name, item in known.items()
        if name in data or _required(item, where)
    }
    return cls(**values)


def _required(item: "Field[Any]", where: str) -> bool:
    if item.default is MISSING and item.default_factory is MISSING:
        raise InvalidPlan(f"{where} lacks the field {item.name!r}")
    return False


def _read(hint: Any, data: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return _read_union(args, data, where)
    if origin is tuple:
        if not isinstance(data, list | tuple):
            raise InvalidPlan(f"{where} is {data!r}; it must be a list")
        if args[0] is int and all(type(item) is int for item in data):
            return tuple(data)
        return tuple(_read(args[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise InvalidPlan(f"{where} is {data!r}; it must be an object")
        return {str(name): _read(args[1], item, f"{where}.{name}") for name, item in data.items()}
    return _read_plain(hint, data, where)


def _read_union(members: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in members:
        return None
    present = [member for member in members if member is not type(None)]
    if len(present) == 1:
        return _read(present[0], data, where)
    if any(type(data) is member for member in present):
        return data
    names = ", ".join(getattr(member, "__name__", str(member)) for member in present)
    raise InvalidPlan(f"{where} is {data!r}; it must be one of: {names}")


def _read_plain(hint: Any, data: Any, where: str) -> Any:
    if hint is Case:
        return Case.from_dict(data)
    if is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, data, where)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        try:
            return hint(data)
        except ValueError:
            raise InvalidPlan(f"{where} is {data!r}; it must be one of: {', '.join(hint)}") from None
    accepted = _ACCEPTED[hint]
    if not isinstance(data, accepted) or (isinstance(data, bool) and hint is not bool):
        raise InvalidPlan(f"{where} is {data!r}; it must be of type {hint.__name__}")
    return hint(data)
