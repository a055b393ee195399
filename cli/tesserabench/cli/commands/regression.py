"""`tbctl regression list|get|ack|ignore|resolve|reopen`."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.exit_codes import Ending, ExitCode
from tesserabench.cli.grammar import command
from tesserabench.cli.options import REGRESSION, RUN, Texts, options, page_options
from tesserabench.cli.output.words import number_of, word, words_of
from tesserabench.cli.pages import read_pages
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.keeping import regression_columns, regression_details, state_of
from tesserabench.v1.regression_service_pb2 import (
    AcknowledgeRegressionRequest,
    GetRegressionRequest,
    IgnoreRegressionRequest,
    ListRegressionsRequest,
    Regression,
    RegressionState,
    ReopenRegressionRequest,
    ResolveRegressionRequest,
)
from tesserabench.v1.run_pb2 import Severity

_comment = click.option("--comment", default="", metavar="TEXT", help="What to remember.")
_which = options(click.argument("regression", type=REGRESSION))


@command(
    "list",
    examples=(
        ("tbctl regression list", "what is open, worst first"),
        ("tbctl regression list --min-severity major --exit-code", "end with 10 when there is one"),
        ("tbctl regression list --state ignored --state resolved", "what was closed"),
    ),
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(words_of(RegressionState)),
    help="Only this state. Default: the open ones.",
)
@click.option("--min-severity", type=click.Choice(words_of(Severity)), help="At least this bad.")
@click.option("--suite", default="", metavar="NAME", help="Only this suite.")
@click.option("--run", type=RUN, metavar="RUN", help="Only those that this run found or confirmed.")
@click.option("--exit-code", is_flag=True, help="End with 10 when there are any.")
@page_options
def list_command(context: CommandContext, **values: Any) -> Ending | None:
    """List regressions, worst and newest first."""
    typed, collector = Texts(values=values), context.collector
    states = [RegressionState.ValueType(number_of(RegressionState, state)) for state in typed.many("states")]
    least = typed.text("min_severity")

    def fetch(size: int, token: str) -> tuple[Sequence[Regression], str]:
        request = ListRegressionsRequest(
            project=context.settings.project,
            states=states,
            suite=typed.text("suite"),
            run=typed.text("run"),
            page_size=size,
            page_token=token,
        )
        if least:
            request.min_severity = Severity.ValueType(number_of(Severity, least))
        answer = collector.call(collector.stubs.regressions.ListRegressions, request)
        return answer.regressions, answer.next_page_token

    listing = read_pages(fetch, limit=None if typed.flag("everything") else typed.get("limit"))
    context.printer.message_list(
        "Regression", listing.items, regression_columns(datetime.now(UTC)), nothing="no regressions"
    )
    if listing.more:
        context.printer.hint("there are more: --limit N or --all")
    return _ending(listing.items) if typed.flag("exit_code") else None


def _ending(found: Sequence[Regression]) -> Ending | None:
    if not found:
        return None
    worst = word(Severity, max(item.severity for item in found))
    count = "1 regression" if len(found) == 1 else f"{len(found)} regressions"
    return Ending(code=ExitCode.REGRESSION, sentence=f"{count} in the list", severity=worst)


@command("get", examples=(("tbctl regression get 7", "what is known about it, and its history"),))
@_which
def get_command(context: CommandContext, regression: str) -> None:
    """Show one regression with its history."""
    found, now = _get(context, regression), datetime.now(UTC)
    text = context.printer.details(regression_details(found, now))
    context.printer.message("Regression", found, regression_columns(now), text=text)


@command(
    "ack", examples=(("tbctl regression ack 7 --comment 'bisecting' --owner ann", "its alert ends, it stays open"),)
)
@_which
@_comment
@click.option("--owner", default="", metavar="NAME", help="Who looks after it. Default: you.")
def ack_command(context: CommandContext, regression: str, comment: str, owner: str) -> None:
    """Somebody looks after it: its alert ends, it stays open."""
    request = AcknowledgeRegressionRequest(name=regression, comment=comment, owner=owner)
    stubs = context.collector.stubs.regressions
    _change(context, regression, lambda: context.collector.call(stubs.AcknowledgeRegression, request))


@command("ignore", examples=(("tbctl regression ignore 7 --comment 'benchmark will be removed'", "it is closed"),))
@_which
@click.option("--comment", required=True, metavar="TEXT", help="Why; required.")
def ignore_command(context: CommandContext, regression: str, comment: str) -> None:
    """It does not matter: its alert ends, it is closed."""
    request = IgnoreRegressionRequest(name=regression, comment=comment)
    stubs = context.collector.stubs.regressions
    _change(context, regression, lambda: context.collector.call(stubs.IgnoreRegression, request))


@command("resolve", examples=(("tbctl regression resolve 7 --comment 'fixed in abc1234'", "it is closed"),))
@_which
@_comment
def resolve_command(context: CommandContext, regression: str, comment: str) -> None:
    """It is fixed or accepted: its alert ends, it is closed."""
    request = ResolveRegressionRequest(name=regression, comment=comment)
    stubs = context.collector.stubs.regressions
    _change(context, regression, lambda: context.collector.call(stubs.ResolveRegression, request))


@command("reopen", examples=(("tbctl regression reopen 7 --comment 'still slow'", "it is open again"),))
@_which
@_comment
def reopen_command(context: CommandContext, regression: str, comment: str) -> None:
    """It is open again after all."""
    request = ReopenRegressionRequest(name=regression, comment=comment)
    stubs = context.collector.stubs.regressions
    _change(context, regression, lambda: context.collector.call(stubs.ReopenRegression, request))


def _get(context: CommandContext, name: str) -> Regression:
    return context.collector.call(context.collector.stubs.regressions.GetRegression, GetRegressionRequest(name=name))


def _change(context: CommandContext, name: str, call: Callable[[], Regression]) -> None:
    """Make a change and say what it changed."""
    before, after = _get(context, name), call()
    old, new = state_of(before), state_of(after)
    parts = [f"{old} -> {new}" if old != new else f"stays {new}"]
    if before.owner != after.owner:
        parts.append(f"owner {after.owner or 'nobody'}")
    text = f"regression {short_id(name)} ({after.evidence.case.id}): {', '.join(parts)}"
    context.printer.message("Regression", after, regression_columns(datetime.now(UTC)), text=text)
