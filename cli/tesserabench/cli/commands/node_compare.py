"""`tbctl node compare|noise`: the slow card among its siblings, and where noise comes from."""

from datetime import UTC, datetime
from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.grammar import command
from tesserabench.cli.options import Texts
from tesserabench.cli.parsing import short_id
from tesserabench.cli.suite_names import complete_suites
from tesserabench.cli.views.siblings import (
    LEGEND,
    advice,
    comparison_columns,
    device_rows,
    grid_columns,
    noise_columns,
)
from tesserabench.v1.host_service_pb2 import CompareDevicesRequest, DeviceStanding, RankNoiseRequest
from tesserabench.wire.names import host_name

_SUITE = click.option("--suite", metavar="SUITE", help="Only by results of this suite.", shell_complete=complete_suites)


@command(
    "compare",
    examples=(
        ("tbctl node compare", "every device against others of its model"),
        ("tbctl node compare --model 'NVIDIA H100 80GB HBM3' --suite gemm", "one model, by one suite"),
        ("tbctl node compare --slow -o csv", "only those that are slow, for a spreadsheet"),
    ),
)
@click.option("--model", metavar="MODEL", help="Only devices of this model, as tbctl node describe shows it.")
@_SUITE
@click.option("--slow", is_flag=True, help="Only devices that are slow or drift.")
def compare_command(context: CommandContext, **values: Any) -> None:
    """Compare devices with others of their model, by what runs of the last 14 days measured anyway."""
    typed, collector = Texts(values=values), context.collector
    request = CompareDevicesRequest(model=typed.text("model"), suite=typed.text("suite"))
    found = list(collector.call(collector.stubs.hosts.CompareDevices, request).comparisons)
    nothing = "no devices that can be compared: two of a model must have measured the same suite"
    if typed.flag("slow"):
        if found:
            nothing = "no device is slow or drifts"
        wanted = {one.device for one in found if one.drifting or one.standing == DeviceStanding.DEVICE_STANDING_SLOW}
        found = [one for one in found if one.device in wanted]
    if not context.printer.for_people or not found:
        context.printer.message_list("DeviceComparison", found, comparison_columns(), nothing=nothing)
        return
    rows = device_rows(found)
    context.printer.write(context.printer.table(grid_columns(rows, datetime.now(UTC)), rows))
    context.printer.hint(LEGEND)
    for name in sorted({one.regression for one in found if one.regression}):
        context.printer.hint(f"tbctl regression get {short_id(name)}")


@command(
    "noise",
    examples=(
        ("tbctl node noise", "the noisiest series of the project"),
        ("tbctl node noise --host gpu-07 --limit 10", "the ten noisiest on one host"),
    ),
)
@click.option("--host", metavar="HOST", help="Only what this host measured.")
@_SUITE
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
def noise_command(context: CommandContext, **values: Any) -> None:
    """Say which series are noisy, what makes them so, what change would be seen, and what they cost."""
    typed, collector = Texts(values=values), context.collector
    host = typed.text("host").removeprefix("hosts/")
    request = RankNoiseRequest(
        project=context.settings.project,
        suite=typed.text("suite"),
        host=host_name(host) if host else "",
        limit=typed.get("limit"),
    )
    found = list(collector.call(collector.stubs.hosts.RankNoise, request).entries)
    nothing = "no series that was measured in two runs of the last 30 days"
    context.printer.message_list("NoiseEntry", found, noise_columns(), nothing=nothing)
    if found and context.printer.for_people:
        context.printer.hint(advice(found[0]))
