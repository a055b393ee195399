"""`tbctl bench run`: measuring on this machine, without a collector."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from tesserabench.cli.bench_library import FoundSuite, find_suite, guarded, load_library
from tesserabench.cli.context import CommandContext
from tesserabench.cli.destinations import require_writable
from tesserabench.cli.errors import CliError, EmptyResult
from tesserabench.cli.exit_codes import Ending, ExitCode
from tesserabench.cli.exporting import parse_export, write_export
from tesserabench.cli.fresh_trials import measure_fresh
from tesserabench.cli.grammar import command
from tesserabench.cli.interruption import terminated_like_interrupted
from tesserabench.cli.judgement import Facts, Policy, ending
from tesserabench.cli.options import DURATION, PATTERN, TIERS, Texts, options
from tesserabench.cli.output.structured import as_json, document, list_document
from tesserabench.cli.output.table import clean
from tesserabench.cli.parsing import any_of, parse_pair
from tesserabench.cli.profiling import profiled, require_profilable
from tesserabench.cli.run_request import drill_factors
from tesserabench.cli.suite_names import complete_benchmarks, complete_suites
from tesserabench.cli.views.local import local_lines, rows_of_trials
from tesserabench.cli.views.results import result_columns, trouble_lines
from tesserabench.report.quantity import duration

_MODES = ("cold", "hot", "rotating", "sustained", "host")
_BACKENDS = ("graph", "blocked", "events", "host", "virtual")
_PROGRESS_SECONDS = 2.0

_selection = options(
    click.option(
        "--device", default="cpu", show_default=True, metavar="KIND", help="cpu, cuda, cuda:1 or simulated[:SCENARIO]."
    ),
    click.option("--tier", type=click.Choice(TIERS), help="How much of the suite. Default: the bundle's, else smoke."),
    click.option(
        "--set", "overrides", multiple=True, metavar="BENCH.PARAM=VALUE", help="Another value of a parameter."
    ),
    click.option(
        "--benchmark",
        "include",
        multiple=True,
        type=PATTERN,
        metavar="REGEX",
        help="Only cases that match.",
        shell_complete=complete_benchmarks,
    ),
    click.option("--skip", "exclude", multiple=True, type=PATTERN, metavar="REGEX", help="No cases that match."),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**63 - 1),
        default=0,
        show_default=True,
        metavar="N",
        help="Seed of inputs and order.",
    ),
    click.option("--threads", type=click.IntRange(1, 4096), metavar="N", help="Threads of the CPU device."),
    click.option(
        "--trials",
        type=click.IntRange(1, 1000),
        default=1,
        show_default=True,
        metavar="N",
        help="Times, each in a fresh process when there are several.",
    ),
)
_timing = options(
    click.option("--mode", type=click.Choice(_MODES), help="Timing mode; without it, each benchmark's own."),
    click.option("--backend", type=click.Choice(_BACKENDS), help="Way of timing; without it, the best there is."),
    click.option(
        "--flush", type=click.Choice(("read", "write")), help="How mode cold sweeps the cache. Default: read."
    ),
    click.option(
        "--target",
        type=click.FloatRange(0, 0.5, min_open=True),
        metavar="SHARE",
        help="Half-width of the 95 % interval to stop at, as a share of the median: 0.0025 is a quarter per cent.",
    ),
    click.option("--budget", type=DURATION, metavar="DURATION", help="Measuring time of one case."),
    click.option(
        "--determinism",
        type=click.IntRange(2, 10_000),
        metavar="N",
        help="Compare the outputs of N launches bit by bit.",
    ),
    click.option("--ceilings/--no-ceilings", default=True, help="Probe what the device can do. Default: yes."),
    click.option("--drill", "drills", multiple=True, metavar="BENCH=FACTOR", help="Plant a slow-down."),
)
_writing = options(
    click.option(
        "--out",
        type=click.Path(dir_okay=False, writable=True),
        metavar="FILE",
        help="Write the raw result there as JSON too.",
    ),
    click.option(
        "--export",
        "exports",
        multiple=True,
        metavar="FORMAT=FILE",
        help="Write it there for other tools: nvbench=FILE or google-benchmark=FILE.",
    ),
    click.option(
        "--profile",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        help="Profile one launch of every case with Nsight Compute afterwards; reports go there.",
    ),
    click.option(
        "--fail-on-error/--no-fail-on-error", default=True, help="End with 12 or 14 when cases fail. Default."
    ),
)


@command(
    "run",
    examples=(
        ("tbctl bench run gemm --device cpu", "matrix products on the CPU, in seconds"),
        ("tbctl bench run ./kernels --device cuda", "your own benchmarks, from a folder"),
        ("tbctl bench run memory --device cuda:1 --tier full --mode cold --out memory.json", "and keep every sample"),
        ("tbctl bench run gemm --trials 5 --target 0.001 --budget 30s", "five processes, each as precise as can be"),
        ("tbctl bench run gemm --device cpu --set matmul.m=256 --drill matmul=1.2 -o json", "with a planted slow-down"),
        ("tbctl bench run memory --export nvbench=memory.json", "for nvbench's own tools"),
        ("tbctl bench run gemm --device cuda --profile reports", "and what Nsight Compute sees of every case"),
    ),
)
@click.argument("suite", shell_complete=complete_suites)
@_selection
@_timing
@_writing
def run_command(context: CommandContext, suite: str, **values: Any) -> Ending:
    """Measure SUITE on this machine, without a collector: an installed suite, or a folder with a bundle."""
    typed, library = Texts(values=values), load_library()
    exports = [parse_export(text) for text in typed.many("exports")]
    found = find_suite(library, suite)
    _require_writable(typed, exports)
    profile: Path | None = typed.get("profile")
    if profile is not None:
        require_profilable(typed.text("device"), bundle=found.bundle is not None, trials=typed.get("trials"))
    observer = _Progress(suite=found.name, quiet=context.quiet)
    with terminated_like_interrupted():
        results = guarded(library, lambda: _measure(library, found, typed, observer))
    observer.finish()
    if profile is not None:
        tell = context.printer.hint
        results = [profiled(library, item, profile, device=typed.text("device"), tell=tell) for item in results]
    # First what was measured: a full disk must not take it away.
    _show(context, results)
    if typed.text("out"):
        _write(typed.text("out"), results)
    for format_name, path in exports:
        context.printer.hint(f"wrote {write_export(format_name, path, [item.to_dict() for item in results])}")
    if not any(result.measurements for result in results) and all(
        result.outcome == library.Outcome.OK for result in results
    ):
        raise EmptyResult(f"suite {suite!r} gave no result at all")
    return _ending(results, fail_on_error=typed.flag("fail_on_error"))


def _require_writable(typed: Texts, exports: list[tuple[str, str]]) -> None:
    if typed.text("out"):
        require_writable(typed.text("out"), option="--out")
    for format_name, path in exports:
        require_writable(path, option=f"--export {format_name}")


def _measure(library: Any, found: FoundSuite, typed: Texts, observer: "_Progress") -> list[Any]:
    plan = library.plan_trial(
        found.name,
        tier=_tier(found, typed),
        device_kind=library.device_kind(typed.text("device")),
        overrides=dict(parse_pair(text, form="--set BENCH.PARAM=VALUE") for text in typed.many("overrides")),
        include=any_of(typed.many("include")),
        exclude=any_of(typed.many("exclude")),
        seed=typed.get("seed"),
        mode=typed.get("mode"),
        options=_options(library, found, typed),
        registry=found.registry,
    )
    # Always in processes of their own: a crash or a hang of what is measured must not take the results with it.
    return measure_fresh(
        library,
        plan=plan,
        device=typed.text("device"),
        threads=typed.get("threads"),
        bundle=found.place_and_digest,
        trials=typed.get("trials"),
        observer=observer,
    )


def _tier(found: FoundSuite, typed: Texts) -> str:
    of_bundle = None if found.bundle is None else found.bundle.defaults.tier
    return typed.text("tier") or str(of_bundle or "smoke")


def _options(library: Any, found: FoundSuite, typed: Texts) -> Any:
    """The tier's options, with the bundle's and then what was typed in their place."""
    defaults = None if found.bundle is None else found.bundle.defaults
    given = {
        "target": _typed_or(typed.get("target"), defaults and defaults.target),
        "budget_seconds": _typed_or(typed.get("budget"), defaults and defaults.budget_seconds),
        "flush": typed.get("flush"),
        "backend": None if typed.get("backend") is None else library.Backend(typed.text("backend")),
        "determinism_launches": typed.get("determinism"),
        "probe_ceilings": typed.flag("ceilings"),
        "drill": dict(drill_factors(typed.many("drills"))),
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(library.MeasureOptions.for_tier(_tier(found, typed)), **chosen)


def _typed_or(typed: float | None, default: float | None) -> float | None:
    """What was typed, a zero too: it is refused rather than ignored."""
    return default if typed is None else typed


def _show(context: CommandContext, results: list[Any]) -> None:
    rows = rows_of_trials(results)
    printer = context.printer
    if printer.output == "csv":
        printer.items("Measurement", rows, result_columns(rows), body=lambda _: {}, nothing="no results")
        return
    lines = [printer.table(result_columns(rows), rows)] if rows else []
    lines += trouble_lines(rows)
    lines += [f"  not run: {clean(case)}" for result in results for case in result.not_run]
    lines += local_lines(rows, results, wide=printer.output == "wide")
    for number, result in enumerate(results, start=1):
        name = "trial" if len(results) == 1 else f"trial {number}"
        reason = f": {clean(result.reason)}" if result.reason else ""
        lines.append(f"{name} {result.outcome} in {duration(result.duration_seconds)}{reason}")
    text = "\n".join(lines)
    if len(results) == 1:
        printer.thing("TrialResult", results[0], (), body=lambda item: item.to_dict(), text=text)
    elif printer.output in {"json", "yaml"}:
        printer.items("TrialResult", results, (), body=lambda item: item.to_dict(), nothing="")
    else:
        printer.write(text)


def _write(path: str, results: list[Any]) -> None:
    bodies = [result.to_dict() for result in results]
    whole = document("TrialResult", bodies[0]) if len(bodies) == 1 else list_document("TrialResult", bodies)
    try:
        Path(path).write_text(as_json(whole) + "\n", encoding="utf-8")
    except OSError as error:
        raise CliError(f"--out {path}: cannot be written ({error.strerror}); check the folder") from error


def _ending(results: list[Any], *, fail_on_error: bool) -> Ending:
    failures: dict[str, int] = {}
    for measurement in (item for result in results for item in result.measurements):
        outcome = str(measurement.outcome)
        if outcome not in {"ok", "unsupported"}:
            failures[outcome] = failures.get(outcome, 0) + 1
    worst = next((result for result in results if str(result.outcome) != "ok"), results[0])
    facts = Facts(outcome=str(worst.outcome), reason=worst.reason, failures=failures, gated=False)
    found = ending(facts, Policy(fail_on_error=fail_on_error))
    # Nobody cancels a local trial; Ctrl-C ends it.
    stopped = any(str(result.outcome) in {"cancelled", "interrupted"} for result in results)
    return Ending(code=ExitCode.INTERRUPTED, sentence="interrupted") if stopped else found


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
