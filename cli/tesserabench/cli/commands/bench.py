"""`tbctl bench list|run`: measuring on this machine, without a collector."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import CliError, EmptyResult, UsageProblem
from tesserabench.cli.exit_codes import Ending, ExitCode
from tesserabench.cli.grammar import command
from tesserabench.cli.judgement import Facts, Policy, ending
from tesserabench.cli.options import PATTERN, TIERS, Texts
from tesserabench.cli.output.structured import as_json, document
from tesserabench.cli.output.table import Column
from tesserabench.cli.parsing import parse_pair
from tesserabench.cli.run_request import drill_factors
from tesserabench.cli.views.local import rows_of_trial
from tesserabench.cli.views.results import result_columns, trouble_lines
from tesserabench.report.quantity import duration

_MODES = ("cold", "hot", "rotating", "sustained", "host")
_PROGRESS_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """A benchmark that is installed here."""

    suite: str
    benchmark: str
    summary: str
    devices: tuple[str, ...]
    parameters: dict[str, list[str]]

    def body(self) -> dict[str, Any]:
        """The row as plain values."""
        return {
            "suite": self.suite,
            "benchmark": self.benchmark,
            "summary": self.summary,
            "devices": list(self.devices),
            "parameters": self.parameters,
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
    Column(title="SUMMARY", value=lambda row: row.summary, shrink=True),
)


def load_library() -> ModuleType:
    """The measuring library, imported now.

    Raises:
        CliError: it, or NumPy, is not installed.
    """
    try:
        import numpy  # noqa: F401, ICN001, PLC0415 - only to learn whether it is there
        from tesserabench import bench  # noqa: PLC0415 - slow to import
    except ImportError as error:
        missing = error.name or "a package"
        raise CliError(f"measuring here needs {missing}; install it with: pip install 'tesserabench[agent]'") from error
    return bench


def guarded(library: Any, call: Callable[[], Any]) -> Any:
    """What `call` gives, with the errors of the library as errors of tbctl.

    Raises:
        UsageProblem: the request cannot be met.
        CliError: the device cannot be opened here.
    """
    try:
        return call()
    except library.DeviceUnavailable as error:
        raise CliError(str(error)) from error
    except library.BenchError as error:
        raise UsageProblem(str(error)) from error


@command(
    "list",
    examples=(
        ("tbctl bench list", "what can be measured here"),
        ("tbctl bench list -o wide", "with the values of the parameters"),
    ),
)
def list_command(context: CommandContext) -> None:
    """List the suites and benchmarks that are installed here."""
    library = load_library()
    rows = [
        BenchmarkRow(
            suite=suite.name,
            benchmark=benchmark.name,
            summary=benchmark.summary,
            devices=tuple(str(device.value) for device in benchmark.devices),
            parameters={name: [str(value) for value in values] for name, values in benchmark.domain.items()},
        )
        for suite in guarded(library, library.suites)
        for benchmark in suite.benchmarks
    ]
    context.printer.items("Benchmark", rows, COLUMNS, body=BenchmarkRow.body, nothing="no benchmarks are installed")


@command(
    "run",
    examples=(
        ("tbctl bench run gemm --device cpu", "matrix products on the CPU, in seconds"),
        ("tbctl bench run memory --device cuda:1 --tier full --mode cold --out memory.json", "and keep every sample"),
        ("tbctl bench run gemm --device cpu --set matmul.m=256 --drill matmul=1.2 -o json", "with a planted slow-down"),
    ),
)
@click.argument("suite")
@click.option(
    "--device", default="cpu", show_default=True, metavar="KIND", help="cpu, cuda, cuda:1 or simulated[:SCENARIO]."
)
@click.option("--tier", type=click.Choice(TIERS), default="smoke", show_default=True, help="How much of the suite.")
@click.option("--mode", type=click.Choice(_MODES), help="Timing mode; without it, each benchmark's own.")
@click.option("--set", "overrides", multiple=True, metavar="BENCH.PARAM=VALUE", help="Another value of a parameter.")
@click.option("--benchmark", "include", multiple=True, type=PATTERN, metavar="REGEX", help="Only cases that match.")
@click.option("--skip", "exclude", multiple=True, type=PATTERN, metavar="REGEX", help="No cases that match.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of inputs and order.",
)
@click.option("--threads", type=click.IntRange(1, 4096), metavar="N", help="Threads of the CPU device.")
@click.option("--drill", "drills", multiple=True, metavar="BENCH=FACTOR", help="Plant a slow-down.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write the raw result there as JSON too.",
)
@click.option("--fail-on-error/--no-fail-on-error", default=True, help="End with 12 or 14 when cases fail. Default.")
def run_command(context: CommandContext, suite: str, **values: Any) -> Ending:
    """Measure a suite on this machine, without a collector."""
    typed, library = Texts(values=values), load_library()
    observer = _Progress(suite=suite, quiet=context.quiet)
    result = guarded(library, lambda: _measure(library, suite, typed, observer))
    observer.finish()
    if typed.text("out"):
        _write(typed.text("out"), result)
    _show(context, result)
    if not result.measurements and result.outcome == library.Outcome.OK:
        raise EmptyResult(f"suite {suite!r} gave no result at all")
    return _ending(result, fail_on_error=typed.flag("fail_on_error"))


def _measure(library: Any, suite: str, typed: Texts, observer: "_Progress") -> Any:
    from dataclasses import replace  # noqa: PLC0415 - for this call alone

    drill = dict(drill_factors(typed.many("drills")))
    options = replace(library.MeasureOptions.for_tier(typed.text("tier")), drill=drill)
    return library.run_locally(
        suite,
        device=typed.text("device"),
        tier=typed.text("tier"),
        mode=typed.get("mode"),
        seed=typed.get("seed"),
        overrides=dict(parse_pair(text, form="--set BENCH.PARAM=VALUE") for text in typed.many("overrides")),
        include=_joined(typed.many("include")),
        exclude=_joined(typed.many("exclude")),
        options=options,
        observer=observer,
        threads=typed.get("threads"),
    )


def _joined(patterns: tuple[str, ...]) -> str | None:
    """One pattern that matches what any of them matches."""
    return "|".join(f"(?:{pattern})" for pattern in patterns) or None


def _show(context: CommandContext, result: Any) -> None:
    rows = rows_of_trial(result)
    printer = context.printer
    if printer.output == "csv":
        printer.items("Measurement", rows, result_columns(rows), body=lambda _: {}, nothing="no results")
        return
    took = f"{result.outcome} in {duration(result.duration_seconds)}"
    lines = [printer.table(result_columns(rows), rows)] if rows else []
    lines += trouble_lines(rows)
    lines += [f"  not run: {case}" for case in result.not_run]
    lines.append(f"trial {took}{f': {result.reason}' if result.reason else ''}")
    printer.thing("TrialResult", result, (), body=lambda item: item.to_dict(), text="\n".join(lines))


def _write(path: str, result: Any) -> None:
    try:
        Path(path).write_text(as_json(document("TrialResult", result.to_dict())) + "\n", encoding="utf-8")
    except OSError as error:
        raise CliError(f"--out {path}: cannot be written ({error.strerror}); check the folder") from error


def _ending(result: Any, *, fail_on_error: bool) -> Ending:
    failures: dict[str, int] = {}
    for measurement in result.measurements:
        outcome = str(measurement.outcome)
        if outcome not in {"ok", "unsupported"}:
            failures[outcome] = failures.get(outcome, 0) + 1
    facts = Facts(outcome=str(result.outcome), reason=result.reason, failures=failures, gated=False)
    found = ending(facts, Policy(fail_on_error=fail_on_error))
    # Cancelling a local trial is what Ctrl-C does, and that is an interrupt.
    return Ending(code=ExitCode.INTERRUPTED, sentence="interrupted") if found.code is ExitCode.CANCELLED else found


class _Progress:
    """A line on stderr for what is being measured, rewritten on a terminal, now and then elsewhere."""

    def __init__(self, *, suite: str, quiet: bool) -> None:
        self._suite = suite
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._last = 0.0
        self._counts = (0, 0)

    def header(self, header: Any) -> None:
        """Where the trial runs."""
        self._tell(f"on {header.device.model}", now=True)

    def phase(self, case: Any, phase: Any, budget_seconds: float) -> None:
        """What it does now."""
        del budget_seconds
        self._tell(f"{case.id if case is not None else 'ceilings'} ({phase})")

    def measurement(self, measurement: Any) -> None:
        """A case is done; the table says the rest."""

    def progress(self, done: int, total: int) -> None:
        """How far it has come."""
        self._counts = (done, total)

    def finish(self) -> None:
        """Clear the line."""
        if self._live and not self._quiet:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _tell(self, text: str, *, now: bool = False) -> None:
        if self._quiet or not (self._live or now or time.monotonic() - self._last >= _PROGRESS_SECONDS):
            return
        self._last = time.monotonic()
        line = f"{self._suite} {self._counts[0]}/{self._counts[1]} {text}"
        sys.stderr.write(f"\r\x1b[K{line[:110]}" if self._live else f"{line}\n")
        sys.stderr.flush()
