"""Runs and their log lines."""

from collections.abc import Sequence
from datetime import datetime

from tesserabench.cli.output.table import Column
from tesserabench.cli.output.words import ago, iso, moment, word
from tesserabench.cli.parsing import short_id
from tesserabench.cli.views.verdicts import or_unknown, short_commit, style_of
from tesserabench.report.quantity import duration
from tesserabench.v1.measurement_pb2 import Outcome
from tesserabench.v1.run_pb2 import (
    Attempt,
    AttemptState,
    GateSpec,
    Look,
    Run,
    RunState,
    Severity,
    Tier,
    TriggerKind,
    Verdict,
)
from tesserabench.v1.run_service_pb2 import LogEntry


def run_columns(now: datetime) -> Sequence[Column[Run]]:
    """The columns of a list of runs."""
    return (
        Column[Run](title="RUN", value=lambda run: short_id(run.name)),
        Column[Run](title="PROJECT", value=lambda run: run.project, wide=True),
        Column[Run](title="SUITE", value=lambda run: run.spec.suite, shrink=True),
        Column[Run](title="TIER", value=lambda run: word(Tier, run.spec.tier), wide=True),
        Column[Run](title="STATE", value=lambda run: word(RunState, run.state)),
        Column[Run](title="OUTCOME", value=lambda run: word(Outcome, run.outcome), style=_outcome_style),
        Column[Run](title="VERDICT", value=lambda run: word(Verdict, run.verdict), style=_verdict_style),
        Column[Run](title="SEVERITY", value=lambda run: word(Severity, run.severity)),
        Column[Run](title="BRANCH", value=lambda run: run.revision.branch, shrink=True),
        Column[Run](
            title="COMMIT",
            value=lambda run: run.revision.commit,
            text=lambda run: short_commit(run.revision.commit),
            whole=True,
        ),
        Column[Run](
            title="AGE", field="create_time", value=_created, text=lambda run: ago(moment(run, "create_time"), now=now)
        ),
        Column[Run](title="HOSTS", value=_hosts, wide=True),
        Column[Run](title="TRIGGER", value=lambda run: word(TriggerKind, run.trigger), wide=True),
        Column[Run](title="REQUESTED BY", value=lambda run: run.requested_by.name, wide=True),
        Column[Run](title="BUILD", field="build_url", value=lambda run: run.revision.build_url, wide=True),
        Column[Run](title="REASON", value=lambda run: run.reason or run.verdict_reason, wide=True),
    )


def run_details(run: Run, now: datetime) -> list[tuple[str, str]]:
    """What a person wants to know about one run; what is not known is left out."""
    revision = run.revision
    pairs = [
        ("Run", short_id(run.name)),
        ("Project", run.project),
        ("Suite", f"{run.spec.suite} ({word(Tier, run.spec.tier) or 'default tier'})"),
        ("Device", run.spec.device),
        ("State", word(RunState, run.state)),
        ("Progress", _progress(run)),
        ("Outcome", word(Outcome, run.outcome)),
        ("Reason", run.reason),
        ("Failures", ", ".join(f"{count} {outcome}" for outcome, count in sorted(run.failures.items()))),
        ("Verdict", " ".join(filter(None, (word(Verdict, run.verdict), word(Severity, run.severity))))),
        ("Verdict reason", run.verdict_reason),
        ("Baseline", run.gate.baseline),
        ("Measured again", _again(run.gate)),
        ("Commit", revision.commit),
        ("Branch", revision.branch),
        ("Base branch", revision.base_branch),
        ("Pull request", revision.pull_request),
        ("Repository", revision.repository),
        ("Build", revision.build_url),
        ("Drill", ", ".join(f"{name} x{factor:g}" for name, factor in sorted(run.spec.drill.items()))),
        ("Arm B", _arm_b(run)),
        ("Labels", ", ".join(f"{key}={value}" for key, value in sorted(run.labels.items()))),
        (
            "Requested",
            " ".join(filter(None, (f"by {run.requested_by.name}" if run.requested_by.name else "", _age(run, now)))),
        ),
        ("Trigger", word(TriggerKind, run.trigger)),
        ("Repeats", short_id(run.parent)),
        ("Took", _took(run)),
    ]
    pairs += [(f"Attempt {short_id(attempt.name)}", _attempt(attempt)) for attempt in run.attempts]
    pairs += [(f"Look {look.number}", _look(look)) for look in run.looks]
    return [(label, value) for label, value in pairs if value]


def log_columns() -> Sequence[Column[LogEntry]]:
    """The columns of log lines as CSV."""
    return (
        Column[LogEntry](title="TIME", value=lambda entry: iso(moment(entry, "time"))),
        Column[LogEntry](title="HOST", value=lambda entry: entry.host),
        Column[LogEntry](title="TRIAL", value=lambda entry: entry.trial if entry.HasField("trial") else None),
        Column[LogEntry](title="SOURCE", value=lambda entry: entry.source),
        Column[LogEntry](title="TEXT", value=lambda entry: entry.text),
    )


def _outcome_style(run: Run) -> str:
    return style_of(word(Outcome, run.outcome))


def _verdict_style(run: Run) -> str:
    return style_of(word(Verdict, run.verdict))


def _created(run: Run) -> str | None:
    return iso(moment(run, "create_time"))


def _age(run: Run, now: datetime) -> str:
    return f"{ago(moment(run, 'create_time'), now=now)}" if run.HasField("create_time") else ""


def _hosts(run: Run) -> str:
    return " ".join(sorted({attempt.host for attempt in run.attempts if attempt.host}))


def _progress(run: Run) -> str:
    progress = run.progress
    if not progress.cases_total:
        return ""
    current = f", {progress.current_case} ({progress.phase})" if progress.current_case and progress.phase else ""
    return f"{progress.cases_done}/{progress.cases_total} cases{current}"


def _again(gate: GateSpec) -> str:
    """What was asked for beyond one look at suspects."""
    if gate.HasField("confirm") and not gate.confirm:
        return "nothing, the first look counts"
    told = f"what is undecided, up to {gate.looks} time{'' if gate.looks == 1 else 's'}" if gate.looks else ""
    budget = f"within {duration(gate.budget.ToNanoseconds() / 1e9)}" if gate.HasField("budget") else ""
    return " ".join(filter(None, (told or (budget and "what is undecided"), budget)))


def _look(look: Look) -> str:
    """A look that follows the first one: who measures what, and how it ended."""
    cases = f"{look.cases} case{'' if look.cases == 1 else 's'}"
    turns = " in turns with the base" if look.interleaved else ""
    state = word(Outcome, look.outcome) or word(RunState, look.state)
    reason = f": {look.reason}" if look.reason else ""
    hosts = " ".join(look.hosts)
    return f"run {short_id(look.run)} on {hosts}, {cases} in {look.launches} launches{turns}, {state}{reason}"


def _arm_b(run: Run) -> str:
    """What arm B has otherwise, in a run that compares two."""
    if not run.spec.HasField("duet"):
        return ""
    told = ", ".join(f"{item.parameter}={item.value}" for item in run.spec.duet.overrides)
    return told or "the same as arm A (null control)"


def _took(run: Run) -> str:
    start, end = moment(run, "start_time"), moment(run, "end_time")
    return duration((end - start).total_seconds()) if start and end else ""


def _attempt(attempt: Attempt) -> str:
    state = word(Outcome, attempt.outcome) or word(AttemptState, attempt.state)
    reason = f": {attempt.reason}" if attempt.reason else ""
    return f"{or_unknown(attempt.host)}, {state}{reason}"


def _commit(item: Run) -> str:
    return short_commit(item.revision.commit)
