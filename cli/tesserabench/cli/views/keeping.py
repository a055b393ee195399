"""Baselines, regressions and schedules."""

from collections.abc import Sequence
from datetime import datetime

from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import ago, iso, moment, word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.reproduce import reproduce_command
from tesserabench.cli.views.verdicts import case_text, parameters_text, short_commit, style_of
from tesserabench.report.quantity import change, change_interval, duration
from tesserabench.v1.baseline_service_pb2 import Baseline
from tesserabench.v1.comparison_pb2 import CauseKind, ComparisonEntry
from tesserabench.v1.regression_service_pb2 import Regression, RegressionEvent, RegressionState
from tesserabench.v1.run_pb2 import Severity, Tier
from tesserabench.v1.schedule_service_pb2 import Schedule


def baseline_columns(now: datetime) -> Sequence[Column[Baseline]]:
    """The columns of a list of baselines."""
    return (
        Column[Baseline](title="BASELINE", value=lambda item: id_of(item.name), shrink=True),
        Column[Baseline](title="SUITE", value=lambda item: item.suite, shrink=True),
        Column[Baseline](title="RUN", value=lambda item: short_id(item.run)),
        Column[Baseline](
            title="COMMIT",
            value=lambda item: item.revision.commit,
            text=lambda item: short_commit(item.revision.commit),
            whole=True,
        ),
        Column[Baseline](title="PINNED", value=lambda item: item.pinned),
        Column[Baseline](title="KEPT BY", value=lambda item: "collector" if item.automatic else "people"),
        Column[Baseline](
            title="MOVED",
            field="update_time",
            value=lambda item: iso(moment(item, "update_time")),
            text=lambda item: ago(moment(item, "update_time"), now=now),
        ),
        Column[Baseline](title="BY", value=lambda item: item.updated_by.name, wide=True),
        Column[Baseline](title="COMMENT", value=lambda item: item.comment, wide=True),
    )


def regression_columns(now: datetime) -> Sequence[Column[Regression]]:
    """The columns of a list of regressions."""
    return (
        Column[Regression](title="ID", value=lambda item: short_id(item.name)),
        Column[Regression](title="PROJECT", value=lambda item: item.project, wide=True),
        Column[Regression](
            title="SEVERITY",
            value=lambda item: word(Severity, item.severity),
            style=lambda item: style_of(word(Severity, item.severity)),
        ),
        Column[Regression](title="STATE", value=state_of, style=lambda item: style_of(state_of(item))),
        Column[Regression](title="CASE", value=lambda item: item.evidence.case.id, text=_case, whole=True, shrink=True),
        Column[Regression](title="METRIC", value=lambda item: item.evidence.metric),
        Column[Regression](
            title="CHANGE",
            value=lambda item: _change(item.evidence),
            text=lambda item: change(_change(item.evidence)),
            right=True,
        ),
        Column[Regression](title="DEVICE", value=lambda item: item.evidence.device, wide=True),
        Column[Regression](title="RUN", value=lambda item: short_id(item.run)),
        Column[Regression](
            title="COMMIT",
            value=lambda item: item.revision.commit,
            text=lambda item: short_commit(item.revision.commit),
            whole=True,
        ),
        Column[Regression](title="OWNER", value=lambda item: item.owner, wide=True),
        Column[Regression](title="CAUSE", value=lambda item: word(CauseKind, item.evidence.cause), wide=True),
        Column[Regression](title="DRILL", value=lambda item: item.drill, wide=True),
        Column[Regression](
            title="AGE",
            field="create_time",
            value=lambda item: iso(moment(item, "create_time")),
            text=lambda item: ago(moment(item, "create_time"), now=now),
        ),
    )


def regression_details(item: Regression, now: datetime) -> list[tuple[str, str]]:
    """What a person wants to know about one regression; what is not known is left out."""
    entry = item.evidence
    ends = (
        (entry.change_low, entry.change_high)
        if entry.HasField("change_low") and entry.HasField("change_high")
        else (None, None)
    )
    pairs = [
        ("Regression", short_id(item.name)),
        ("Project", item.project),
        ("State", state_of(item) + (" (drill)" if item.drill else "")),
        ("Severity", word(Severity, item.severity)),
        ("Case", entry.case.id),
        ("Metric", f"{entry.metric} on {entry.device}" if entry.device else entry.metric),
        ("Change", f"{change(_change(entry))} {change_interval(*ends)}"),
        ("Cause", word(CauseKind, entry.cause)),
        ("Explanation", entry.explanation),
        ("Next", entry.recommendation),
        ("First seen", f"run {short_id(item.run)}, {ago(moment(item, 'create_time'), now=now)}"),
        ("Commit", item.revision.commit),
        ("Branch", item.revision.branch),
        ("Owner", item.owner),
        ("Reproduce", reproduce_command(None, entry)),
    ]
    pairs += [(f"Event {place}", _event(event)) for place, event in enumerate(item.events, start=1)]
    return [(label, value) for label, value in pairs if value]


def schedule_columns(now: datetime) -> Sequence[Column[Schedule]]:
    """The columns of a list of schedules."""
    return (
        Column[Schedule](title="SCHEDULE", value=lambda item: id_of(item.name), shrink=True),
        Column[Schedule](title="SUITE", value=lambda item: item.spec.suite, shrink=True),
        Column[Schedule](title="TIER", value=lambda item: word(Tier, item.spec.tier)),
        Column[Schedule](
            title="EVERY",
            field="interval_seconds",
            value=lambda item: item.interval.ToNanoseconds() / 1e9,
            text=lambda item: duration(item.interval.ToNanoseconds() / 1e9),
        ),
        Column[Schedule](title="PAUSED", value=lambda item: item.paused),
        Column[Schedule](
            title="NEXT",
            field="next_time",
            value=lambda item: iso(moment(item, "next_time")),
            text=lambda item: "-" if item.paused else ago(moment(item, "next_time"), now=now),
        ),
        Column[Schedule](title="LAST RUN", value=lambda item: short_id(item.last_run)),
        Column[Schedule](
            title="LAST SUCCESS",
            field="last_success_time",
            value=lambda item: iso(moment(item, "last_success_time")),
            text=lambda item: ago(moment(item, "last_success_time"), now=now),
        ),
    )


def id_of(name: str) -> str:
    """The id in `projects/{project}/{collection}/{id}`; the id may hold slashes."""
    return name.split("/", 3)[3] if name.count("/") >= 3 else name


def state_of(item: Regression) -> str:
    """The state as a word."""
    return word(RegressionState, item.state)


def _case(item: Regression) -> str:
    case = item.evidence.case
    return case_text(case.benchmark, parameters_text(case.id, case.parameters))


def _change(entry: ComparisonEntry) -> float | None:
    return entry.change if entry.HasField("change") else None


def _event(event: RegressionEvent) -> str:
    when = iso(moment(event, "time")) or ""
    who = f"by {event.actor.name}" if event.actor.name else ""
    run = f"run {short_id(event.run)}" if event.run else ""
    return ", ".join(filter(None, (f"{when} {word(RegressionState, event.state)} {who}".strip(), run, event.comment)))


def _commit(item: Baseline | Regression) -> str:
    return short_commit(item.revision.commit)
