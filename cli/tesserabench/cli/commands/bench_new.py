"""`tbctl bench new`: a bundle to begin with."""

import shlex
from pathlib import Path
from typing import Any

import click
from tesserabench.cli.bench_library import guarded, load_library
from tesserabench.cli.context import CommandContext
from tesserabench.cli.grammar import command

TEMPLATES = ("python", "cuda", "fusion")


@command(
    "new",
    examples=(
        ("tbctl bench new kernels", "a plain CUDA kernel with a reference, declared without any Python"),
        ("tbctl bench new softmax --template python", "a benchmark in Python, for the CPU and for CUDA devices"),
        ("tbctl bench new gelu --template fusion", "two forms of one computation side by side"),
    ),
)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--template", type=click.Choice(TEMPLATES), default="cuda", show_default=True, help="Example to begin with."
)
def new_command(context: CommandContext, directory: Path, template: str) -> None:
    """Write a working example of a bundle into DIRECTORY, which must be new or empty."""
    library = load_library()
    from tesserabench.bench.bundle.beginning import begin_bundle  # noqa: PLC0415 - with the library

    written = guarded(library, lambda: begin_bundle(directory, template))
    shown = f"./{directory}" if not directory.is_absolute() and not str(directory).startswith(".") else str(directory)
    body = {"directory": str(directory), "template": template, "files": [str(path) for path in written]}

    def plain(_: Any) -> dict[str, Any]:
        return body

    text = "\n".join(str(path) for path in written)
    context.printer.thing("NewBundle", body, (), body=plain, text=text)
    context.printer.hint(f"next: tbctl bench validate {shlex.quote(shown)}")
