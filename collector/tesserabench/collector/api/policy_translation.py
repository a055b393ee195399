"""Policies as messages."""

from datetime import datetime

from tesserabench.analysis.policy_trial_summary import Finding, Totals
from tesserabench.analysis.rules import PolicyChange
from tesserabench.analysis.words import Severity
from tesserabench.collector.api.enums import number as enum_number
from tesserabench.collector.api.translation import timestamp
from tesserabench.collector.core.policies import BUILT_IN
from tesserabench.collector.core.policy_trials import Progress, Report
from tesserabench.collector.store.policy_tables import PolicyRevision
from tesserabench.v1 import measurement_pb2, policy_service_pb2, run_pb2
from tesserabench.wire.names import policy_name, run_name


def policy_message(
    project: str, row: PolicyRevision | None, *, current: int | None, text: bool = True, number: bool = True
) -> policy_service_pb2.Policy:
    """A revision as a message; None is what is built in.

    Args:
        project: Its project.
        row: The revision.
        current: Number of the one in force.
        text: Whether to include the file.
        number: Whether it has a number yet.
    """
    if row is None:
        return policy_service_pb2.Policy(name=policy_name(project, BUILT_IN), current=current == BUILT_IN)
    return policy_service_pb2.Policy(
        name=policy_name(project, row.revision) if number else "",
        revision=row.revision if number else 0,
        text=row.text if text else "",
        comment=row.comment,
        create_time=timestamp(row.created_at),
        created_by=run_pb2.Actor(name=row.created_by),
        current=current == row.revision,
        rules=row.rules,
    )


def change_message(change: PolicyChange) -> policy_service_pb2.PolicyChange:
    """One line of a difference as a message."""
    return policy_service_pb2.PolicyChange(
        kind=policy_service_pb2.PolicyChangeKind.Value(f"POLICY_CHANGE_KIND_{change.kind.upper()}"),
        rule=change.rule,
        setting=change.setting,
        before=change.before,
        after=change.after,
    )


def progress_message(progress: Progress) -> policy_service_pb2.PolicyTestProgress:
    """How far a trial is, as a message."""
    return policy_service_pb2.PolicyTestProgress(phase=progress.phase, done=progress.done, total=progress.total)


def report_message(report: Report, since: datetime) -> policy_service_pb2.PolicyTestReport:
    """What came of a trial, as a message."""
    trial = report.trial

    def totals(counts: Totals) -> policy_service_pb2.PolicyTestTotals:
        return policy_service_pb2.PolicyTestTotals(
            failed_runs=counts.failed_runs,
            inconclusive_runs=counts.inconclusive_runs,
            findings=counts.findings,
            alerts=counts.alerts,
            alerts_per_week=trial.alerts_per_week(counts, since, report.until),
            **{severity.value: counts.by_severity.get(severity, 0) for severity in Severity},
        )

    return policy_service_pb2.PolicyTestReport(
        revision=report.revision,
        since=timestamp(since),
        until=timestamp(report.until),
        runs=trial.runs,
        series=trial.series,
        histories=report.histories,
        current=totals(trial.before),
        candidate=totals(trial.after),
        findings=map(_finding_message, trial.findings),
        rules=[
            policy_service_pb2.PolicyTestRule(
                rule=count.rule, results=count.results, findings_before=count.before, findings_after=count.after
            )
            for count in trial.rules
        ],
    )


def _finding_message(finding: Finding) -> policy_service_pb2.PolicyTestFinding:
    series, before, after = finding.pair.series, finding.pair.before, finding.pair.after
    return policy_service_pb2.PolicyTestFinding(
        outcome=policy_service_pb2.PolicyTestOutcome.Value(f"POLICY_TEST_OUTCOME_{finding.outcome.upper()}"),
        kind=finding.pair.kind,
        run=run_name(finding.run_id),
        time=timestamp(finding.at),
        case=measurement_pb2.Case(
            id=series.key.case_id, suite=series.suite, benchmark=series.benchmark, parameters=series.parameters
        ),
        mode=enum_number(measurement_pb2.TimingMode, series.key.mode),
        metric=series.key.metric,
        device=series.key.device,
        branch=finding.line,
        worsening=finding.pair.worsening,
        before=enum_number(run_pb2.Severity, before.severity or ""),
        after=enum_number(run_pb2.Severity, after.severity or ""),
        rule_before=before.rule,
        rule_after=after.rule,
        alert_before=before.found and before.alerts,
        alert_after=after.found and after.alerts,
    )
