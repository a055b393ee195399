"""`tbctl schedule create|list|pause|resume|delete`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from tesserabench.cli.ci import BuildFacts
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.grammar import command
from tesserabench.cli.options import DURATION, Texts, judging_options, page_options, revision_options, spec_options
from tesserabench.cli.output.words import ago, moment
from tesserabench.cli.pages import read_pages
from tesserabench.cli.run_request import duration_message, gate_spec, labels_of, refuse_two_aims, revision, run_spec
from tesserabench.cli.views.keeping import id_of, schedule_columns
from tesserabench.report.quantity import duration
from tesserabench.v1.schedule_service_pb2 import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    ListSchedulesRequest,
    PauseScheduleRequest,
    ResumeScheduleRequest,
    Schedule,
)
from tesserabench.wire.names import SCHEDULE_PATTERN, schedule_name

_SHORTEST_SECONDS = 60.0


@command(
    "create",
    examples=(
        ("tbctl schedule create nightly --every 24h --suite core --tier nightly", "once a day"),
        (
            "tbctl schedule create release --every 6h --suite gemm --confirm 2 --budget 30m",
            "and measure again what cannot be told",
        ),
        (
            "tbctl schedule create aa --every 24h --suite core --aa",
            "how often the gate calls identical code different",
        ),
        ("tbctl schedule create canary --every 15m --suite gemm -l gpu=h100 --branch main", "a quick look, often"),
    ),
)
@click.argument("name")
@click.option("--every", type=DURATION, required=True, metavar="DURATION", help="Time between two runs, at least 1m.")
@click.option("--aa", is_flag=True, help="Measure the same code twice each time, to count false alarms.")
@click.option("--paused", is_flag=True, help="Create nothing until it is resumed.")
@spec_options
@revision_options
@judging_options
def create_command(context: CommandContext, name: str, every: float, **values: Any) -> None:
    """Ask for a run at an interval."""
    typed = Texts(values=values)
    if every < _SHORTEST_SECONDS:
        raise UsageProblem(f"--every {duration(every)} is too often; give at least 1m")
    refuse_two_aims(typed)
    # What is built now says nothing about what a schedule will measure, so that CI and git are not asked.
    code = revision(typed, build=BuildFacts(), checkout=BuildFacts(), default_base=context.settings.base)
    schedule = Schedule(
        name=_full(context, name),
        spec=run_spec(typed, default_suite=context.settings.suite),
        revision=code,
        gate=gate_spec(typed),
        interval=duration_message(every),
        paused=typed.flag("paused"),
        identical=typed.flag("aa"),
        labels=labels_of(typed),
    )
    # Creating twice is refused by name, so that a repeat could report a failure that is none.
    stubs = context.collector.stubs.schedules
    made = context.collector.call(stubs.CreateSchedule, CreateScheduleRequest(schedule=schedule), repeatable=False)
    _changed(context, made, f"created, every {duration(every)}{_next(made)}")


@command("list", examples=(("tbctl schedule list", "when they run next"),))
@page_options
def list_command(context: CommandContext, **values: Any) -> None:
    """List the schedules of a project."""
    typed, collector = Texts(values=values), context.collector

    def fetch(size: int, token: str) -> tuple[Sequence[Schedule], str]:
        request = ListSchedulesRequest(project=context.settings.project, page_size=size, page_token=token)
        answer = collector.call(collector.stubs.schedules.ListSchedules, request)
        return answer.schedules, answer.next_page_token

    listing = read_pages(fetch, limit=None if typed.flag("everything") else typed.get("limit"))
    context.printer.message_list("Schedule", listing.items, schedule_columns(datetime.now(UTC)), nothing="no schedules")
    if listing.more:
        context.printer.hint("there are more: --limit N or --all")


@command("pause", examples=(("tbctl schedule pause nightly", "until it is resumed"),))
@click.argument("name")
def pause_command(context: CommandContext, name: str) -> None:
    """Stop a schedule until it is resumed."""
    request = PauseScheduleRequest(name=_full(context, name))
    after = context.collector.call(context.collector.stubs.schedules.PauseSchedule, request)
    _changed(context, after, "paused")


@command("resume", examples=(("tbctl schedule resume nightly", "from now on"),))
@click.argument("name")
def resume_command(context: CommandContext, name: str) -> None:
    """Let a paused schedule go on from now."""
    request = ResumeScheduleRequest(name=_full(context, name))
    after = context.collector.call(context.collector.stubs.schedules.ResumeSchedule, request)
    _changed(context, after, f"goes on{_next(after)}")


@command("delete", examples=(("tbctl schedule delete nightly", "its runs stay"),))
@click.argument("name")
def delete_command(context: CommandContext, name: str) -> None:
    """Remove a schedule; its runs stay."""
    full = _full(context, name)
    stubs = context.collector.stubs.schedules
    context.collector.call(stubs.DeleteSchedule, DeleteScheduleRequest(name=full), repeatable=False)
    gone = Schedule(name=full)
    context.printer.thing(
        "DeletedSchedule",
        gone,
        schedule_columns(datetime.now(UTC)),
        body=lambda item: {"name": item.name},
        text=f"schedule {id_of(full)}: deleted; its runs stay",
    )


def _full(context: CommandContext, name: str) -> str:
    if name.startswith("projects/"):
        return name
    if not SCHEDULE_PATTERN.fullmatch(name):
        raise UsageProblem(f"{name!r} is no schedule; write 1 to 63 of a-z 0-9 _ -, starting with a letter or digit")
    return schedule_name(context.settings.project, name)


def _next(schedule: Schedule) -> str:
    due = moment(schedule, "next_time")
    return f", next {ago(due, now=datetime.now(UTC))}" if due and not schedule.paused else ""


def _changed(context: CommandContext, schedule: Schedule, what: str) -> None:
    text = f"schedule {id_of(schedule.name)}: {what}"
    context.printer.message("Schedule", schedule, schedule_columns(datetime.now(UTC)), text=text)
