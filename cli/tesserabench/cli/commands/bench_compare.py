"""`tbctl bench compare`: two variants on this machine, interleaved, without a collector."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from tesserabench.cli.bench_library import guarded, load_library, require_harmless
from tesserabench.cli.context import CommandContext
from tesserabench.cli.destinations import require_writable
from tesserabench.cli.errors import CliError
from tesserabench.cli.exit_codes import Ending
from tesserabench.cli.grammar import command
from tesserabench.cli.interruption import terminated_like_interrupted
from tesserabench.cli.judgement import Facts, Policy, ending
from tesserabench.cli.options import DURATION, PATTERN, TIERS, Texts, options, policy_options
from tesserabench.cli.output.printer import Printer
from tesserabench.cli.output.structured import as_json, document
from tesserabench.cli.parsing import any_of, parse_pair
from tesserabench.cli.run_request import drill_factors
from tesserabench.cli.suite_names import complete_suites
from tesserabench.cli.views.duet import duet_lines, pair_columns
from tesserabench.cli.views.verdicts import style_of
from tesserabench.report.quantity import duration

_MODES = ("cold", "hot", "rotating", "host")
_BACKENDS = ("graph", "blocked", "events", "host", "virtual")
_PROGRESS_SECONDS = 2.0
_SET = "BENCH.PARAM=VALUE"

_arms = options(
    click.option("--set", "both", multiple=True, metavar=_SET, help="Another value of a parameter, in both arms."),
    click.option("--set-a", "only_a", multiple=True, metavar=_SET, help="The same in arm A alone."),
    click.option("--set-b", "only_b", multiple=True, metavar=_SET, help="The same in arm B alone."),
    click.option("--benchmark", "include", multiple=True, type=PATTERN, metavar="REGEX", help="Only cases that match."),
    click.option("--skip", "exclude", multiple=True, type=PATTERN, metavar="REGEX", help="No cases that match."),
)
_measuring = options(
    click.option(
        "--device", default="cpu", show_default=True, metavar="KIND", help="cpu, cuda, cuda:1 or simulated[:SCENARIO]."
    ),
    click.option("--tier", type=click.Choice(TIERS), default="smoke", show_default=True, help="How much of a suite."),
    click.option("--mode", type=click.Choice(_MODES), help="Timing mode; without it, each benchmark's own."),
    click.option("--backend", type=click.Choice(_BACKENDS), help="Way of timing; without it, the best there is."),
    click.option(
        "--target",
        type=click.FloatRange(0, 0.5, min_open=True),
        metavar="SHARE",
        help="Half-width of a median's 95 % interval to stop at in each worker, as a share of the median.",
    ),
    click.option("--budget", type=DURATION, metavar="DURATION", help="Measuring time of one arm of one case."),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**63 - 1),
        default=0,
        show_default=True,
        metavar="N",
        help="Seed of inputs and order.",
    ),
    click.option("--threads", type=click.IntRange(1, 4096), metavar="N", help="Threads of the CPU device."),
    click.option("--drill", "drills", multiple=True, metavar="BENCH=FACTOR", help="Plant a slow-down in arm B."),
)
_judging = options(
    click.option(
        "--workers",
        type=click.IntRange(2, 100),
        metavar="N",
        help="Fresh processes. Default: 5, and 10 for what is open then.",
    ),
    click.option(
        "--smallest-effect",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.01,
        show_default=True,
        metavar="SHARE",
        help="Least change that counts, 0.01 for 1 %; half of what must not be missed.",
    ),
    click.option("--null-control/--no-null-control", default=True, help="Also compare A with itself. Default: yes."),
)


@command(
    "compare",
    examples=(
        ("tbctl bench compare ./old ./new --device cuda", "two versions of a bundle"),
        ("tbctl bench compare memory/copy --set-b n=8388608 --device cpu", "one benchmark with two values"),
        ("tbctl bench compare norm/softmax norm/layernorm --benchmark 'rows=4096' --device cuda", "two benchmarks"),
        (
            "tbctl bench compare gemm/matmul --workers 10 --device cuda",
            "with itself: how quiet is it here?",
        ),
        ("tbctl bench compare ./old ./new --exit-code --fail-on-inconclusive", "as a gate: 0, 10, 11 or 12"),
    ),
)
@click.argument("a", shell_complete=complete_suites)
@click.argument("b", required=False, shell_complete=complete_suites)
@_arms
@_measuring
@_judging
@click.option(
    "--out", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Write all of it there as JSON too."
)
@click.option("--exit-code", is_flag=True, help="End with 10 when B is slower, as --fail-on any does; else with 0.")
@policy_options
def compare_command(context: CommandContext, a: str, b: str | None, **values: Any) -> Ending:
    """Compare two arms on this machine: is B slower than A?

    Both are measured in turns inside the same fresh processes, so that whatever disturbs the machine falls on both.
    A and B are suites, benchmarks (suite/benchmark), folders with bundles, or installed bundles; without B it is A
    again, with what --set-b says. Cases belong together that have the same benchmark and parameters, or when each arm
    has only one.

    "pass" means the same within the smallest effect, "regressed" that B is slower. A case that fails ends with 12.
    """
    typed, library = Texts(values=values), load_library()
    if typed.text("out"):
        require_writable(typed.text("out"), option="--out")
    observer = _Progress(quiet=context.quiet)
    with terminated_like_interrupted():
        result = guarded(library, lambda: _compare(library, a, a if b is None else b, typed, observer))
    observer.finish()
    # First what was found: a full disk must not take it away.
    _show(context.printer, result)
    if typed.text("out"):
        _write(typed.text("out"), result)
    return _ending(result, typed)


def _compare(library: Any, a: str, b: str, typed: Texts, observer: "_Progress") -> Any:
    from tesserabench.bench.duet import compare_locally  # noqa: PLC0415 - slow to import

    for spec in dict.fromkeys((a, b)):
        require_harmless(spec)
    return compare_locally(
        _arm(a, typed, "only_a"),
        _arm(b, typed, "only_b"),
        device=typed.text("device"),
        workers=typed.get("workers"),
        tier=typed.text("tier"),
        mode=typed.get("mode"),
        seed=typed.get("seed"),
        smallest_effect=typed.get("smallest_effect"),
        null_control=typed.flag("null_control"),
        options=_options(library, typed),
        observer=observer,
        threads=typed.get("threads"),
    )


def _arm(spec: str, typed: Texts, own: str) -> Any:
    from tesserabench.bench.duet import Arm  # noqa: PLC0415 - slow to import

    form = f"--set-{own[-1]} {_SET}"
    told = [parse_pair(text, form=form) for text in (*typed.many("both"), *typed.many(own))]
    return Arm(
        spec=spec,
        overrides=dict(told),
        include=any_of(typed.many("include")),
        exclude=any_of(typed.many("exclude")),
    )


def _options(library: Any, typed: Texts) -> Any:
    """The tier's options, with what was typed in their place. Ceilings say nothing of two arms, and take time."""
    given = {
        "target": typed.get("target"),
        "budget_seconds": typed.get("budget"),
        "backend": None if typed.get("backend") is None else library.Backend(typed.text("backend")),
        "drill": dict(drill_factors(typed.many("drills"))),
        "probe_ceilings": False,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(library.MeasureOptions.for_tier(typed.text("tier")), **chosen)


def _show(printer: Printer, result: Any) -> None:
    columns = pair_columns(result.pairs)
    if printer.output == "csv":
        printer.items("DuetPair", result.pairs, columns, body=lambda _: {}, nothing="no pairs")
        return
    verdict = printer.painted(result.verdict.upper(), style_of(result.verdict))
    flags = f" ({', '.join(result.flags)})" if result.flags else ""
    where = f" on {result.device.model}" if result.device is not None else ""
    lines = [printer.table(columns, result.pairs), *duet_lines(result)]
    lines.append(
        f"{_named(result, 'a')} -> {_named(result, 'b')}: {verdict}{flags} in {result.workers} workers"
        f"{where}, {duration(result.duration_seconds)}"
    )
    printer.thing("DuetResult", result, (), body=lambda item: item.to_dict(), text="\n".join(lines))


def _named(result: Any, arm: str) -> str:
    return " ".join(filter(None, (result.facts[arm], result.facts.get(f"{arm}.set"))))


def _write(path: str, result: Any) -> None:
    try:
        Path(path).write_text(as_json(document("DuetResult", result.to_dict())) + "\n", encoding="utf-8")
    except OSError as error:
        raise CliError(f"--out {path}: cannot be written ({error.strerror}); check the folder") from error


def _ending(result: Any, typed: Texts) -> Ending:
    fail_on = typed.get("fail_on") or ("any" if typed.flag("exit_code") else "none")
    policy = Policy(
        fail_on=fail_on,
        fail_on_inconclusive=typed.flag("fail_on_inconclusive"),
        fail_on_error=typed.flag("fail_on_error"),
    )
    return ending(_facts(result), policy)


def _facts(result: Any) -> Facts:
    """What the rules of every gate decide on."""
    failures: dict[str, int] = {}
    inconclusive: dict[str, int] = {}
    for pair in result.pairs:
        failure = next((worker.failure for worker in reversed(pair.workers) if worker.failure is not None), None)
        if pair.found.verdict != "inconclusive":
            continue
        if pair.found.change is None and failure is not None:
            failures[str(failure.outcome)] = failures.get(str(failure.outcome), 0) + 1
        else:
            inconclusive[pair.found.reason] = inconclusive.get(pair.found.reason, 0) + 1
    regressed = [pair for pair in result.pairs if pair.found.verdict == "regressed"]
    worst = max(regressed, key=lambda pair: pair.found.change, default=None)
    return Facts(
        outcome="ok",
        failures=failures,
        verdict=result.verdict,
        severity=(worst.found.severity or "") if worst is not None else "",
        regressions=len(regressed),
        worst="" if worst is None else f"{worst.b} {100 * worst.found.change:+.1f} %",
        inconclusive=inconclusive,
    )


class _Progress:
    """A line on stderr for what is being measured, rewritten on a terminal, now and then elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._live = quiet, sys.stderr.isatty()
        self._last, self._place = 0.0, ""

    def worker(self, number: int, most: int, pairs: int) -> None:
        """A worker begins."""
        self._place = f"worker {number} of at most {most}, {pairs} pairs"
        self._tell("", now=True)

    def phase(self, case: str, phase: str) -> None:
        """What it does now."""
        self._tell(f"{case or 'the device'} ({phase})")

    def finish(self) -> None:
        """Clear the line."""
        if self._live and not self._quiet:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _tell(self, text: str, *, now: bool = False) -> None:
        if self._quiet or not (self._live or now or time.monotonic() - self._last >= _PROGRESS_SECONDS):
            return
        self._last = time.monotonic()
        line = ": ".join(filter(None, (self._place, text)))
        sys.stderr.write(f"\r\x1b[K{line[:110]}" if self._live else f"{line}\n")
        sys.stderr.flush()
