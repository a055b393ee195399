"""`tbctl baseline list|set|show|pin|unpin`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import CallError, UsageProblem
from tesserabench.cli.grammar import command
from tesserabench.cli.options import RUN, Texts, page_options
from tesserabench.cli.output.words import iso, moment
from tesserabench.cli.pages import read_pages
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.keeping import baseline_columns, id_of
from tesserabench.v1.baseline_service_pb2 import (
    Baseline,
    GetBaselineRequest,
    ListBaselinesRequest,
    PinBaselineRequest,
    SetBaselineRequest,
    UnpinBaselineRequest,
)
from tesserabench.wire.names import BASELINE_PATTERN, baseline_name

_suite_option = click.option("--suite", default="", metavar="NAME", help="Suite, when the name holds for several.")


@command("list", examples=(("tbctl baseline list --suite gemm", "the baselines of a suite"),))
@click.option("--suite", default="", metavar="NAME", help="Only this suite.")
@page_options
def list_command(context: CommandContext, **values: Any) -> None:
    """List the baselines of a project."""
    typed, collector = Texts(values=values), context.collector

    def fetch(size: int, token: str) -> tuple[Sequence[Baseline], str]:
        request = ListBaselinesRequest(
            project=context.settings.project, suite=typed.text("suite"), page_size=size, page_token=token
        )
        answer = collector.call(collector.stubs.baselines.ListBaselines, request)
        return answer.baselines, answer.next_page_token

    listing = read_pages(fetch, limit=None if typed.flag("everything") else typed.get("limit"))
    context.printer.message_list("Baseline", listing.items, baseline_columns(datetime.now(UTC)), nothing="no baselines")
    if listing.more:
        context.printer.hint("there are more: --limit N or --all")


@command("show", examples=(("tbctl baseline show branch:main --suite gemm", "where the head of main points"),))
@click.argument("name")
@_suite_option
def show_command(context: CommandContext, name: str, suite: str) -> None:
    """Show one baseline."""
    found = _get(context, name, suite)
    pairs = [
        ("Baseline", id_of(found.name)),
        ("Suite", found.suite),
        ("Run", short_id(found.run)),
        ("Commit", found.revision.commit),
        ("Branch", found.revision.branch),
        ("Pinned", "yes" if found.pinned else "no"),
        ("Kept by", "collector" if found.automatic else "people"),
        (
            "Moved",
            " ".join(
                filter(
                    None,
                    (iso(moment(found, "update_time")), f"by {found.updated_by.name}" if found.updated_by.name else ""),
                )
            ),
        ),
        ("Comment", found.comment),
    ]
    text = context.printer.details([(label, value) for label, value in pairs if value])
    context.printer.message("Baseline", found, baseline_columns(datetime.now(UTC)), text=text)


@command(
    "set",
    examples=(
        ("tbctl baseline set v1.4 42 --comment 'release 1.4'", "let v1.4 mean run 42"),
        ("tbctl baseline set v1.4 42 --pin", "and protect it at once"),
    ),
)
@click.argument("name")
@click.argument("run", type=RUN)
@click.option("--comment", default="", metavar="TEXT", help="What to remember.")
@click.option("--pin", is_flag=True, help="Protect it from being moved.")
def set_command(context: CommandContext, name: str, run: str, **values: Any) -> None:
    """Let a name point to a run. A pinned baseline must be unpinned first."""
    collector = context.collector
    request = SetBaselineRequest(name=_full(context, name), run=run, **values)
    try:
        before = short_id(_get(context, name, "").run)
    except CallError as error:
        # A name that is new, or that holds for several suites, has no single place that it pointed to.
        if error.status not in {"NOT_FOUND", "FAILED_PRECONDITION", "INVALID_ARGUMENT"}:
            raise
        before = ""
    after = collector.call(collector.stubs.baselines.SetBaseline, request)
    was = f"run {before} -> " if before and before != short_id(after.run) else ""
    pinned = ", pinned" if after.pinned else ""
    _changed(context, after, f"{was}run {short_id(after.run)}{pinned}")


@command("pin", examples=(("tbctl baseline pin v1.4 --comment 'customers compare with it'", "protect it"),))
@click.argument("name")
@_suite_option
@click.option("--comment", default="", metavar="TEXT", help="Why.")
def pin_command(context: CommandContext, name: str, suite: str, comment: str) -> None:
    """Protect a baseline from being moved, by people and by the collector."""
    request = PinBaselineRequest(name=_full(context, name), suite=suite, comment=comment)
    after = context.collector.call(context.collector.stubs.baselines.PinBaseline, request)
    _changed(context, after, f"pinned at run {short_id(after.run)}")


@command("unpin", examples=(("tbctl baseline unpin v1.4", "let it move again"),))
@click.argument("name")
@_suite_option
def unpin_command(context: CommandContext, name: str, suite: str) -> None:
    """Let a baseline move again."""
    request = UnpinBaselineRequest(name=_full(context, name), suite=suite)
    after = context.collector.call(context.collector.stubs.baselines.UnpinBaseline, request)
    _changed(context, after, f"no longer pinned; at run {short_id(after.run)}")


def _get(context: CommandContext, name: str, suite: str) -> Baseline:
    request = GetBaselineRequest(name=_full(context, name), suite=suite)
    return context.collector.call(context.collector.stubs.baselines.GetBaseline, request)


def _full(context: CommandContext, name: str) -> str:
    bare = name.removeprefix("baseline:")
    if bare.startswith("projects/"):
        return bare
    if not BASELINE_PATTERN.fullmatch(bare):
        raise UsageProblem(
            f"{name!r} is no baseline; write a name such as v1.4, or branch:main for the head of a branch"
        )
    return baseline_name(context.settings.project, bare)


def _changed(context: CommandContext, after: Baseline, what: str) -> None:
    text = f"baseline {id_of(after.name)} ({after.suite}): {what}"
    context.printer.message("Baseline", after, baseline_columns(datetime.now(UTC)), text=text)
