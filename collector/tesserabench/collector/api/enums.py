"""Enum values of the wire contract as words, and back: a word is the lower-case tail of a value's name.

`enum` is a generated enum such as `run_pb2.Tier`; stubs and run time know it under different types.
"""

from functools import cache
from typing import Any


@cache
def _prefix(enum: Any) -> str:
    # Every enum's zero value is `PREFIX_UNSPECIFIED`: buf lint checks it.
    return str(enum.Name(0)).removesuffix("UNSPECIFIED")


def word(enum: Any, number: int) -> str:
    """The word of an enum value; empty for unspecified or for a value that this release does not know."""
    if number == 0 or number not in enum.values():
        return ""
    return str(enum.Name(number)).removeprefix(_prefix(enum)).lower()


def number(enum: Any, word: str | None) -> Any:
    """The enum value of a word; unspecified for none or for an empty word.

    Raises:
        ValueError: no value has this word.
    """
    return enum.Value(_prefix(enum) + word.upper()) if word else 0
