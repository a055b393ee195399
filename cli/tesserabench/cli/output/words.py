"""Enum values and times of the contract as words."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp
from tesserabench.report.quantity import UNKNOWN


def enum_word(enum: EnumDescriptor, number: int) -> str:
    """`no_eligible_host` for OUTCOME_NO_ELIGIBLE_HOST; "" for the unspecified value; `unrecognized_99` for a newer."""
    if number == 0:
        return ""
    value = enum.values_by_number.get(number)
    if value is None:
        return f"unrecognized_{number}"
    # Every enum's last-but-shared prefix is that of its zero value, as the contract's linter demands.
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return value.name.removeprefix(prefix).lower()


def word(enum: Any, number: int) -> str:
    """`enum_word` for a generated enum class."""
    descriptor: EnumDescriptor = enum.DESCRIPTOR
    return enum_word(descriptor, number)


def number_of(enum: Any, text: str) -> int:
    """The number of a word that `word` gave, for the enum's own words only."""
    descriptor: EnumDescriptor = enum.DESCRIPTOR
    return next(value.number for value in descriptor.values if enum_word(descriptor, value.number) == text)


def words_of(enum: Any) -> tuple[str, ...]:
    """Every word of a generated enum class, without the unspecified value."""
    descriptor: EnumDescriptor = enum.DESCRIPTOR
    return tuple(enum_word(descriptor, value.number) for value in descriptor.values if value.number)


def moment(message: Any, field: str) -> datetime | None:
    """The time in a message's field, in UTC; none when it is absent."""
    if not message.HasField(field):
        return None
    stamp = getattr(message, field)
    assert isinstance(stamp, Timestamp)
    return stamp.ToDatetime(tzinfo=UTC)


def iso(time: datetime | None) -> str | None:
    """The time in RFC 3339 with milliseconds."""
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(time: datetime | None, *, now: datetime) -> str:
    """`3m ago`; `in 2h` for the future; `-` when not known."""
    if time is None:
        return UNKNOWN
    seconds = (now - time).total_seconds()
    # Two clocks differ a little; nothing is created in the future.
    if -2 < seconds < 1:
        return "now"
    return f"{_roughly(seconds)} ago" if seconds > 0 else f"in {_roughly(-seconds)}"


def _roughly(seconds: float) -> str:
    """The largest unit alone: a list of ages is read for its order."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{round(seconds)}s"
