"""`tbctl bench export`: a saved result for other tools."""

from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.destinations import require_writable
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.exporting import FORMATS, read_results, write_export
from tesserabench.cli.grammar import command


@command(
    "export",
    examples=(
        ("tbctl bench export memory.json --format nvbench --out nv.json", "for nvbench-compare-robust and its kin"),
        ("tbctl bench export memory.json --format google-benchmark --out gb.json", "for google-benchmark's compare.py"),
    ),
)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--format", "format_name", type=click.Choice(FORMATS), required=True, help="Whose format.")
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Write it there."
)
def export_command(context: CommandContext, file: str, format_name: str, out: str) -> None:
    """Convert FILE, which `tbctl bench run --out` wrote, for other tools.

    nvbench: every sample, in files beside the document. google-benchmark: a repetition for each trial.
    """
    require_writable(out, option="--out")
    results = read_results(file)
    try:
        text = write_export(format_name, out, results)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageProblem(f"{file} lacks what a result has ({error!r}); was it written by another version?") from None

    def body(_: Any) -> dict[str, Any]:
        return {"file": out, "format": format_name, "trials": len(results)}

    context.printer.thing("Export", out, (), body=body, text=f"wrote {text}")
