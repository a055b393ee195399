"""`tbctl policy get|list|diff|apply|test`."""

import difflib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import grpc
from tesserabench.cli.call_errors import call_error
from tesserabench.cli.context import CommandContext
from tesserabench.cli.destinations import require_writable
from tesserabench.cli.errors import CliError, UsageProblem
from tesserabench.cli.exit_codes import Ending, ExitCode
from tesserabench.cli.grammar import command
from tesserabench.cli.options import Texts, page_options
from tesserabench.cli.output.structured import plain
from tesserabench.cli.pages import read_pages
from tesserabench.cli.parsing import parse_duration
from tesserabench.cli.policy_files import project_of, read_rules, read_text
from tesserabench.cli.views.policies import (
    CHANGE_COLUMNS,
    FINDING_COLUMNS,
    RULE_COLUMNS,
    policy_columns,
    totals_pairs,
    trial_markdown,
    trial_sentence,
)
from tesserabench.v1.policy_service_pb2 import (
    ApplyPolicyRequest,
    ApplyPolicyResponse,
    DiffPolicyRequest,
    GetPolicyRequest,
    ListPoliciesRequest,
    Policy,
    PolicyTestProgress,
    PolicyTestReport,
    TestPolicyRequest,
)

_LONGEST_TRIAL_SECONDS = 24 * 3600.0
_DEFAULT_SINCE = "90d"


@command(
    "get",
    examples=(
        ("tbctl policy get > policy.yaml", "the file in force"),
        ("tbctl policy get 3 -o json", "revision 3, with who applied it and when"),
    ),
)
@click.argument("revision", required=False, type=click.IntRange(1, 999_999_999))
def get_command(context: CommandContext, revision: int | None) -> None:
    """Print the policy in force, or one revision."""
    name = f"projects/{context.settings.project}/policies/{revision or 'current'}"
    policy = context.collector.call(context.collector.stubs.policies.GetPolicy, GetPolicyRequest(name=name))
    if not policy.text:
        context.printer.hint(f"project {context.settings.project} has no policy; what is built in holds")
    columns = policy_columns(datetime.now(UTC))
    context.printer.message("Policy", policy, columns, text=policy.text.rstrip("\n"))


@command("list", examples=(("tbctl policy list", "who applied what, and when"),))
@page_options
def list_command(context: CommandContext, **values: Any) -> None:
    """List the revisions of a project's policy, newest first."""
    typed, collector = Texts(values=values), context.collector

    def fetch(size: int, token: str) -> tuple[Sequence[Policy], str]:
        request = ListPoliciesRequest(project=context.settings.project, page_size=size, page_token=token)
        answer = collector.call(collector.stubs.policies.ListPolicies, request)
        return answer.policies, answer.next_page_token

    listing = read_pages(fetch, limit=None if typed.flag("everything") else typed.get("limit"))
    columns = policy_columns(datetime.now(UTC))
    nothing = f"project {context.settings.project} has no policy; what is built in holds"
    context.printer.message_list("Policy", listing.items, columns, nothing=nothing)
    if listing.more:
        context.printer.hint("there are more: --limit N or --all")


@command(
    "diff",
    examples=(
        ("tbctl policy diff policy.yaml", "what would change, rule by rule"),
        ("tbctl policy diff policy.yaml --text", "the same as lines of the file"),
        ("tbctl policy diff --from 3 --to 5", "what changed between two revisions"),
    ),
)
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option("--from", "from_revision", type=click.IntRange(0), metavar="N", help="Revision. Default: in force.")
@click.option("--to", "to_revision", type=click.IntRange(0), metavar="N", help="Revision, in place of FILE.")
@click.option("--text", "as_text", is_flag=True, help="Lines of the file in place of rules.")
def diff_command(context: CommandContext, file: str | None, **values: Any) -> None:
    """Show what changes from the policy in force, or from a revision, to a file or another revision."""
    typed = Texts(values=values)
    to_revision = typed.get("to_revision")
    if (file is None) == (to_revision is None):
        raise UsageProblem("diff wants one of FILE and --to N")
    text = read_text(file) if file else ""
    project = project_of(context, file, read_rules(file, text)) if file else context.settings.project
    request = DiffPolicyRequest(
        project=project, text=text, source=file or "", from_revision=typed.get("from_revision"), to_revision=to_revision
    )
    stubs = context.collector.stubs.policies
    answer = context.collector.call(stubs.DiffPolicy, request)
    for warning in answer.warnings:
        context.printer.warn(warning)
    start: Policy = getattr(answer, "from")
    if typed.flag("as_text"):
        if to_revision is not None:
            name = f"projects/{project}/policies/{to_revision}"
            text = context.collector.call(stubs.GetPolicy, GetPolicyRequest(name=name)).text
        context.printer.write(_lines_between(start, text, file or f"revision {to_revision}"))
        return
    where = f"revision {start.revision}" if start.revision else "what is built in"
    context.printer.message_list("PolicyChange", answer.changes, CHANGE_COLUMNS, nothing=f"no difference from {where}")


def _lines_between(start: Policy, text: str, name: str) -> str:
    old, new = (part.splitlines() for part in (start.text, text))
    return "\n".join(difflib.unified_diff(old, new, f"revision {start.revision}", name, lineterm=""))


@command(
    "apply",
    examples=(
        ("tbctl policy apply policy.yaml --comment 'products are quiet now'", "from now on"),
        ("tbctl policy apply policy.yaml --dry-run", "only what would change"),
        ("tbctl policy apply policy.yaml --expect 4", "unless somebody else has applied another one after revision 4"),
    ),
)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--comment", default="", metavar="TEXT", help="Why, for whoever reads the list of revisions.")
@click.option("--expect", type=click.IntRange(0), metavar="N", help="Refuse unless revision N is in force; 0 is none.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def apply_command(context: CommandContext, file: str, **values: Any) -> None:
    """Make a file the policy of its project. Runs that are judged already keep the one they had."""
    typed = Texts(values=values)
    text = read_text(file)
    project = project_of(context, file, read_rules(file, text))
    request = ApplyPolicyRequest(
        project=project,
        text=text,
        source=file,
        comment=typed.text("comment"),
        expected_revision=typed.get("expect"),
        dry_run=typed.flag("dry_run"),
    )
    # Applying the same file twice makes one revision, so that a repeat after a lost answer does no harm.
    answer = context.collector.call(context.collector.stubs.policies.ApplyPolicy, request)
    for warning in answer.warnings:
        context.printer.warn(warning)
    context.printer.message("AppliedPolicy", answer, (), text=_applied_text(context, answer, project))


def _applied_text(context: CommandContext, answer: ApplyPolicyResponse, project: str) -> str:
    policy = answer.policy
    if answer.unchanged:
        return f"project {project}: this file is in force already, as revision {policy.revision}"
    lines = [context.printer.table(CHANGE_COLUMNS, answer.changes)] if answer.changes else []
    said = f"revision {policy.revision} is in force" if policy.revision else "nothing applied (--dry-run)"
    decides = "" if answer.changes else "; it decides as before"
    return "\n".join((*lines, f"project {project}: {said}, {policy.rules} rules{decides}"))


@command(
    "test",
    examples=(
        ("tbctl policy test policy.yaml --since 90d", "what it would have said of the last 90 days"),
        ("tbctl policy test policy.yaml --since 30d --exit-code", "end with 10 when it would have alerted more"),
        ("tbctl policy test policy.yaml --markdown trial.md", "for the review that changes the file"),
    ),
)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--since", default=_DEFAULT_SINCE, show_default=True, metavar="TIME", help="90d, or 2030-01-31.")
@click.option("--suite", default="", metavar="NAME", help="Only runs of this suite.")
@click.option("--exit-code", is_flag=True, help="End with 10 when it would have alerted where nothing does now.")
@click.option("--markdown", metavar="FILE", type=click.Path(dir_okay=False), help="Write the report there, too.")
def test_command(context: CommandContext, file: str, **values: Any) -> Ending | None:
    """Try a file out on what is stored: what it would have said, beside what the policy in force says.

    Runs are judged again, with the launches that confirmed them, and histories are searched again for steps. Nothing
    is changed.
    """
    typed = Texts(values=values)
    markdown = typed.text("markdown")
    if markdown:
        require_writable(markdown, option="--markdown")
    text = read_text(file)
    project = project_of(context, file, read_rules(file, text))
    request = TestPolicyRequest(project=project, text=text, source=file, suite=typed.text("suite"))
    request.since.FromDatetime(_since(typed.text("since"), datetime.now(UTC)))
    report = _tried_out(context, request)
    _show_trial(context, report)
    if markdown:
        _write(markdown, trial_markdown(report, source=file) + "\n")
    more = sum(item.alert_after and not item.alert_before for item in report.findings)
    if typed.flag("exit_code") and more:
        return Ending(code=ExitCode.REGRESSION, sentence=f"{file} would have fired {more} more alert(s)")
    return None


def _since(text: str, now: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now - timedelta(seconds=parse_duration(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _tried_out(context: CommandContext, request: TestPolicyRequest) -> PolicyTestReport:
    collector, shown = context.collector, ""
    call = collector.stubs.policies.TestPolicy(request, timeout=_LONGEST_TRIAL_SECONDS, metadata=collector.metadata)
    try:
        for step in call:
            if step.HasField("report"):
                return step.report
            shown = _tell(context, step.progress, shown)
    except grpc.RpcError as error:
        raise call_error(error, address=collector.address) from error
    finally:
        call.cancel()
    raise CliError("the collector ended the trial without a report; run it again")


def _tell(context: CommandContext, progress: PolicyTestProgress, shown: str) -> str:
    """Tell every tenth of the way, so that a log stays short; gives what was told last."""
    tenth = 10 * progress.done // max(progress.total, 1)
    now = f"{progress.phase} {tenth}"
    if now != shown:
        context.printer.hint(f"{progress.phase}: {progress.done} of {progress.total}")
    return now


def _show_trial(context: CommandContext, report: PolicyTestReport) -> None:
    printer = context.printer
    if printer.output == "csv":
        printer.message_list("PolicyTestFinding", report.findings, FINDING_COLUMNS, nothing="no difference")
        return
    lines = [printer.table(FINDING_COLUMNS, report.findings), ""] if report.findings else []
    widest = max(len(name) for name, _, _ in totals_pairs(report))
    lines += [f"{'':{widest}}  {'now':>8}  {'then':>8}"]
    lines += [f"{name:{widest}}  {now:>8}  {then:>8}" for name, now, then in totals_pairs(report)]
    if report.rules:
        lines += ["", printer.table(RULE_COLUMNS, report.rules)]
    lines += ["", trial_sentence(report)]
    printer.thing("PolicyTest", report, (), body=plain, text="\n".join(lines))


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"--markdown {path}: cannot be written ({error.strerror}); check its folder and space") from None
