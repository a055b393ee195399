"""`tbctl bench list`: what can be measured on this machine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from tesserabench.cli.bench_library import find_suite, guarded, load_library
from tesserabench.cli.context import CommandContext
from tesserabench.cli.grammar import command
from tesserabench.cli.output.table import Column
from tesserabench.cli.suite_names import complete_suites


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """A benchmark that can be measured here; `origin` is `installed` or the name of its bundle."""

    suite: str
    benchmark: str
    summary: str
    devices: tuple[str, ...]
    parameters: dict[str, list[str]]
    origin: str

    def body(self) -> dict[str, Any]:
        """The row as plain values."""
        return {
            "suite": self.suite,
            "benchmark": self.benchmark,
            "summary": self.summary,
            "devices": list(self.devices),
            "parameters": self.parameters,
            "origin": self.origin,
        }


COLUMNS: Sequence[Column[BenchmarkRow]] = (
    Column(title="SUITE", value=lambda row: row.suite),
    Column(title="BENCHMARK", value=lambda row: row.benchmark),
    Column(title="DEVICES", value=lambda row: " ".join(row.devices)),
    Column(
        title="PARAMETERS",
        value=lambda row: " ".join(f"{name}={'|'.join(values)}" for name, values in row.parameters.items()),
        wide=True,
    ),
    Column(title="ORIGIN", value=lambda row: row.origin, wide=True),
    Column(title="SUMMARY", value=lambda row: row.summary, shrink=True),
)


@command(
    "list",
    examples=(
        ("tbctl bench list", "what can be measured here"),
        ("tbctl bench list -o wide", "with the values of the parameters"),
        ("tbctl bench list ./kernels", "what a bundle of your own holds"),
    ),
)
@click.argument("suite", required=False, shell_complete=complete_suites)
def list_command(context: CommandContext, suite: str | None) -> None:
    """List the suites and benchmarks that are installed here, or those of SUITE: a name, or a bundle's folder."""
    library = load_library()
    rows = guarded(library, lambda: list(_rows(library, suite)))
    context.printer.items("Benchmark", rows, COLUMNS, body=BenchmarkRow.body, nothing="no benchmarks are installed")


def _rows(library: Any, spec: str | None) -> Iterator[BenchmarkRow]:
    if spec is None:
        suites, origin = library.suites(), "installed"
    else:
        found = find_suite(library, spec)
        origin = "installed" if found.bundle is None else found.bundle.name
        whole = found.bundle is not None and found.name == found.bundle.name
        suites = found.registry.suites() if whole else (found.registry.find_suite(found.name),)
    for suite in suites:
        for benchmark in suite.benchmarks:
            yield BenchmarkRow(
                suite=suite.name,
                benchmark=benchmark.name,
                summary=benchmark.summary,
                devices=tuple(str(device.value) for device in benchmark.devices),
                parameters={name: [str(value) for value in values] for name, values in benchmark.domain.items()},
                origin=origin,
            )
