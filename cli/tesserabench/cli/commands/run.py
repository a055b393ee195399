"""`tbctl run list|get|watch|logs|cancel|retry`."""

import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from tesserabench.cli.connection import Collector
from tesserabench.cli.context import CommandContext
from tesserabench.cli.exit_codes import Ending
from tesserabench.cli.following import follow_and_report, policy_of
from tesserabench.cli.grammar import command
from tesserabench.cli.logs import LogReader, log_line
from tesserabench.cli.options import RUN, Texts, follow_options, page_options, policy_options
from tesserabench.cli.output.structured import plain
from tesserabench.cli.output.table import render_csv
from tesserabench.cli.output.words import number_of, word, words_of
from tesserabench.cli.pages import read_pages
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.runs import log_columns, run_columns, run_details
from tesserabench.v1.measurement_pb2 import Outcome
from tesserabench.v1.run_pb2 import Run, RunState, Verdict
from tesserabench.v1.run_service_pb2 import (
    CancelRunRequest,
    GetRunRequest,
    ListRunsRequest,
    LogEntry,
    RetryRunRequest,
)

_LOG_SECONDS = 1.0


def get_run(collector: Collector, name: str) -> Run:
    """One run.

    Raises:
        CallError: there is none of this name, or the collector did not answer.
    """
    return collector.call(collector.stubs.runs.GetRun, GetRunRequest(name=name))


@command(
    "list",
    examples=(
        ("tbctl run list", "the latest runs"),
        ("tbctl run list --branch main --verdict regressed --limit 10", "the latest ones of main that became slower"),
        ("tbctl run list --all -o csv", "everything, for a spreadsheet"),
    ),
)
@click.option("--suite", default="", metavar="NAME", help="Only this suite.")
@click.option("--branch", default="", metavar="NAME", help="Only this branch.")
@click.option("--commit", default="", metavar="HASH", help="Only this commit, or what begins so.")
@click.option("--state", type=click.Choice(words_of(RunState)), help="Only this state.")
@click.option("--verdict", type=click.Choice(words_of(Verdict)), help="Only this verdict.")
@page_options
def list_command(context: CommandContext, **values: Any) -> None:
    """List runs, newest first."""
    typed = Texts(values=values)
    collector = context.collector

    def fetch(size: int, token: str) -> tuple[Sequence[Run], str]:
        request = ListRunsRequest(
            project=context.settings.project,
            page_size=size,
            page_token=token,
            suite=typed.text("suite"),
            branch=typed.text("branch"),
            commit=typed.text("commit"),
        )
        if typed.text("state"):
            request.state = RunState.ValueType(number_of(RunState, typed.text("state")))
        if typed.text("verdict"):
            request.verdict = Verdict.ValueType(number_of(Verdict, typed.text("verdict")))
        answer = collector.call(collector.stubs.runs.ListRuns, request)
        return answer.runs, answer.next_page_token

    listing = read_pages(fetch, limit=None if typed.flag("everything") else typed.get("limit"))
    context.printer.message_list("Run", listing.items, run_columns(datetime.now(UTC)), nothing="no runs")
    if listing.more:
        context.printer.hint("there are more: --limit N or --all")


@command(
    "get",
    examples=(
        ("tbctl run get 42", "what is known about run 42"),
        ("tbctl run get 42 -o json | jq -r .verdict", "its verdict alone"),
    ),
)
@click.argument("run", type=RUN)
def get_command(context: CommandContext, run: str) -> None:
    """Show one run."""
    found = get_run(context.collector, run)
    now = datetime.now(UTC)
    context.printer.message("Run", found, run_columns(now), text=context.printer.details(run_details(found, now)))


@command(
    "watch",
    examples=(
        ("tbctl run watch 42", "wait for run 42 and show its verdict"),
        ("tbctl run watch 42 --fail-on major --timeout 1h", "and end with 10 when it became slower by 5 % or more"),
    ),
)
@click.argument("run", type=RUN)
@policy_options
@follow_options
def watch_command(context: CommandContext, run: str, **values: Any) -> Ending:
    """Wait for a run and show its verdict."""
    typed = Texts(values=values)
    policy = policy_of(typed, context.settings, default="none")
    return follow_and_report(context, get_run(context.collector, run), typed, policy)


@command(
    "logs",
    examples=(
        ("tbctl run logs 42", "what its workers wrote"),
        ("tbctl run logs 42 --follow", "and what they write until it has finished"),
    ),
)
@click.argument("run", type=RUN)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has finished.")
def logs_command(context: CommandContext, run: str, follow: bool) -> None:  # noqa: FBT001 - click passes by name
    """Show what the workers of a run wrote, oldest first."""
    reader = LogReader(collector=context.collector, name=run)
    if not follow:
        entries = list(reader.read())
        if context.printer.for_people:
            for entry in entries:
                context.printer.write(log_line(entry))
        else:
            context.printer.message_list("LogEntry", entries, log_columns(), nothing="")
        if not entries:
            context.printer.hint("no lines")
        return
    while True:
        finished = get_run(context.collector, run).state == RunState.RUN_STATE_FINISHED
        for entry in reader.read():
            _write_followed(context, entry)
        if finished:
            return
        time.sleep(_LOG_SECONDS)


def _write_followed(context: CommandContext, entry: LogEntry) -> None:
    """One line at a time: a document cannot be closed before the end, so that JSON becomes one object a line."""
    if context.printer.for_people:
        context.printer.write(log_line(entry))
    elif context.printer.output == "csv":
        context.printer.write(render_csv(log_columns(), [entry]).partition("\n")[2])
    else:
        import json  # noqa: PLC0415 - one of four formats

        context.printer.write(json.dumps(plain(entry), ensure_ascii=False))


@command("cancel", examples=(("tbctl run cancel 42 --reason 'wrong branch'", "stop run 42"),))
@click.argument("run", type=RUN)
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
def cancel_command(context: CommandContext, run: str, reason: str) -> None:
    """Stop a run. A finished one stays as it is."""
    before = get_run(context.collector, run)
    request = CancelRunRequest(name=run, reason=reason)
    after = context.collector.call(context.collector.stubs.runs.CancelRun, request)
    now = datetime.now(UTC)
    context.printer.message("Run", after, run_columns(now), text=f"run {short_id(run)}: {_cancelled(before, after)}")


def _cancelled(before: Run, after: Run) -> str:
    if before.state == RunState.RUN_STATE_FINISHED:
        return f"had finished already ({word(Outcome, before.outcome)}); nothing changed"
    if after.state == RunState.RUN_STATE_FINISHED:
        return f"{word(RunState, before.state)} -> {word(RunState, after.state)} ({word(Outcome, after.outcome)})"
    return f"{word(RunState, before.state)}; its hosts are told to stop"


@command(
    "retry",
    examples=(
        ("tbctl run retry 42", "ask for the same measurement again"),
        ("tbctl run retry 42 --wait --fail-on major", "and wait for its verdict"),
    ),
)
@click.argument("run", type=RUN)
@click.option("--idempotency-key", metavar="TEXT", help="The same key within a day gives the same run again.")
@click.option("--wait/--no-wait", default=None, help="Wait for the verdict (TBCTL_WAIT). Default: no.")
@policy_options
@follow_options
def retry_command(context: CommandContext, run: str, **values: Any) -> Ending | None:
    """Ask for the same measurement again, as a new run."""
    typed = Texts(values=values)
    request = RetryRunRequest(name=run, request_id=typed.text("idempotency_key") or f"tbctl-{uuid.uuid4()}")
    new = context.collector.call(context.collector.stubs.runs.RetryRun, request)
    context.printer.hint(f"run {short_id(new.name)} repeats run {short_id(run)}")
    wait = context.settings.wait if typed.get("wait") is None else typed.flag("wait")
    if not wait:
        context.printer.message("Run", new, run_columns(datetime.now(UTC)))
        return None
    return follow_and_report(context, new, typed, policy_of(typed, context.settings, default="none"))
