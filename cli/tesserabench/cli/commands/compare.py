"""`tbctl compare BASE HEAD`."""

from typing import Any

import click
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import EmptyResult, UsageProblem
from tesserabench.cli.exit_codes import Ending
from tesserabench.cli.file_comparison import compare_files, names_a_file
from tesserabench.cli.following import policy_of
from tesserabench.cli.grammar import command
from tesserabench.cli.options import Texts, policy_options
from tesserabench.cli.output.printer import Printer
from tesserabench.cli.output.structured import plain
from tesserabench.cli.output.table import clean
from tesserabench.cli.output.words import word
from tesserabench.cli.run_report import comparison_ending, gate_body
from tesserabench.cli.views.comparisons import comparison_columns, shown_entries, verdict_lines
from tesserabench.cli.views.verdicts import style_of
from tesserabench.v1.comparison_pb2 import Comparison, VerdictReason
from tesserabench.v1.result_service_pb2 import CompareRequest
from tesserabench.v1.run_pb2 import Run, Severity, Verdict


def show_comparison(printer: Printer, comparison: Comparison, *, head: Run | None, gate: dict[str, Any]) -> None:
    """Write a comparison in the printer's format; `gate` is what programs learn about how it ends."""
    entries = shown_entries(comparison, every=printer.output != "table")
    columns = comparison_columns(entries)
    if printer.output == "csv":
        printer.message_list("ComparisonEntry", entries, columns, nothing="no series")
        return
    verdict = word(Verdict, comparison.verdict) or "not judged"
    severity = word(Severity, comparison.severity)
    lines = [printer.table(columns, entries)] if entries else []
    lines += verdict_lines(comparison, head)
    shown = printer.painted(" ".join(filter(None, (verdict, severity))).upper(), style_of(verdict))
    summary = f" - {comparison.summary.rstrip('.')}" if comparison.summary else ""
    lines.append(f"{clean(comparison.base)} -> {clean(comparison.head)}: {shown}{clean(summary)}")
    printer.thing("Comparison", comparison, [], body=lambda item: {**plain(item), "gate": gate}, text="\n".join(lines))


_ONE_SIDED = frozenset({VerdictReason.VERDICT_REASON_MISSING, VerdictReason.VERDICT_REASON_NO_BASELINE})


def require_series(comparison: Comparison, *, allow_empty: bool) -> None:
    """Refuse a comparison without a single series that both sides have, unless that is allowed.

    Raises:
        EmptyResult: there is none.
    """
    shared = any(entry.reason not in _ONE_SIDED for entry in comparison.entries)
    if not comparison.entries and not allow_empty:
        raise EmptyResult(
            f"neither {comparison.base} nor {comparison.head} has a result; check --suite, or pass --allow-empty"
        )
    if not shared and not allow_empty:
        raise EmptyResult(
            f"{comparison.base} and {comparison.head} have no series in common; check --suite, or pass --allow-empty"
        )


@command(
    "compare",
    examples=(
        ("tbctl compare 41 42", "run 42 against run 41"),
        ("tbctl compare branch:main branch:faster-epilogue --suite gemm", "two branches"),
        ("tbctl compare baseline:v1.4 commit:abc1234 --exit-code", "end with 10 when something became slower"),
        ("tbctl compare old.json new.json", "two files of tbctl bench run --out, without a collector"),
        ("tbctl compare old.json new.json --policy policy.yaml", "the same by the limits of a policy file"),
    ),
)
@click.argument("base")
@click.argument("head")
@click.option("--suite", default="", metavar="NAME", help="Only this suite. Default: the head's.")
@click.option("--exit-code", is_flag=True, help="End as a gate would; without it, with 0.")
@policy_options
@click.option("--policy", type=click.Path(dir_okay=False), metavar="FILE", help="Judge two files by this policy.")
@click.option("--allow-empty", is_flag=True, help="No series in common is no error.")
def compare_command(context: CommandContext, base: str, head: str, **values: Any) -> Ending | None:
    """Compare two runs, commits, branches or baselines, series by series, worst first.

    The table shows the metrics that decide; -o wide, csv and json show the others too.

    BASE and HEAD are run:ID, commit:HASH, branch:NAME or baseline:NAME, or one of them without its prefix. Two files
    that end in .json are judged here, by the same rules: files of tbctl bench run --out, or of tbctl result list RUN
    -o json. They hold no history, so that how much runs differ is assumed.
    """
    typed = Texts(values=values)
    if names_a_file(base) or names_a_file(head):
        comparison = compare_files(base, head, suite=typed.text("suite"), policy=typed.text("policy"))
    elif typed.text("policy"):
        raise UsageProblem(
            "--policy goes with two files; runs are judged by their project's (tbctl policy test tries another)"
        )
    else:
        request = CompareRequest(project=context.settings.project, base=base, head=head, suite=typed.text("suite"))
        comparison = context.collector.call(context.collector.stubs.results.Compare, request)
    require_series(comparison, allow_empty=typed.flag("allow_empty"))
    policy = policy_of(typed, context.settings, default="any")
    ending = comparison_ending(comparison, policy)
    show_comparison(context.printer, comparison, head=None, gate=gate_body(ending, policy, comparison, None))
    return ending if typed.flag("exit_code") else None
