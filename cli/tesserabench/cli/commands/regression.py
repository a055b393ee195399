"""`tbctl regression list|get|score`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.exit_codes import Ending, ExitCode
from tesserabench.cli.grammar import command
from tesserabench.cli.options import DURATION, REGRESSION, RUN, Texts, page_options
from tesserabench.cli.output.words import number_of, word, words_of
from tesserabench.cli.pages import read_pages
from tesserabench.cli.run_request import duration_message
from tesserabench.cli.views.detector_score import rate_sentence, score_columns
from tesserabench.cli.views.findings import regression_columns, regression_details
from tesserabench.v1.comparison_pb2 import CauseKind
from tesserabench.v1.regression_service_pb2 import (
    DetectorScore,
    FindingKind,
    GetDetectorScoreRequest,
    GetRegressionRequest,
    ListRegressionsRequest,
    Regression,
    RegressionState,
)
from tesserabench.v1.run_pb2 import Severity


@command(
    "list",
    examples=(
        ("tbctl regression list", "what is open, worst first"),
        ("tbctl regression list --min-severity major --exit-code", "end with 10 when there is one"),
        ("tbctl regression list --kind slow_device -o wide", "devices that are behind their siblings"),
        ("tbctl regression list --cause code --owner ann", "what ann has to look after in the code"),
        ("tbctl regression list --state ignored --state verified", "what was closed"),
    ),
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(words_of(RegressionState)),
    metavar="STATE",
    help=f"Only this state; default: the open ones. One of {', '.join(words_of(RegressionState))}.",
)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(words_of(FindingKind)), help="Only this kind.")
@click.option("--cause", "causes", multiple=True, type=click.Choice(words_of(CauseKind)), help="Only this cause.")
@click.option("--owner", default="", metavar="NAME", help="Only what this person looks after.")
@click.option("--min-severity", type=click.Choice(words_of(Severity)), help="At least this bad.")
@click.option("--suite", default="", metavar="NAME", help="Only this suite.")
@click.option("--run", type=RUN, metavar="RUN", help="Only those that this run found or confirmed.")
@click.option("--subject", default="", metavar="NAME", help="Only those about this: devices/UUID, schedules/NAME.")
@click.option("--exit-code", is_flag=True, help="End with 10 when there are any.")
@page_options
def list_command(context: CommandContext, **values: Any) -> Ending | None:
    """List findings, worst and newest first."""
    typed, collector = Texts(values=values), context.collector

    def fetch(size: int, token: str) -> tuple[Sequence[Regression], str]:
        request = _request(context, typed)
        request.page_size, request.page_token = size, token
        answer = collector.call(collector.stubs.regressions.ListRegressions, request)
        return answer.regressions, answer.next_page_token

    listing = read_pages(fetch, limit=None if typed.flag("everything") else typed.get("limit"))
    context.printer.message_list(
        "Regression", listing.items, regression_columns(datetime.now(UTC)), nothing="no regressions"
    )
    if listing.more:
        context.printer.hint("there are more: --limit N or --all")
    return _ending(listing.items) if typed.flag("exit_code") else None


def _request(context: CommandContext, typed: Texts) -> ListRegressionsRequest:
    request = ListRegressionsRequest(
        project=context.settings.project,
        states=[RegressionState.ValueType(number_of(RegressionState, state)) for state in typed.many("states")],
        kinds=[FindingKind.ValueType(number_of(FindingKind, kind)) for kind in typed.many("kinds")],
        causes=[CauseKind.ValueType(number_of(CauseKind, cause)) for cause in typed.many("causes")],
        owner=typed.text("owner"),
        suite=typed.text("suite"),
        run=typed.text("run"),
        subject=typed.text("subject"),
    )
    least = typed.text("min_severity")
    if least:
        request.min_severity = Severity.ValueType(number_of(Severity, least))
    return request


def _ending(found: Sequence[Regression]) -> Ending | None:
    if not found:
        return None
    worst = word(Severity, max(item.severity for item in found))
    count = "1 regression" if len(found) == 1 else f"{len(found)} regressions"
    return Ending(code=ExitCode.REGRESSION, sentence=f"{count} in the list", severity=worst)


@command("get", examples=(("tbctl regression get 7", "what is known about it: evidence, cause, series, history"),))
@click.argument("regression", type=REGRESSION)
def get_command(context: CommandContext, regression: str) -> None:
    """Show one finding: its evidence, cause, series and history."""
    request = GetRegressionRequest(name=regression)
    found = context.collector.call(context.collector.stubs.regressions.GetRegression, request)
    now = datetime.now(UTC)
    text = context.printer.details(regression_details(found, now))
    context.printer.message("Regression", found, regression_columns(now), text=text)


@command(
    "score",
    examples=(
        ("tbctl regression score", "how right the detector was in the last 90 days"),
        ("tbctl regression score --since 30d -o json", "the same of 30 days, for a program"),
    ),
)
@click.option("--since", type=DURATION, metavar="DURATION", help="How far back findings count. Default 90d.")
def score_command(context: CommandContext, since: float | None) -> None:
    """Show how right the detector was, by policy and class of hosts, and how it errs on identical code."""
    request = GetDetectorScoreRequest(project=context.settings.project)
    if since is not None:
        request.window.CopyFrom(duration_message(since))
    score = context.collector.call(context.collector.stubs.regressions.GetDetectorScore, request)
    if context.printer.output == "csv":
        context.printer.message_list("DetectorScoreRow", score.rows, score_columns(), nothing="")
        return
    context.printer.message("DetectorScore", score, (), text=_score_text(context, score))


def _score_text(context: CommandContext, score: DetectorScore) -> str:
    table = context.printer.table(score_columns(), score.rows) if score.rows else "No finding was confirmed."
    rates = [rate_sentence(rate) for rate in score.false_alarm_rates]
    none = "Identical code was not compared; a schedule does so: tbctl schedule create aa --aa --every 24h --suite NAME"
    return "\n".join([table, "", *(rates or [none]), score.remark])
