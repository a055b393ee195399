"""Findings: in a list, and everything about one."""

from collections.abc import Sequence
from datetime import datetime

from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import ago, iso, moment, word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.reproduce import reproduce_command
from tesserabench.cli.views.verdicts import case_text, parameters_text, short_commit, style_of
from tesserabench.report.quantity import change, change_interval
from tesserabench.v1.comparison_pb2 import CauseKind, ComparisonEntry
from tesserabench.v1.regression_service_pb2 import (
    FindingKind,
    Regression,
    RegressionEvent,
    RegressionMember,
    RegressionState,
)
from tesserabench.v1.run_pb2 import Severity

_OPEN = (
    RegressionState.REGRESSION_STATE_SUSPECTED,
    RegressionState.REGRESSION_STATE_CONFIRMED,
    RegressionState.REGRESSION_STATE_ACKNOWLEDGED,
    RegressionState.REGRESSION_STATE_ASSIGNED,
)
_MOST_MEMBERS = 20
_MOST_COMMITS = 10


def regression_columns(now: datetime) -> Sequence[Column[Regression]]:
    """The columns of a list of findings."""
    return (
        Column[Regression](title="ID", value=lambda item: short_id(item.name)),
        Column[Regression](title="PROJECT", value=lambda item: item.project, wide=True),
        Column[Regression](title="KIND", value=kind_of, text=lambda item: kind_of(item).replace("_", " "), wide=True),
        Column[Regression](
            title="SEVERITY",
            value=lambda item: word(Severity, item.severity),
            style=lambda item: style_of(word(Severity, item.severity)),
        ),
        Column[Regression](title="STATE", value=state_of, style=lambda item: style_of(state_of(item))),
        Column[Regression](title="CASE", value=_about, text=_about_text, whole=True, shrink=True),
        Column[Regression](title="METRIC", value=lambda item: item.evidence.metric),
        Column[Regression](title="CHANGE", value=change_of, text=lambda item: change(change_of(item)), right=True),
        Column[Regression](
            title="SERIES", field="member_count", value=lambda item: item.member_count or None, wide=True
        ),
        Column[Regression](title="CAUSE", value=cause_of),
        Column[Regression](title="DEVICE", value=lambda item: item.device_model or item.evidence.device, wide=True),
        Column[Regression](title="RUN", value=lambda item: short_id(item.run) if item.run else None),
        Column[Regression](
            title="COMMIT",
            value=lambda item: item.revision.commit,
            text=lambda item: short_commit(item.revision.commit),
            whole=True,
        ),
        Column[Regression](title="OWNER", value=lambda item: item.owner, wide=True),
        Column[Regression](title="DRILL", value=lambda item: item.drill, wide=True),
        Column[Regression](
            title="AGE",
            field="create_time",
            value=lambda item: iso(moment(item, "create_time")),
            text=lambda item: ago(moment(item, "create_time"), now=now),
        ),
    )


def regression_details(item: Regression, now: datetime) -> list[tuple[str, str]]:
    """What a person wants to know about one finding; what is not known is left out."""
    pairs = [
        ("Regression", short_id(item.name)),
        ("Project", item.project),
        ("Kind", kind_of(item).replace("_", " ") if item.kind > FindingKind.FINDING_KIND_REGRESSION else ""),
        ("State", state_of(item) + (" (drill)" if item.drill else "") + _until(item)),
        ("Severity", word(Severity, item.severity)),
        *_what(item),
        *_why(item),
        ("First seen", _first_seen(item, now)),
        ("Commit", item.revision.commit),
        ("Branch", item.branch or item.revision.branch),
        ("Policy", item.policy),
        ("Owner", item.owner),
        ("Duplicate of", short_id(item.duplicate_of) if item.duplicate_of else ""),
        ("Detector", _feedback(item)),
        ("Reproduce", item.reproduce or reproduce_command(None, item.evidence)),
    ]
    pairs += [
        (f"Series {place}", _member(member)) for place, member in enumerate(item.members[:_MOST_MEMBERS], start=1)
    ]
    if len(item.members) > _MOST_MEMBERS:
        pairs.append(("More series", str(len(item.members) - _MOST_MEMBERS)))
    pairs += [(f"Event {place}", _event(event)) for place, event in enumerate(item.events, start=1)]
    # As a shell reads it, so that a whole line can be taken.
    pairs += [("Next", f"{step.command}  # {step.what}" if step.command else step.what) for step in item.next_steps]
    return [(label, value) for label, value in pairs if value]


def _what(item: Regression) -> list[tuple[str, str]]:
    entry = item.evidence
    if not entry.case.id:
        return [
            ("Summary", item.summary),
            ("About", item.subject),
            ("Device", item.device_model),
            ("Change", change(change_of(item)) if item.HasField("change") else ""),
        ]
    return [
        ("Case", entry.case.id),
        ("Metric", f"{entry.metric} on {entry.device}" if entry.device else entry.metric),
        ("Change", " ".join(filter(None, (change(_change(entry)), _interval(entry))))),
        ("Explanation", entry.explanation),
        ("Advice", entry.recommendation if item.state in _OPEN else ""),
    ]


def _interval(entry: ComparisonEntry) -> str:
    """The ends of the change; empty where only the history shows it."""
    known = entry.HasField("change_low") and entry.HasField("change_high")
    return change_interval(entry.change_low, entry.change_high) if known else ""


def _why(item: Regression) -> list[tuple[str, str]]:
    """Where it comes from, as far as that was looked for."""
    found = item.attribution
    sure = f" ({found.confidence:.0%})".replace("%", " %") if found.confidence else ""
    pairs = [("Cause", cause_of(item) + sure if cause_of(item) else "")]
    pairs += [(f"Evidence {place}", sentence) for place, sentence in enumerate(found.evidence, start=1)]
    pairs += [("Commits", _commits(item))]
    for changed in found.environment:
        where = f" on {', '.join(changed.hosts)}" if changed.hosts else ""
        pairs.append(("Environment", f"{changed.fact}: {changed.before or '-'} -> {changed.after or '-'}{where}"))
    pairs += [("Weighed", "; ".join(found.candidates)), ("Would tell", found.missing)]
    return pairs


def _commits(item: Regression) -> str:
    """`abc1234 (run 11) .. def5678 (run 12), 3 commits: ...`; empty when nothing is known of it."""
    span = item.attribution.commits
    if not span.first_bad_run and not span.first_bad_commit:
        return ""
    ends = [
        " ".join(filter(None, (short_commit(commit), f"(run {short_id(run)})" if run else "")))
        for commit, run in ((span.last_good_commit, span.last_good_run), (span.first_bad_commit, span.first_bad_run))
    ]
    text = " .. ".join(end or "?" for end in ends)
    if len(span.commits) > 1:
        shown = ", ".join(short_commit(commit) for commit in span.commits[:_MOST_COMMITS])
        more = ", ..." if len(span.commits) > _MOST_COMMITS else ""
        text += f"; {len(span.commits)} commits: {shown}{more}"
    runs = "1 run" if span.runs_between == 1 else f"{span.runs_between} runs"
    return text + (f"; {runs} in between cannot tell" if span.runs_between else "")


def _first_seen(item: Regression, now: datetime) -> str:
    run = f"run {short_id(item.run)}, " if item.run else ""
    return run + ago(moment(item, "create_time"), now=now)


def _until(item: Regression) -> str:
    return f" until {iso(moment(item, 'ignore_until'))}" if item.HasField("ignore_until") else ""


def _feedback(item: Regression) -> str:
    if not item.HasField("feedback"):
        return ""
    return ("was right" if item.feedback else "was wrong") + (f", says {item.feedback_by}" if item.feedback_by else "")


def kind_of(item: Regression) -> str:
    """The kind as a word; collectors of before know regressions alone."""
    return word(FindingKind, item.kind) or "regression"


def cause_of(item: Regression) -> str:
    """The cause as a word; empty when it has not been looked for."""
    return word(CauseKind, item.cause) or word(CauseKind, item.evidence.cause)


def state_of(item: Regression) -> str:
    """The state as a word."""
    return word(RegressionState, item.state)


def change_of(item: Regression) -> float | None:
    """How much it changed; positive is larger where a comparison shows it, and worse where none does."""
    if item.evidence.HasField("change"):
        return item.evidence.change
    return item.change if item.HasField("change") else None


def about(item: Regression) -> str:
    """What a finding is about, in short."""
    return item.evidence.case.id or item.subject


def _about(item: Regression) -> str:
    return about(item)


def _about_text(item: Regression) -> str:
    case = item.evidence.case
    return case_text(case.benchmark, parameters_text(case.id, case.parameters)) if case.id else item.subject


def _change(entry: ComparisonEntry) -> float | None:
    return entry.change if entry.HasField("change") else None


def _member(member: RegressionMember) -> str:
    entry = member.evidence
    size = change(_change(entry) if entry.HasField("change") else member.change)
    back = f", back since {iso(moment(member, 'return_time'))}" if member.HasField("return_time") else ""
    device = f" on {entry.device}" if entry.device else ""
    run = f", from run {short_id(member.run)}" if member.run else ""
    return f"{entry.case.id} {entry.metric}{device}: {size}, {word(Severity, member.severity)}{run}{back}"


def _event(event: RegressionEvent) -> str:
    when = iso(moment(event, "time")) or ""
    who = f"by {event.actor.name}" if event.actor.name else ""
    run = f"run {short_id(event.run)}" if event.run else ""
    return ", ".join(filter(None, (f"{when} {word(RegressionState, event.state)} {who}".strip(), run, event.comment)))
