"""Parts of many series: bounded, in order, and nothing left out."""

from hypothesis import given
from hypothesis import strategies as st
from tesserabench.collector.core.series_parts import in_parts


@given(st.lists(st.integers(0, 40), max_size=40), st.integers(1, 6), st.integers(1, 60))
def test_parts_are_bounded_and_lose_nothing(points: list[int], most_items: int, most_points: int) -> None:
    items = list(range(len(points)))
    parts = list(in_parts(items, points, most_items=most_items, most_points=most_points))
    assert [item for part in parts for item in part] == items
    assert all(parts)
    for part in parts:
        assert len(part) <= most_items
        assert sum(points[item] for item in part) <= most_points or len(part) == 1


def test_a_part_is_no_smaller_than_it_has_to_be() -> None:
    assert list(in_parts("abcdef", [1, 1, 1, 9, 1, 1], most_items=2, most_points=4)) == [
        ["a", "b"],
        ["c"],
        ["d"],
        ["e", "f"],
    ]
