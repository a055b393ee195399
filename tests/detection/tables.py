"""Tables in Markdown, as `make bench-detection` prints and keeps them."""

from collections.abc import Mapping, Sequence


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column names the row."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(values: Mapping[str, str], group: str) -> str:
    """A group's figure, or a dash where there is none."""
    return values.get(group, "-")


def percent(share: float) -> str:
    """A share in whole per cent."""
    return f"{100 * share:.0f}"


def milliseconds(seconds: float | None) -> str:
    """A duration in milliseconds; a dash for none."""
    return "-" if seconds is None else f"{1000 * seconds:.3g}"
