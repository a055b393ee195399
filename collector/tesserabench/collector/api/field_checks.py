"""Checks of single fields of a record, and the error that names the one that fails."""

import math
from collections.abc import Iterable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

DAY_US = 86_400_000_000
"""How far a host's clock may run ahead."""

# Nothing of ours is older than 2020: a clock that says so has lost its battery.
_EARLIEST_US = 1_577_836_800_000_000

LONGEST_NAME = 256
"""Largest number of characters in a name or a word."""

MOST_WORDS = 64
"""Largest number of entries in a list or map of words."""


class BadFieldError(Exception):
    """A field of a record cannot be taken: which, with what value, and why not."""

    def __init__(self, field: str, value: object, problem: str) -> None:
        super().__init__(f"{field}: {_shown(value)}: {problem}" if value is not None else f"{field}: {problem}")


def _shown(value: object) -> str:
    """A value in an error message, cut when it is long."""
    text = repr(value)
    return text if len(text) <= 100 else text[:99] + "…"


def check_text(text: str, field: str, longest: int) -> str:
    """The text itself.

    Raises:
        BadFieldError: it is too long, or holds a NUL character, which PostgreSQL does not take.
    """
    if len(text) > longest:
        raise BadFieldError(field, text, f"{len(text)} characters; at most {longest} are taken")
    if "\x00" in text:
        raise BadFieldError(field, text, "holds a NUL character")
    return text


def time_of(time: Timestamp, field: str, latest_us: int) -> int:
    """A time in microseconds since 1970.

    Raises:
        BadFieldError: it is missing, or no host can have meant it.
    """
    time_us = time.seconds * 1_000_000 + time.nanos // 1000
    if not _EARLIEST_US <= time_us <= latest_us:
        if time_us == 0:
            raise BadFieldError(field, None, "missing")
        value = f"{time.seconds}.{abs(time.nanos):09d} s since 1970"
        raise BadFieldError(field, value, "before 2020 or more than a day ahead: set the clock of the host")
    return time_us


def name_infinite(message: Any, fields: Iterable[str], where: str) -> None:
    """Complain about the first number that is not finite; a sum may overflow although each of its parts is."""
    for field in fields:
        value = getattr(message, field)
        if not math.isfinite(value):
            raise BadFieldError(f"{where}.{field}", value, "not a finite number")
