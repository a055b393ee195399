"""Policies: revisions, differences, and what a trial found."""

from collections.abc import Sequence
from datetime import datetime

from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import ago, iso, moment, word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.verdicts import case_text, parameters_text, style_of
from tesserabench.report.quantity import UNKNOWN
from tesserabench.v1.policy_service_pb2 import (
    Policy,
    PolicyChange,
    PolicyChangeKind,
    PolicyTestFinding,
    PolicyTestOutcome,
    PolicyTestReport,
    PolicyTestRule,
)
from tesserabench.v1.run_pb2 import Severity

_OUTCOME_STYLES = {"new": "bad", "severity": "warn", "alert": "warn", "gone": "good"}
_CHANGE_STYLES = {"added": "good", "removed": "bad"}


def _worse_text(item: PolicyTestFinding) -> str:
    """`+6.1 %`, or that it is not known."""
    return f"{100 * item.worsening:+.1f} %" if item.HasField("worsening") else UNKNOWN


def policy_columns(now: datetime) -> Sequence[Column[Policy]]:
    """The columns of a list of revisions."""
    return (
        Column[Policy](title="REVISION", value=lambda item: item.revision, right=True),
        Column[Policy](title="IN FORCE", value=lambda item: item.current),
        Column[Policy](title="RULES", value=lambda item: item.rules, right=True),
        Column[Policy](
            title="APPLIED",
            field="create_time",
            value=lambda item: iso(moment(item, "create_time")),
            text=lambda item: ago(moment(item, "create_time"), now=now),
        ),
        Column[Policy](title="BY", value=lambda item: item.created_by.name),
        Column[Policy](title="COMMENT", value=lambda item: item.comment, shrink=True),
    )


CHANGE_COLUMNS: Sequence[Column[PolicyChange]] = (
    Column[PolicyChange](
        title="CHANGE",
        value=lambda item: word(PolicyChangeKind, item.kind),
        style=lambda item: _CHANGE_STYLES.get(word(PolicyChangeKind, item.kind), ""),
    ),
    Column[PolicyChange](title="RULE", value=lambda item: item.rule, shrink=True),
    Column[PolicyChange](title="SETTING", value=lambda item: item.setting),
    Column[PolicyChange](title="BEFORE", value=lambda item: item.before, shrink=True),
    Column[PolicyChange](title="AFTER", value=lambda item: item.after, shrink=True),
)

FINDING_COLUMNS: Sequence[Column[PolicyTestFinding]] = (
    Column[PolicyTestFinding](
        title="WOULD BE",
        field="outcome",
        value=lambda item: word(PolicyTestOutcome, item.outcome),
        style=lambda item: _OUTCOME_STYLES.get(word(PolicyTestOutcome, item.outcome), ""),
    ),
    Column[PolicyTestFinding](title="SEEN BY", field="kind", value=lambda item: item.kind),
    Column[PolicyTestFinding](title="RUN", value=lambda item: short_id(item.run)),
    Column[PolicyTestFinding](
        title="TIME",
        value=lambda item: iso(moment(item, "time")),
        text=lambda item: (iso(moment(item, "time")) or UNKNOWN)[:10],
    ),
    Column[PolicyTestFinding](
        title="CASE",
        value=lambda item: item.case.id,
        text=lambda item: case_text(item.case.benchmark, parameters_text(item.case.id, item.case.parameters)),
        whole=True,
        shrink=True,
    ),
    Column[PolicyTestFinding](title="METRIC", value=lambda item: item.metric),
    Column[PolicyTestFinding](title="DEVICE", value=lambda item: item.device, wide=True),
    Column[PolicyTestFinding](title="BRANCH", value=lambda item: item.branch, wide=True),
    Column[PolicyTestFinding](
        title="WORSE",
        field="worsening",
        value=lambda item: item.worsening if item.HasField("worsening") else None,
        text=_worse_text,
        right=True,
    ),
    Column[PolicyTestFinding](title="NOW", field="before", value=lambda item: word(Severity, item.before)),
    Column[PolicyTestFinding](
        title="THEN",
        field="after",
        value=lambda item: word(Severity, item.after),
        style=lambda item: style_of(word(Severity, item.after)),
    ),
    Column[PolicyTestFinding](title="RULE", field="rule_after", value=lambda item: item.rule_after, shrink=True),
    Column[PolicyTestFinding](title="RULE NOW", field="rule_before", value=lambda item: item.rule_before, wide=True),
)

RULE_COLUMNS: Sequence[Column[PolicyTestRule]] = (
    Column[PolicyTestRule](title="RULE", value=lambda item: item.rule, shrink=True),
    Column[PolicyTestRule](title="RESULTS", value=lambda item: item.results, right=True),
    Column[PolicyTestRule](title="FINDINGS NOW", value=lambda item: item.findings_before, right=True),
    Column[PolicyTestRule](title="THEN", value=lambda item: item.findings_after, right=True),
)


def totals_pairs(report: PolicyTestReport) -> list[tuple[str, str, str]]:
    """What is counted: its name, for the policy in force, and for the file."""
    now, then = report.current, report.candidate
    return [
        ("findings", str(now.findings), str(then.findings)),
        ("  critical", str(now.critical), str(then.critical)),
        ("  major", str(now.major), str(then.major)),
        ("  minor", str(now.minor), str(then.minor)),
        ("alerts", str(now.alerts), str(then.alerts)),
        ("alerts a week", f"{now.alerts_per_week:.2f}", f"{then.alerts_per_week:.2f}"),
        ("runs that fail", str(now.failed_runs), str(then.failed_runs)),
        ("runs undecided", str(now.inconclusive_runs), str(then.inconclusive_runs)),
    ]


def trial_sentence(report: PolicyTestReport) -> str:
    """What a trial says, in one sentence."""
    counts = dict.fromkeys(("new", "gone", "severity", "alert"), 0)
    for finding in report.findings:
        counts[word(PolicyTestOutcome, finding.outcome)] += 1
    if not report.findings:
        return f"The file says the same of {report.runs} runs and {report.histories} histories as what is in force."
    words = (
        ("new", "new"),
        ("gone", "gone"),
        ("severity", "of another severity"),
        ("alert", "with another alert"),
    )
    parts = [f"{counts[name]} {text}" for name, text in words if counts[name]]
    return f"Findings that differ over {report.runs} runs and {report.histories} histories: {', '.join(parts)}."


def trial_markdown(report: PolicyTestReport, *, source: str, most: int = 50) -> str:
    """A trial as a comment for a review: the sentence, the counts, and the findings that differ."""
    against = f"revision {report.revision}" if report.revision else "what is built in"
    since, until = ((iso(moment(report, field)) or "")[:10] for field in ("since", "until"))
    lines = [
        f"### Policy trial: `{source}`",
        "",
        trial_sentence(report),
        f"Compared with {against}, {since} to {until}.",
        "",
        "| | now | then |",
        "| --- | ---: | ---: |",
        *(f"| {name.strip()} | {now} | {then} |" for name, now, then in totals_pairs(report)),
    ]
    if report.findings:
        lines += ["", "| would be | run | case | metric | worse | now | then | rule |"]
        lines += ["| --- | --- | --- | --- | ---: | --- | --- | --- |"]
        lines += [_markdown_row(item) for item in report.findings[:most]]
    if len(report.findings) > most:
        lines += ["", f"and {len(report.findings) - most} more"]
    return "\n".join(lines)


def _markdown_row(item: PolicyTestFinding) -> str:
    cells = (
        word(PolicyTestOutcome, item.outcome),
        short_id(item.run),
        f"`{item.case.id}`",
        item.metric,
        _worse_text(item),
        word(Severity, item.before) or UNKNOWN,
        word(Severity, item.after) or UNKNOWN,
        item.rule_after,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
