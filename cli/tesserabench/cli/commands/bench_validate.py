"""`tbctl bench validate`: whether a bundle is sound, without a GPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from tesserabench.cli.bench_library import load_library
from tesserabench.cli.context import CommandContext
from tesserabench.cli.exit_codes import DONE, Ending, ExitCode
from tesserabench.cli.grammar import command
from tesserabench.cli.interruption import terminated_like_interrupted
from tesserabench.cli.options import DURATION
from tesserabench.cli.output.table import Column
from tesserabench.cli.suite_names import complete_suites

_STYLES = {"passed": "good", "failed": "bad", "skipped": "dim"}

COLUMNS: Sequence[Column[Any]] = (
    Column(title="CHECK", value=lambda check: check.subject),
    Column(title="STATUS", value=lambda check: str(check.status), style=lambda check: _STYLES[str(check.status)]),
    Column(title="FINDING", value=lambda check: check.message, shrink=True),
)


@command(
    "validate",
    examples=(
        ("tbctl bench validate ./kernels", "axes, formulas, references, kernels; and what can run on the CPU"),
        ("tbctl bench validate ./kernels --device cpu --device cuda", "and every result on the GPU"),
        ("tbctl bench validate ./kernels --architecture 90a -o json", "for one architecture, for a program"),
    ),
)
@click.argument("directory", type=click.Path(path_type=Path), shell_complete=complete_suites)
@click.option(
    "--device", "devices", multiple=True, metavar="KIND", help="Where to check results: cpu (default), cuda, cuda:1."
)
@click.option(
    "--architecture",
    "architectures",
    multiple=True,
    metavar="NN",
    help="Compile for these instead of 80, 90, 100 and 120.",
)
@click.option("--limit", type=DURATION, default="2m", show_default=True, metavar="DURATION", help="Longest time.")
def validate_command(
    context: CommandContext, directory: Path, devices: tuple[str, ...], architectures: tuple[str, ...], limit: float
) -> Ending:
    """Check the bundle in DIRECTORY: its manifest, modules, axes, formulas, references, kernels and results.

    The bundle runs in a process of its own. No GPU is needed: kernels are compiled with NVRTC where that is installed.
    """
    load_library()
    from tesserabench.bench.bundle.compiling import ARCHITECTURES  # noqa: PLC0415 - with the library
    from tesserabench.bench.bundle.supervising import validate  # noqa: PLC0415 - likewise

    with terminated_like_interrupted():
        found = validate(
            directory,
            devices=devices or ("cpu",),
            architectures=architectures or ARCHITECTURES,
            limit_seconds=limit,
            tell=lambda check: context.printer.hint(f"{check.status} {check.subject}") if _slow(check) else None,
        )
    printer = context.printer
    failed = [check for check in found.checks if str(check.status) == "failed"]
    if printer.for_people:
        lines = [printer.table(COLUMNS, found.checks)]
        # A table shortens what is long; an error must be read whole.
        lines += [f"  failed  {check.subject}: {check.message}" for check in failed]
        printer.write("\n".join(lines))
    elif printer.output == "csv":
        printer.items("Check", found.checks, COLUMNS, body=lambda check: check.to_dict(), nothing="")
    else:
        printer.thing("Validation", found, (), body=lambda item: item.to_dict())
    if not failed:
        return DONE
    sentence = f"{len(failed)} of {len(found.checks)} checks failed; the first: {failed[0].subject}"
    return Ending(code=ExitCode.BENCHMARK_FAILED, sentence=sentence)


def _slow(check: Any) -> bool:
    """Whether a check takes long enough for people to wait for it."""
    return " on " in check.subject
