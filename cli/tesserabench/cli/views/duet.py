"""Interleaved comparisons as people read them."""

from collections.abc import Sequence
from typing import Any

from tesserabench.cli.output.table import Column
from tesserabench.cli.views.verdicts import style_of
from tesserabench.report.quantity import change, change_interval, quantity


def pair_columns(pairs: Sequence[Any]) -> Sequence[Column[Any]]:
    """The columns of a table of pairs; arm B's case has one where it is another than arm A's."""
    columns: list[Column[Any]] = [Column(title="CASE", value=lambda pair: pair.a, shrink=True)]
    if any(pair.a != pair.b for pair in pairs):
        columns.append(Column(title="AGAINST", value=lambda pair: pair.b, shrink=True))
    return [
        *columns,
        Column(title="MODE", value=lambda pair: pair.mode, wide=True),
        Column(
            title="A",
            field="median_a",
            value=lambda pair: pair.median_a,
            text=lambda pair: quantity(pair.median_a, "ns"),
            right=True,
        ),
        Column(
            title="B",
            field="median_b",
            value=lambda pair: pair.median_b,
            text=lambda pair: quantity(pair.median_b, "ns"),
            right=True,
        ),
        Column(
            title="CHANGE",
            value=lambda pair: pair.found.change,
            text=lambda pair: change(pair.found.change),
            right=True,
        ),
        Column(
            title="95 % INTERVAL",
            field="change_low",
            value=lambda pair: pair.found.change_low,
            text=lambda pair: change_interval(pair.found.change_low, pair.found.change_high),
            right=True,
        ),
        Column(title="WORKERS", value=_workers, right=True),
        Column(title="VERDICT", value=lambda pair: pair.found.verdict, style=lambda pair: style_of(pair.found.verdict)),
        Column(title="REASON", value=lambda pair: pair.found.reason, wide=True),
        Column(
            title="VISIBLE FROM",
            field="smallest_visible_change",
            value=lambda pair: pair.found.smallest_visible_change,
            text=lambda pair: change(pair.found.smallest_visible_change),
            wide=True,
            right=True,
        ),
    ]


def _workers(pair: Any) -> int:
    return sum(worker.medians is not None for worker in pair.workers)


def duet_lines(result: Any) -> list[str]:
    """What stands below the table: why something is open, what the null control gave, what went wrong."""
    lines = []
    for pair in result.pairs:
        if pair.found.verdict in {"inconclusive", "regressed"}:
            name = pair.a if pair.a == pair.b else f"{pair.a} against {pair.b}"
            told = " ".join(filter(None, (pair.found.explanation, pair.found.recommendation)))
            lines.append(f"  {name}: {told}")
    if result.control is not None:
        lines.append(f"  null control ({result.control.case}): {result.control.explanation}")
    lines += [f"  {trouble}" for trouble in result.troubles]
    if result.alone:
        shown = ", ".join(result.alone[:3]) + (f" and {len(result.alone) - 3} more" if len(result.alone) > 3 else "")
        lines.append(f"  only in one arm, and left out: {shown}")
    return lines
