"""`tbctl gate`: a verdict as an exit status."""

import os
import sys
from pathlib import Path
from typing import Any

import click
from tesserabench.cli.ci import detect
from tesserabench.cli.commands.compare import require_series, show_comparison
from tesserabench.cli.commands.run import get_run
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import EmptyResult, StillPending, UsageProblem
from tesserabench.cli.exit_codes import Ending, ExitCode
from tesserabench.cli.following import policy_of
from tesserabench.cli.gate_lines import answer_lines, load_judge
from tesserabench.cli.grammar import command
from tesserabench.cli.judgement import Policy, ending, facts_of_run
from tesserabench.cli.options import RUN, Texts, policy_options
from tesserabench.cli.output.words import word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.run_report import comparison_ending, gate_body, gather, run_comparison, show
from tesserabench.v1.result_service_pb2 import CompareRequest
from tesserabench.v1.run_pb2 import Run, RunState

_DEFAULT_FAIL_ON = "minor"


@command(
    "gate",
    examples=(
        ("tbctl gate --run 42 --fail-on major", "end with 10 when run 42 became slower by 5 % or more"),
        ("tbctl gate --head commit:abc1234 --base branch:main", "judge what was measured already"),
        ("tbctl gate --json-lines", "for programs: each line of stdin is a pair, and gets a verdict"),
    ),
)
@click.option("--run", type=RUN, metavar="RUN", help="Judge this run against its own baseline.")
@click.option("--head", metavar="REF", help="Judge this: run:ID, commit:HASH, branch:NAME or baseline:NAME.")
@click.option("--base", metavar="REF", help="Against this. Default: the base branch that CI or the settings name.")
@click.option("--suite", default="", metavar="NAME", help="Only this suite. Default: the head's.")
@policy_options
@click.option("--allow-empty", is_flag=True, help="Nothing to judge is no error.")
@click.option("--json-lines", is_flag=True, help="Judge pairs of samples from stdin, a line each, without a collector.")
def gate_command(context: CommandContext, **values: Any) -> Ending | None:
    """Judge a finished run, or what was measured for a commit or branch. --fail-on is minor unless told otherwise.

    With --json-lines every line of stdin is {"base": RUNS, "new": RUNS, "meta": {"lower_is_better": true, "history":
    RUNS}}, where RUNS is a list of runs (processes, nights) and a run a list of samples. It is answered at once by a
    line with the verdict: regression, improvement, no_change or inconclusive, with the change, its interval and the
    reason. Runs are what is compared: with one run a side, give five older ones as the history. A line that cannot be
    read is answered by {"error": ...}.
    """
    typed = Texts(values=values)
    run, head = typed.text("run"), typed.text("head")
    if typed.flag("json_lines"):
        if run or head or typed.text("base"):
            raise UsageProblem("--json-lines reads pairs from stdin; leave --run, --head and --base out")
        answer_lines(load_judge(), sys.stdin, sys.stdout)
        return None
    if bool(run) == bool(head):
        raise UsageProblem("gate wants one of --run RUN and --head REF, or --json-lines")
    policy = policy_of(typed, context.settings, default=_DEFAULT_FAIL_ON)
    return _gate_run(context, run, typed, policy) if run else _gate_head(context, head, typed, policy)


def _gate_run(context: CommandContext, name: str, typed: Texts, policy: Policy) -> Ending:
    if typed.text("base"):
        raise UsageProblem("--base goes with --head; a run carries its own baseline (tbctl compare takes any two)")
    collector = context.collector
    run = get_run(collector, name)
    if run.state != RunState.RUN_STATE_FINISHED:
        number = short_id(name)
        raise StillPending(f"run {number} is {word(RunState, run.state)}; wait for it: tbctl run watch {number}")
    comparison = run_comparison(collector, run)
    if comparison is None:
        return _never_judged(context, run, policy, allow_empty=typed.flag("allow_empty"))
    outcome = ending(facts_of_run(run, comparison), policy)
    show_comparison(context.printer, comparison, head=run, gate=gate_body(outcome, policy, comparison, run))
    return outcome


def _never_judged(context: CommandContext, run: Run, policy: Policy, *, allow_empty: bool) -> Ending:
    """A run that was cancelled, found no host or failed says so; one that ended well must not pass unseen."""
    outcome = show(gather(context.collector, run, policy), context.printer, allow_empty=True)
    if outcome.code is ExitCode.DONE and not allow_empty:
        number = short_id(run.name)
        raise EmptyResult(f"run {number} was never judged; compare it yourself (tbctl compare), or pass --allow-empty")
    return outcome


def _gate_head(context: CommandContext, head: str, typed: Texts, policy: Policy) -> Ending:
    base = typed.text("base") or _base_branch(context)
    request = CompareRequest(project=context.settings.project, base=base, head=head, suite=typed.text("suite"))
    comparison = context.collector.call(context.collector.stubs.results.Compare, request)
    require_series(comparison, allow_empty=typed.flag("allow_empty"))
    outcome = comparison_ending(comparison, policy)
    show_comparison(context.printer, comparison, head=None, gate=gate_body(outcome, policy, comparison, None))
    return outcome


def _base_branch(context: CommandContext) -> str:
    build = detect(os.environ, read_text=lambda path: Path(path).read_text(encoding="utf-8"))
    branch = build.base or context.settings.base
    if not branch:
        raise UsageProblem("there is nothing to judge against; give --base REF, or set base in tessera.yaml")
    return f"branch:{branch}"
