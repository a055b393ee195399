"""Work on many series cut into parts, so that long histories fill neither the memory nor the event loop's time."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def in_parts(items: Sequence[_T], points: Sequence[int], *, most_items: int, most_points: int) -> Iterator[list[_T]]:
    """The items in order, in parts of so many items and points at most; an item with more points is a part by itself.

    Args:
        items: Anything.
        points: How many points come with each.
        most_items: Of a part.
        most_points: Of a part.
    """
    part: list[_T] = []
    total = 0
    for item, count in zip(items, points, strict=True):
        if part and (len(part) == most_items or total + count > most_points):
            yield part
            part, total = [], 0
        part.append(item)
        total += count
    if part:
        yield part
