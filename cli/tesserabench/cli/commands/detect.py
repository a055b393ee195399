"""`tbctl detect`: where the level of a series changed, without a collector."""

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import CliError, UsageProblem
from tesserabench.cli.grammar import command
from tesserabench.cli.number_series import BadSeries, NumberSeries, from_document, from_text
from tesserabench.cli.options import Texts
from tesserabench.cli.output.plot import Change, Drawn, Level, Look, render
from tesserabench.cli.output.printer import Printer
from tesserabench.cli.output.streams import write_through
from tesserabench.cli.output.table import Column, clean

_STYLE = {"confirmed": "warn", "suspected": "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLine:
    """A change as it is written."""

    index: int
    earliest: int
    latest: int
    change: float
    """As a share."""
    before: float
    after: float
    state: str
    strength: float


@command(
    "detect",
    examples=(
        ("tbctl detect times.csv --column median", "changes in a column of a CSV file"),
        ("tbctl history gemm/matmul -o csv | tbctl detect - --column value", "in what another command wrote"),
        ("tbctl detect --json-lines", "for programs: each line of stdin is a series, and gets an answer"),
    ),
)
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True), metavar="[FILE|-]")
@click.option("--json-lines", is_flag=True, help='Answer each line {"values": [...]} of stdin with a list of indices.')
@click.option(
    "--column",
    default="",
    metavar="NAME",
    help="Column, or field of objects. Default: value, or the only one.",
)
@click.option("--host-column", default="host", show_default=True, metavar="NAME", help="Column that names the host.")
@click.option(
    "--smallest-change",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.01,
    show_default=True,
    metavar="SHARE",
    help="Smaller steps are not reported, 0.01 for 1 %.",
)
@click.option(
    "--strictness",
    type=click.FloatRange(0.1, 10),
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Above 1: fewer changes, with more evidence.",
)
@click.option("--plot/--no-plot", default=True, help="Draw the chart. Default.")
def detect_command(context: CommandContext, file: str | None, **values: Any) -> None:
    """Find where the level of a series changed: steps, drifts, and short excursions that came back.

    FILE holds numbers, oldest first: a JSON list, {"values": [...], "hosts": [...]}, a JSON list of objects, or CSV; -
    is stdin. Points of several hosts may stand mixed when their hosts are named: fixed differences between them are
    taken out, and of three hosts one that moves alone is named and is no change. Below 6 points nothing is told.

    With --json-lines every line of stdin is {"values": [...], "meta": {"hosts": [...]}} (meta and hosts may be left
    out) and is answered, at once, by a line with the indices of the first points of new levels; a line that cannot be
    read is answered by {"error": ...}.
    """
    typed = Texts(values=values)
    library = _library()
    try:
        settings = library.Settings(
            smallest_change=float(typed.get("smallest_change")), strictness=float(typed.get("strictness"))
        )
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    if typed.flag("json_lines"):
        if file not in {None, "-"}:
            raise UsageProblem(f"--json-lines reads stdin; leave {file} out: tbctl detect --json-lines < {file}")
        _answer_lines(library, settings, sys.stdin, sys.stdout)
        return
    if file is None:
        raise UsageProblem("detect wants a file; - is stdin, and --json-lines reads a series a line")
    series = _read(file, typed)
    try:
        analysis = library.analyse(series.values, series.hosts, settings)
    except ValueError as error:
        raise UsageProblem(f"{file}: {error}") from error
    _show(context.printer, series, analysis, draw=typed.flag("plot"))


def _library() -> Any:
    """The analysis of histories, imported now.

    Raises:
        CliError: NumPy is not installed.
    """
    try:
        from tesserabench.analysis import changepoints  # noqa: PLC0415 - slow to import
    except ImportError as error:
        missing = error.name or "a package"
        raise CliError(f"detecting here needs {missing}; install it with: pip install 'tesserabench[agent]'") from error
    return changepoints


def _answer_lines(library: Any, settings: Any, lines: Iterable[str], answers: TextIO) -> None:
    """Answer line by line, each before the next is read."""
    for line in lines:
        if not line.strip():
            continue
        try:
            series = from_document(json.loads(line))
            analysis = library.analyse(series.values, series.hosts, settings)
            answer: Any = [change.index for change in analysis.changes]
        except json.JSONDecodeError as error:
            answer = {"error": f"column {error.colno}: not JSON ({error.msg}); one object a line"}
        except (ValueError, RecursionError) as error:
            # No series; or what JSON has and Python does not: numbers of thousands of digits, thousands of brackets.
            answer = {"error": str(error)}
        if not write_through(answers, json.dumps(answer) + "\n"):
            return


def _read(file: str, typed: Texts) -> NumberSeries:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return from_text(text, column=typed.text("column"), host_column=typed.text("host_column"))
    except OSError as error:
        raise CliError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{file}: not text in UTF-8") from error
    except BadSeries as error:
        raise UsageProblem(f"{file}: {error}") from error


def _columns() -> tuple[Column[ChangeLine], ...]:
    return (
        Column(title="INDEX", value=lambda row: row.index, field="index", right=True),
        Column(
            title="BETWEEN",
            value=lambda row: f"{row.earliest}-{row.latest}",
            field="between",
        ),
        Column(title="CHANGE", value=lambda row: row.change, text=lambda row: f"{100 * row.change:+.1f} %", right=True),
        Column(title="BEFORE", value=lambda row: row.before, text=lambda row: f"{row.before:.6g}", right=True),
        Column(title="AFTER", value=lambda row: row.after, text=lambda row: f"{row.after:.6g}", right=True),
        Column(title="STATE", value=lambda row: row.state, style=lambda row: _STYLE.get(row.state, "")),
        Column(title="STRENGTH", value=lambda row: row.strength, text=lambda row: f"{row.strength:.1f}", right=True),
    )


def _show(printer: Printer, series: NumberSeries, analysis: Any, *, draw: bool) -> None:
    levels = [analysis.value_of(segment.level) for segment in analysis.segments]
    lines = [
        ChangeLine(
            index=change.index,
            earliest=change.earliest,
            latest=change.latest,
            change=analysis.share_of(change.shift),
            before=before,
            after=after,
            state=change.status.value,
            strength=change.strength,
        )
        for change, before, after in zip(analysis.changes, levels, levels[1:], strict=False)
    ]
    if printer.output == "csv":
        printer.items("Change", lines, _columns(), body=lambda _: {}, nothing="no changes")
        return
    text = [_chart(printer, series, analysis, levels)] if draw and printer.for_people else []
    if lines:
        text.append(printer.table(_columns(), lines))
    text.append(_summary(analysis, levels, sum(math.isfinite(value) for value in series.values)))
    printer.thing(
        "SeriesAnalysis",
        analysis,
        (),
        body=lambda item: _body(item, lines, levels),
        text="\n".join(part for part in text if part),
    )


def _chart(printer: Printer, series: NumberSeries, analysis: Any, levels: list[float]) -> str:
    points = [(float(place), value) for place, value in enumerate(series.values) if abs(value) < float("inf")]
    drawn = Drawn(
        points=points,
        levels=[
            Level(start=segment.start, end=segment.end - 1, value=level)
            for segment, level in zip(analysis.segments, levels, strict=True)
        ],
        changes=[
            Change(
                at=change.index,
                label=f"{100 * analysis.share_of(change.shift):+.1f} %",
                style=_STYLE.get(change.status.value, ""),
            )
            for change in analysis.changes
        ],
    )
    unicode = (getattr(sys.stdout, "encoding", "") or "").lower().startswith("utf")
    look = Look(width=printer.width, label=lambda value: f"{value:.4g}", unicode=unicode, color=printer.color)
    return render([drawn], look, first="0", last=str(max(analysis.points - 1, 0)))


def _summary(analysis: Any, levels: list[float], valued: int) -> str:
    count = len(analysis.changes)
    told = f"{count} change{'' if count == 1 else 's'} in {_points(analysis.points)}"
    if not analysis.segments:
        return f"{told}: no point has a value"
    fewest = _library().FEWEST
    if valued < fewest:
        return f"nothing can be told from {_points(valued)} with a value: changes need {fewest} points"
    last = analysis.segments[-1]
    parts = [
        f"{told}; level {levels[-1]:.6g} +-{100 * last.spread:.2g} % ({last.noise.value.replace('_', ' ')})",
        f"eight more points would show {100 * analysis.share_of(last.smallest_change):.2g} %",
    ]
    if analysis.drifts:
        drifts = ", ".join(
            f"{100 * analysis.share_of(drift.shift):+.1f} % over {drift.start}-{drift.end - 1}"
            for drift in analysis.drifts
        )
        parts.append(f"drifts: {drifts}")
    if analysis.transients:
        came_back = ", ".join(
            f"{100 * analysis.share_of(one.shift):+.1f} % at {one.start}-{one.end - 1}" for one in analysis.transients
        )
        parts.append(f"excursions that came back: {came_back}")
    if analysis.host_offsets:
        hosts = ", ".join(
            f"{host or '(none)'} {100 * analysis.share_of(offset):+.1f} %"
            for host, offset in sorted(analysis.host_offsets.items())
        )
        parts.append(f"hosts: {hosts}")
    if analysis.host_moves:
        moves = ", ".join(
            f"{one.host or '(none)'} {100 * analysis.share_of(one.shift):+.1f} % {_when(one)}"
            for one in analysis.host_moves
        )
        parts.append(f"hosts that moved alone, which is no change of the series: {moves}")
    return "\n".join(map(clean, parts))


def _points(count: int) -> str:
    return f"{count} point{'' if count == 1 else 's'}"


def _when(move: Any) -> str:
    return f"at {move.start}" if move.end == move.start else f"over {move.start}-{move.end}"


def _body(analysis: Any, lines: list[ChangeLine], levels: list[float]) -> dict[str, Any]:
    return {
        "points": analysis.points,
        "changes": [
            {
                "index": line.index,
                "earliest": line.earliest,
                "latest": line.latest,
                "change": line.change,
                "before": line.before,
                "after": line.after,
                "state": line.state,
                "strength": line.strength,
            }
            for line in lines
        ],
        "segments": [
            {
                "start": segment.start,
                "end": segment.end,
                "level": level,
                "spread": segment.spread,
                "correlation": segment.correlation,
                "noise": segment.noise.value,
                "smallestChange": analysis.share_of(segment.smallest_change),
            }
            for segment, level in zip(analysis.segments, levels, strict=True)
        ],
        "drifts": [
            {"start": one.start, "end": one.end, "change": analysis.share_of(one.shift)} for one in analysis.drifts
        ],
        "transients": [
            {"start": one.start, "end": one.end, "change": analysis.share_of(one.shift)} for one in analysis.transients
        ],
        "hostMoves": [
            {"host": one.host, "start": one.start, "end": one.end, "change": analysis.share_of(one.shift)}
            for one in analysis.host_moves
        ],
        "hostOffsets": {host: analysis.share_of(offset) for host, offset in sorted(analysis.host_offsets.items())},
    }
