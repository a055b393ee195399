"""`tbctl result list|samples`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from tesserabench.cli.commands.run import get_run
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import EmptyResult, StillPending
from tesserabench.cli.grammar import command
from tesserabench.cli.options import PATTERN, RUN
from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import word
from tesserabench.cli.pages import all_results
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.results import result_columns, rows_of, trouble_lines
from tesserabench.report.quantity import quantity
from tesserabench.v1.result_service_pb2 import Result
from tesserabench.v1.run_pb2 import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """One sample of one metric of one case in one trial."""

    case: str
    host: str
    trial: int
    metric: str
    unit: str
    index: int
    value: float
    sm_clock_mhz: float | None = None
    offset_us: float | None = None
    block: int | None = None
    flags: int | None = None


SAMPLE_COLUMNS: Sequence[Column[SampleRow]] = (
    Column(title="CASE", value=lambda row: row.case, shrink=True),
    Column(title="HOST", value=lambda row: row.host),
    Column(title="TRIAL", value=lambda row: row.trial, right=True),
    Column(title="METRIC", value=lambda row: row.metric),
    Column(title="INDEX", value=lambda row: row.index, right=True),
    Column(title="VALUE", value=lambda row: row.value, text=lambda row: quantity(row.value, row.unit), right=True),
    Column(title="UNIT", value=lambda row: row.unit, wide=True),
    Column(title="CLOCK", field="sm_clock_mhz", value=lambda row: row.sm_clock_mhz, wide=True, right=True),
    Column(title="OFFSET", field="offset_us", value=lambda row: row.offset_us, wide=True, right=True),
    Column(title="BLOCK", value=lambda row: row.block, wide=True, right=True),
    Column(title="FLAGS", value=lambda row: row.flags, wide=True, right=True),
)

_case_option = click.option(
    "--case", "pattern", default="", type=PATTERN, metavar="REGEX", help="Only cases that match."
)
_empty_option = click.option("--allow-empty", is_flag=True, help="No result is no error.")


@command(
    "list",
    examples=(
        ("tbctl result list 42", "the table of run 42"),
        ("tbctl result list 42 --case 'gemm/.*' --per-trial -o wide", "every trial of some cases, nothing cut"),
    ),
)
@click.argument("run", type=RUN)
@_case_option
@click.option("--per-trial", is_flag=True, help="A row for every trial instead of one for all of them.")
@_empty_option
def list_command(context: CommandContext, run: str, pattern: str, **values: Any) -> None:
    """Show what a run measured: the median over its trials, and the span of their 95 % intervals."""
    results = all_results(context.collector, run, case_pattern=pattern)
    if not results and not values["allow_empty"]:
        raise _nothing(context, run, pattern)
    rows = rows_of(results, per_trial=values["per_trial"])
    printer = context.printer
    if printer.output in {"json", "yaml"}:
        printer.message_list("Result", results, (), nothing="no results")
        return
    printer.items("Result", rows, result_columns(rows), body=lambda _: {}, nothing="no results")
    if printer.for_people:
        for line in trouble_lines(rows):
            printer.write(line)


@command(
    "samples",
    examples=(
        ("tbctl result samples 42 --case 'gemm/.*' -o csv > samples.csv", "one sample a line, plain numbers"),
        ("tbctl result samples 42 -o json", "in columns, as they are stored"),
    ),
)
@click.argument("run", type=RUN)
@_case_option
@_empty_option
def samples_command(context: CommandContext, run: str, pattern: str, **values: Any) -> None:
    """Show the raw samples of a run."""
    results = all_results(context.collector, run, case_pattern=pattern, with_samples=True)
    rows = [row for result in results for row in _samples(result)]
    if not rows and not values["allow_empty"]:
        raise _nothing(context, run, pattern)
    if context.printer.output in {"json", "yaml"}:
        context.printer.message_list("Result", results, (), nothing="no samples")
        return
    context.printer.items("Sample", rows, SAMPLE_COLUMNS, body=lambda _: {}, nothing="no samples")


def _samples(result: Result) -> Iterator[SampleRow]:
    for measurement in result.result.measurements:
        samples = measurement.samples
        for index, value in enumerate(samples.values):
            yield SampleRow(
                case=result.result.case.id,
                host=result.host,
                trial=result.trial,
                metric=measurement.metric,
                unit=measurement.unit,
                index=index,
                value=value,
                sm_clock_mhz=_at(samples.sm_clock_mhz, index),
                offset_us=_at(samples.offset_us, index),
                block=_at(samples.block, index),
                flags=_at(samples.flags, index),
            )


def _at(column: Sequence[Any], index: int) -> Any:
    return column[index] if index < len(column) else None


def _nothing(context: CommandContext, run: str, pattern: str) -> Exception:
    number, state = short_id(run), get_run(context.collector, run).state
    if state != RunState.RUN_STATE_FINISHED:
        return StillPending(f"run {number} has no results yet; it is {word(RunState, state)}: tbctl run watch {number}")
    which = f" for cases that match {pattern!r}" if pattern else ""
    return EmptyResult(f"run {number} has no results{which}; check the pattern, or pass --allow-empty")
