"""`tbctl node list|describe|cordon|uncordon`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.grammar import command
from tesserabench.cli.options import Texts, page_options
from tesserabench.cli.output.words import number_of, words_of
from tesserabench.cli.pages import read_pages
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.fleet import host_columns, host_details
from tesserabench.v1.host_pb2 import Host, HostState
from tesserabench.v1.host_service_pb2 import (
    CordonHostRequest,
    GetHostRequest,
    ListHostsRequest,
    UncordonHostRequest,
)
from tesserabench.wire.names import HOST_PATTERN, host_name


@command(
    "list",
    examples=(
        ("tbctl node list", "every host"),
        ("tbctl node list -l 'gpu=h100,driver>=570' --state ready", "those that could take such a run now"),
    ),
)
@click.option(
    "-l",
    "--selector",
    "selectors",
    multiple=True,
    metavar="CONDITIONS",
    help="Only hosts that match: gpu=h100,driver>=570.",
)
@click.option("--state", type=click.Choice(words_of(HostState)), help="Only this state.")
@page_options
def list_command(context: CommandContext, **values: Any) -> None:
    """List hosts by name."""
    typed, collector = Texts(values=values), context.collector
    conditions = [part.strip() for text in typed.many("selectors") for part in text.split(",") if part.strip()]

    def fetch(size: int, token: str) -> tuple[Sequence[Host], str]:
        request = ListHostsRequest(conditions=conditions, page_size=size, page_token=token)
        if typed.text("state"):
            request.state = HostState.ValueType(number_of(HostState, typed.text("state")))
        answer = collector.call(collector.stubs.hosts.ListHosts, request)
        return answer.hosts, answer.next_page_token

    listing = read_pages(fetch, limit=None if typed.flag("everything") else typed.get("limit"))
    context.printer.message_list("Host", listing.items, host_columns(datetime.now(UTC)), nothing="no hosts")
    if listing.more:
        context.printer.hint("there are more: --limit N or --all")


@command("describe", examples=(("tbctl node describe gpu-07", "its devices, suites, clock and state"),))
@click.argument("host")
def describe_command(context: CommandContext, host: str) -> None:
    """Show one host."""
    found, now = _get(context, host), datetime.now(UTC)
    context.printer.message("Host", found, host_columns(now), text=context.printer.details(host_details(found, now)))


@command("cordon", examples=(("tbctl node cordon gpu-07 --reason 'fan replaced on Friday'", "give it no more work"),))
@click.argument("host")
@click.option("--reason", required=True, metavar="TEXT", help="Why; required.")
def cordon_command(context: CommandContext, host: str, reason: str) -> None:
    """Keep a host out of use; what it runs goes on."""
    before = _get(context, host)
    request = CordonHostRequest(name=_full(host), reason=reason)
    after = context.collector.call(context.collector.stubs.hosts.CordonHost, request)
    _changed(context, before, after)


@command("uncordon", examples=(("tbctl node uncordon gpu-07", "give it work again"),))
@click.argument("host")
def uncordon_command(context: CommandContext, host: str) -> None:
    """Put a host back into use."""
    before = _get(context, host)
    after = context.collector.call(context.collector.stubs.hosts.UncordonHost, UncordonHostRequest(name=_full(host)))
    _changed(context, before, after)


def _get(context: CommandContext, host: str) -> Host:
    return context.collector.call(context.collector.stubs.hosts.GetHost, GetHostRequest(name=_full(host)))


def _full(host: str) -> str:
    bare = host.removeprefix("hosts/")
    if not HOST_PATTERN.fullmatch(bare):
        raise UsageProblem(f"{host!r} is no host; write 1 to 63 of a-z 0-9 . _ - (tbctl node list shows them)")
    return host_name(bare)


def _changed(context: CommandContext, before: Host, after: Host) -> None:
    was, now = ("cordoned" if host.cordoned else "in use" for host in (before, after))
    what = f"{was} -> {now}" if was != now else f"stays {now}"
    reason = f" ({after.cordon_reason})" if after.cordoned and after.cordon_reason else ""
    running = f"; it still runs {after.current_attempt}" if after.cordoned and after.current_attempt else ""
    text = f"host {short_id(after.name)}: {what}{reason}{running}"
    context.printer.message("Host", after, host_columns(datetime.now(UTC)), text=text)
