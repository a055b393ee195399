"""`tbctl run trigger`."""

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from tesserabench.cli.checkout import read_checkout
from tesserabench.cli.ci import BuildFacts, detect
from tesserabench.cli.context import CommandContext
from tesserabench.cli.errors import UsageProblem
from tesserabench.cli.exit_codes import Ending
from tesserabench.cli.following import follow_and_report, policy_of
from tesserabench.cli.grammar import command
from tesserabench.cli.options import (
    Texts,
    follow_options,
    judging_options,
    policy_options,
    revision_options,
    spec_options,
)
from tesserabench.cli.parsing import parse_moment, short_id
from tesserabench.cli.run_request import gate_spec, labels_of, refuse_two_aims, revision, run_spec
from tesserabench.cli.views.runs import run_columns, run_details
from tesserabench.v1.run_pb2 import Revision, Run, TriggerKind
from tesserabench.v1.run_service_pb2 import CreateRunRequest


@command(
    "trigger",
    examples=(
        (
            "tbctl run trigger --suite gemm --selector gpu=h100 --wait --timeout 40m --fail-on major",
            "measure, wait, end with 10 when something became slower by 5 % or more",
        ),
        (
            "tbctl run trigger --suite gemm --confirm 3 --budget 20m --wait --fail-on-inconclusive",
            "measure again what is undecided, three times or twenty minutes at most",
        ),
        ("tbctl run trigger --suite core --tier smoke --nodes 2 --dry-run", "see which hosts would match"),
        ("tbctl run trigger --suite gemm --drill gemm/matmul=1.12 --wait --fail-on any", "try out the alarm"),
        ("tbctl run trigger --suite gemm --aa", "the same code twice: does the gate call it different?"),
        (
            "tbctl run trigger --suite memory --duet-set copy.dtype=float64 --repeat 10 --wait",
            "another value of a parameter, interleaved in ten processes",
        ),
    ),
)
@spec_options
@revision_options
@judging_options
@click.option(
    "--priority", type=click.IntRange(-100, 100), default=0, metavar="N", help="Higher goes first, -100 to 100."
)
@click.option("--deadline", metavar="DURATION|TIME", help="Latest time at which a host must have taken it.")
@click.option("--aa", is_flag=True, help="Measure the same code twice, to count false alarms; gates nothing.")
@click.option("--idempotency-key", metavar="TEXT", help="The same key within a day gives the same run again.")
@click.option("--dry-run", is_flag=True, help="Check and plan; create nothing.")
@click.option("--wait/--no-wait", default=None, help="Wait for the verdict (TBCTL_WAIT). Default: no.")
@policy_options
@follow_options
def trigger_command(context: CommandContext, **values: Any) -> Ending | None:
    """Ask for a run; with --wait, wait for its verdict and end as the gate says."""
    typed = Texts(values=values)
    refuse_two_aims(typed)
    wait = context.settings.wait if typed.get("wait") is None else typed.flag("wait")
    if typed.flag("aa") and typed.get("wait"):
        raise UsageProblem("--aa is two runs that gate nothing; leave --wait out, and see: tbctl regression score")
    request = _request(context, typed)
    run = context.collector.call(context.collector.stubs.runs.CreateRun, request)
    if typed.flag("dry_run"):
        _show_plan(context, run)
        return None
    number = short_id(run.name)
    if typed.flag("aa"):
        context.printer.message("Run", run, run_columns(datetime.now(UTC)))
        context.printer.hint("the same code is measured again when it has ended; the count: tbctl regression score")
        return None
    if not wait:
        context.printer.message("Run", run, run_columns(datetime.now(UTC)))
        context.printer.hint(f"watch it: tbctl run watch {number}")
        return None
    context.printer.hint(f"run {number} is queued; to look at it from elsewhere: tbctl run watch {number}")
    return follow_and_report(context, run, typed, policy_of(typed, context.settings, default="none"))


def _request(context: CommandContext, typed: Texts) -> CreateRunRequest:
    build = detect(os.environ, read_text=lambda path: Path(path).read_text(encoding="utf-8"))
    labels = labels_of(typed)
    request = CreateRunRequest(
        project=context.settings.project,
        spec=run_spec(typed, default_suite=context.settings.suite),
        revision=_revision(context, typed, build, labels),
        gate=gate_spec(typed),
        labels=labels,
        priority=typed.get("priority"),
        trigger=TriggerKind.TRIGGER_KIND_CI if build.provider else TriggerKind.TRIGGER_KIND_PERSON,
        request_id=typed.text("idempotency_key") or f"tbctl-{uuid.uuid4()}",
        dry_run=typed.flag("dry_run"),
        identical=typed.flag("aa"),
    )
    if typed.text("deadline"):
        request.deadline.FromDatetime(parse_moment(typed.text("deadline"), now=datetime.now(UTC)))
    return request


def _revision(context: CommandContext, typed: Texts, build: BuildFacts, labels: dict[str, str]) -> Revision:
    told = typed.text("commit") or build.commit
    if told:
        return revision(typed, build=build, checkout=BuildFacts(), default_base=context.settings.base)
    checkout = read_checkout(Path.cwd())
    if checkout.changed:
        labels.setdefault("git.changed", "true")
        context.printer.hint(
            "the working tree holds changes that are in no commit; the run is labelled git.changed=true"
        )
    return revision(typed, build=build, checkout=checkout.facts, default_base=context.settings.base)


def _show_plan(context: CommandContext, run: Run) -> None:
    pairs = [pair for pair in run_details(run, datetime.now(UTC)) if pair[0] not in {"Run", "State", "Reason"}]
    text = context.printer.details([*pairs, ("Plan", run.reason or "the collector named no matching host")])
    context.printer.message("RunPlan", run, run_columns(datetime.now(UTC)), text=text)
    context.printer.hint("nothing was created (--dry-run)")
