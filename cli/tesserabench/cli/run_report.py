"""What a finished run comes to: its results, its comparison, and how the command ends; for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tesserabench.cli.connection import Collector
from tesserabench.cli.errors import CallError, CliError, EmptyResult
from tesserabench.cli.exit_codes import Ending, ExitCode
from tesserabench.cli.judgement import Policy, ending, facts_of_comparison, facts_of_run
from tesserabench.cli.output.printer import Printer
from tesserabench.cli.output.structured import as_json, document, plain
from tesserabench.cli.output.table import clean
from tesserabench.cli.output.words import word
from tesserabench.cli.pages import all_results
from tesserabench.cli.parsing import short_id
from tesserabench.cli.reproduce import reproduce_command
from tesserabench.cli.views.comparisons import regressed_entries, verdict_lines
from tesserabench.cli.views.results import ResultRow, result_columns, rows_of, trouble_lines
from tesserabench.cli.views.verdicts import style_of
from tesserabench.report.quantity import duration
from tesserabench.v1.comparison_pb2 import Comparison
from tesserabench.v1.measurement_pb2 import Outcome
from tesserabench.v1.result_service_pb2 import GetRunComparisonRequest, Result
from tesserabench.v1.run_pb2 import Run, Verdict

_NO_COMPARISON = frozenset({"NOT_FOUND", "FAILED_PRECONDITION"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A finished run and what follows from it."""

    run: Run
    results: Sequence[Result]
    comparison: Comparison | None
    ending: Ending
    policy: Policy

    def body(self) -> dict[str, Any]:
        """The report as plain values."""
        body: dict[str, Any] = {"run": plain(self.run), "results": [plain(result) for result in self.results]}
        if self.comparison is not None:
            body["comparison"] = plain(self.comparison)
        body["gate"] = gate_body(self.ending, self.policy, self.comparison, self.run)
        return body


def gate_body(ending_: Ending, policy: Policy, comparison: Comparison | None, run: Run | None) -> dict[str, Any]:
    """How it ended and what to look at, as plain values."""
    regressed = regressed_entries(comparison) if comparison is not None else []
    return {
        "fail_on": policy.fail_on,
        "exit_code": int(ending_.code),
        "exit_name": ending_.code.name.lower(),
        "sentence": ending_.sentence,
        "reproduce": {entry.case.id: reproduce_command(run, entry) for entry in regressed},
    }


def gather(collector: Collector, run: Run, policy: Policy) -> RunReport:
    """Read what a finished run came to.

    Raises:
        CallError: the collector refused or did not answer.
    """
    comparison = run_comparison(collector, run)
    return RunReport(
        run=run,
        results=all_results(collector, run.name),
        comparison=comparison,
        ending=ending(facts_of_run(run, comparison), policy),
        policy=policy,
    )


def run_comparison(collector: Collector, run: Run) -> Comparison | None:
    """The comparison that decided the run's verdict; none when there was nothing to judge."""
    try:
        return collector.call(collector.stubs.results.GetRunComparison, GetRunComparisonRequest(run=run.name))
    except CallError as error:
        if error.status in _NO_COMPARISON:
            return None
        raise


def show(report: RunReport, printer: Printer, *, allow_empty: bool) -> Ending:
    """Write the report, and say how the command ends.

    Raises:
        EmptyResult: there is not one result although the run ended well.
    """
    rows = rows_of(report.results, per_trial=False)
    if printer.output == "csv":
        printer.items("Result", rows, result_columns(rows), body=lambda _: {}, nothing="no results")
    else:
        printer.thing("RunReport", report, [], body=RunReport.body, text=_text(report, rows, printer))
    if not rows and report.ending.code is ExitCode.DONE and not allow_empty:
        raise EmptyResult(
            f"run {short_id(report.run.name)} gave no result at all; check --benchmark and --skip, or use --allow-empty"
        )
    return report.ending


def write_json(report: RunReport, path: str) -> None:
    """Write the report as JSON into a file.

    Raises:
        CliError: the file cannot be written.
    """
    try:
        Path(path).write_text(as_json(document("RunReport", report.body())) + "\n", encoding="utf-8")
    except OSError as error:
        raise CliError(f"--json {path}: cannot be written ({error.strerror}); check the folder") from error


def _text(report: RunReport, rows: Sequence[ResultRow], printer: Printer) -> str:
    parts = [printer.table(result_columns(rows), rows)] if rows else []
    parts += trouble_lines(rows)
    if report.comparison is not None:
        parts += verdict_lines(report.comparison, report.run)
    parts.append(_last_line(report, printer))
    return "\n".join(parts)


def _last_line(report: RunReport, printer: Printer) -> str:
    run = report.run
    verdict = word(Verdict, run.verdict)
    state = verdict or word(Outcome, run.outcome)
    took = ""
    if run.HasField("start_time") and run.HasField("end_time"):
        took = f" in {duration((run.end_time.ToNanoseconds() - run.start_time.ToNanoseconds()) / 1e9)}"
    why = run.verdict_reason or (report.comparison.summary if report.comparison is not None else "") or run.reason
    why = why.rstrip(".")
    outcome = word(Outcome, run.outcome)
    ended = f"{outcome}{took}" if verdict else f"ended{took}"
    shown = printer.painted(state.upper(), style_of(state))
    return f"run {short_id(run.name)} {ended}: {shown}{f' - {clean(why)}' if why else ''}; {_gate(report.ending)}"


def _gate(ending_: Ending) -> str:
    """The gate in a few words; the whole sentence stands in the last line on stderr when it is no success."""
    return ending_.sentence if ending_.code is ExitCode.DONE else f"ends with {int(ending_.code)}"


def comparison_ending(comparison: Comparison, policy: Policy) -> Ending:
    """How a command ends that judged a comparison alone."""
    return ending(facts_of_comparison(comparison), policy)
