"""`tbctl suite list|describe`."""

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.grammar import command
from tesserabench.cli.views.fleet import suite_columns, suite_text
from tesserabench.v1.host_service_pb2 import GetSuiteRequest, ListSuitesRequest
from tesserabench.wire.names import SUITE_PATTERN, suite_name


@command("list", examples=(("tbctl suite list", "what can be measured, and by how many hosts"),))
def list_command(context: CommandContext) -> None:
    """List the suites that the fleet can run."""
    answer = context.collector.call(context.collector.stubs.hosts.ListSuites, ListSuitesRequest())
    nothing = "no suites: no host has registered yet (tbctl node list)"
    context.printer.message_list("Suite", list(answer.suites), suite_columns(), nothing=nothing)


@command("describe", examples=(("tbctl suite describe gemm", "its benchmarks and their parameters"),))
@click.argument("suite")
def describe_command(context: CommandContext, suite: str) -> None:
    """Show one suite: its benchmarks, their parameters and values."""
    bare = suite.removeprefix("suites/")
    if not SUITE_PATTERN.fullmatch(bare):
        raise UsageProblem(f"{suite!r} is no suite; tbctl suite list shows them")
    request = GetSuiteRequest(name=suite_name(bare))
    found = context.collector.call(context.collector.stubs.hosts.GetSuite, request)
    context.printer.message("Suite", found, suite_columns(), text=suite_text(found))
