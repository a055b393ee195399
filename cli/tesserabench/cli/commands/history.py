"""`tbctl history BENCHMARK`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import EmptyResult, UsageProblem
from tesserabench.cli.grammar import command
from tesserabench.cli.options import DURATION, MODES, Texts
from tesserabench.cli.output.structured import plain
from tesserabench.cli.output.words import number_of, word
from tesserabench.cli.pages import LARGEST_PAGE, read_pages
from tesserabench.cli.series_names import complete_series
from tesserabench.cli.settings.schema import near
from tesserabench.cli.views.histories import (
    change_columns,
    change_lines,
    chart,
    headline,
    point_columns,
    point_lines,
)
from tesserabench.v1.history_service_pb2 import GetHistoryRequest, History, HistoryPoint, ListSeriesRequest, Series
from tesserabench.v1.measurement_pb2 import TimingMode

_MOST_BRANCHES = 4
_MOST_CANDIDATES = 20
_NEWEST = 10
_DEFAULT_METRIC = "time"
_THE_DEFAULT = "(default)"
"""How the default branch is shown where its name is not known."""


@command(
    "history",
    examples=(
        ("tbctl history gemm/square", "the chart of its time, its changes, and the newest runs"),
        (
            "tbctl history 'gemm/square[n=4096]' --metric throughput --device h100 --since 30d",
            "one metric on one model",
        ),
        ("tbctl history softmax --branch main --branch faster-exp", "two branches over each other"),
        ("tbctl history softmax -o csv > softmax.csv", "every point, for another program"),
    ),
)
@click.argument("benchmark", shell_complete=complete_series)
@click.option("--metric", default="", metavar="NAME", help="Metric. Default: time, else the one that decides.")
@click.option("--mode", type=click.Choice(MODES), help="Timing mode.")
@click.option("--device", default="", metavar="TEXT", help="Part of the device's name.")
@click.option("--suite", default="", metavar="NAME", help="Suite.")
@click.option(
    "--branch", "branches", multiple=True, metavar="NAME", help="Branch, up to 4 times. Default: the default branch."
)
@click.option("--since", type=DURATION, default="90d", show_default=True, help="How far to look back.")
@click.option("--plot/--no-plot", default=True, help="Draw the chart. Default.")
@click.option(
    "--limit",
    type=click.IntRange(0, 100_000),
    default=_NEWEST,
    show_default=True,
    metavar="N",
    help="At most this many of the newest runs below the chart.",
)
@click.option("--all", "everything", is_flag=True, help="Every run, and changes that went away again.")
def history_command(context: CommandContext, benchmark: str, **values: Any) -> None:
    """Show what a benchmark gave over time, and where it changed.

    BENCHMARK is a benchmark or a case, with or without its suite: softmax, gemm/square, 'gemm/square[n=512]'.
    The table formats show a chart, the changes and the newest runs; json, yaml and csv have every run.
    """
    typed = Texts(values=values)
    if not benchmark.strip():
        raise UsageProblem("BENCHMARK is empty; name a benchmark or a case: softmax, gemm/square, 'gemm/square[n=512]'")
    branches = typed.many("branches") or ("",)
    if len(branches) > _MOST_BRANCHES:
        raise UsageProblem(f"--branch was given {len(branches)} times; {_MOST_BRANCHES} branches fit into one chart")
    since = datetime.now(UTC) - timedelta(seconds=typed.get("since"))
    chosen = _choose(context, benchmark, typed, branches)
    histories = {branch or _THE_DEFAULT: _read(context, chosen, branch, since) for branch in branches}
    _show(context, histories, typed)


def _choose(context: CommandContext, benchmark: str, typed: Texts, branches: Sequence[str]) -> Series:
    """The one series that was meant.

    Raises:
        EmptyResult: nothing is called so.
        UsageProblem: several series are; they are listed with what tells them apart.
    """
    mode = typed.text("mode")
    request = ListSeriesRequest(
        project=context.settings.project,
        suite=typed.text("suite"),
        benchmark=benchmark,
        metric=typed.text("metric"),
        device=typed.text("device"),
        branch=branches[0],
    )
    if mode:
        request.mode = TimingMode.ValueType(number_of(TimingMode, mode))
    found = _list(context, request)
    if not found:
        raise EmptyResult(_nothing(context, request, branches[0]))
    candidates = _preferred(found) if not request.metric else found
    if len(candidates) > 1:
        lines = [_typed(series) for series in candidates[:_MOST_CANDIDATES]]
        more = [f"  ... and {len(candidates) - len(lines)} more"] if len(candidates) > len(lines) else []
        sentence = f"{benchmark!r} means {len(candidates)} series; add what tells them apart"
        raise UsageProblem(sentence, details=("it may be one of:", *lines, *more))
    return candidates[0]


def _preferred(found: Sequence[Series]) -> list[Series]:
    """Of each case the time, else what decides, else everything."""
    times = [series for series in found if series.metric == _DEFAULT_METRIC]
    return times or [series for series in found if series.primary] or list(found)


def _typed(series: Series) -> str:
    """The command that means this series alone."""
    mode = word(TimingMode, series.mode)
    parts = [f"tbctl history '{series.case_id}'", f"--metric {series.metric}"]
    parts += [f"--mode {mode}"] if mode in MODES else []
    return "  " + " ".join([*parts, f"--device '{series.device}'", f"--suite {series.suite}"])


def _nothing(context: CommandContext, request: ListSeriesRequest, branch: str) -> str:
    everything = _list(context, ListSeriesRequest(project=context.settings.project, branch=branch))
    names = sorted({series.benchmark for series in everything} | {series.case_id for series in everything})
    if not names:
        where = f" on branch {branch}" if branch else ""
        return f"project {context.settings.project!r} has no histories{where} yet; they begin with the first run"
    if request.benchmark in names or any(name.endswith("/" + request.benchmark) for name in names):
        return f"{request.benchmark!r} was measured, but not with this metric, mode, device or suite; leave some out"
    hint = near(request.benchmark, names) or f"; there are: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
    return f"nothing called {request.benchmark!r} has been measured{hint}"


def _list(context: CommandContext, request: ListSeriesRequest) -> list[Series]:
    collector = context.collector

    def fetch(size: int, token: str) -> tuple[Sequence[Series], str]:
        request.page_size, request.page_token = size, token
        answer = collector.call(collector.stubs.histories.ListSeries, request)
        return answer.series, answer.next_page_token

    return read_pages(fetch, limit=LARGEST_PAGE).items


def _read(context: CommandContext, series: Series, branch: str, since: datetime) -> History:
    """The whole history on a branch."""
    collector = context.collector
    request = GetHistoryRequest(name=series.name, branch=branch)
    request.start_time.FromDatetime(since)
    whole = History()

    def fetch(size: int, token: str) -> tuple[Sequence[HistoryPoint], str]:
        request.page_size, request.page_token = size, token
        answer = collector.call(collector.stubs.histories.GetHistory, request)
        if not token:
            whole.MergeFrom(answer)
            whole.ClearField("points")
            whole.ClearField("next_page_token")
        return answer.points, answer.next_page_token

    points = read_pages(fetch, limit=None).items
    whole.points.extend(points)
    return whole


def _show(context: CommandContext, histories: Mapping[str, History], typed: Texts) -> None:
    printer, now = context.printer, datetime.now(UTC)
    points = [line for branch, history in histories.items() for line in point_lines(history, branch)]
    if printer.output == "csv":
        printer.items("HistoryPoint", points, point_columns(now), body=lambda _: {}, nothing="no runs")
        return
    if not printer.for_people:
        _documents(context, histories)
        return
    unicode = (printer.result.encoding or "").lower().replace("-", "").startswith("utf")
    lines = [headline(history, branch) for branch, history in histories.items()]
    drawn = chart(histories, printer, unicode=unicode) if typed.flag("plot") else ""
    lines += ["", drawn] if drawn else []
    changes = change_lines(histories, every=typed.flag("everything"))
    if changes:
        lines += ["", printer.table(change_columns(now, branches=len(histories) > 1), changes)]
    newest = points if typed.flag("everything") else points[len(points) - min(len(points), typed.get("limit")) :]
    if newest:
        lines += ["", printer.table(point_columns(now), newest)]
    printer.write("\n".join(lines))
    if not points:
        printer.hint("no run in this time; --since 365d looks further back")


def _documents(context: CommandContext, histories: Mapping[str, History]) -> None:
    documents = list(histories.values())
    if len(documents) == 1:
        context.printer.thing("History", documents[0], [], body=plain)
    else:
        context.printer.items("History", documents, [], body=plain, nothing="no runs")
