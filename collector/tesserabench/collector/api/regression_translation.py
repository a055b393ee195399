"""Findings as messages."""

from collections.abc import Sequence

from sqlalchemy import Row
from tesserabench.collector.api.enums import number
from tesserabench.collector.api.translation import from_json, revision_message, timestamp
from tesserabench.collector.core.finding_evidence import named, told
from tesserabench.collector.core.next_steps import next_steps
from tesserabench.collector.core.reproducing import reproduce_command
from tesserabench.collector.store.regressions import RegressionRow
from tesserabench.collector.store.tables import Regression, RegressionEvent, RegressionMember, Series
from tesserabench.v1 import comparison_pb2, run_pb2
from tesserabench.v1 import regression_service_pb2 as pb
from tesserabench.wire.names import regression_name, run_name


def regression_message(row: RegressionRow, *, member_count: int = 0) -> pb.Regression:
    """A finding without its history and its series."""
    regression, _, run, project = row
    message = pb.Regression(
        name=regression_name(regression.id),
        project=project,
        kind=number(pb.FindingKind, regression.kind),
        subject=regression.subject,
        summary=regression.summary,
        state=number(pb.RegressionState, regression.state),
        severity=number(run_pb2.Severity, regression.severity),
        cause=number(comparison_pb2.CauseKind, regression.cause),
        evidence=from_json(told(regression), comparison_pb2.ComparisonEntry()),
        change=regression.change,
        revision=revision_message(run) if run is not None else None,
        owner=regression.owner,
        create_time=timestamp(regression.created_at),
        update_time=timestamp(regression.updated_at),
        member_count=member_count,
        drill=regression.drill,
        policy=regression.policy,
        suite=regression.suite,
        device_model=regression.device_key,
        branch=regression.branch,
        reproduce=reproduce_command(regression),
    )
    if regression.attribution:
        message.attribution.CopyFrom(from_json(regression.attribution, pb.Attribution()))
    _add_runs(message, regression)
    _add_answers(message, regression)
    return message


def _add_runs(message: pb.Regression, regression: Regression) -> None:
    for field, run_id in (
        ("run", regression.run_id),
        ("base_run", regression.base_run_id),
        ("confirming_run", regression.confirming_run_id),
    ):
        if run_id is not None:
            setattr(message, field, run_name(run_id))


def _add_answers(message: pb.Regression, regression: Regression) -> None:
    if regression.ignored_until is not None:
        message.ignore_until.FromDatetime(regression.ignored_until)
    if regression.duplicate_of is not None:
        message.duplicate_of = regression_name(regression.duplicate_of)
    if regression.feedback is not None:
        message.feedback, message.feedback_by = regression.feedback, regression.feedback_by
    if regression.triaged_at is not None:
        message.triage_time.FromDatetime(regression.triaged_at)


def whole_regression_message(
    row: RegressionRow, events: Sequence[RegressionEvent], members: Sequence[Row[RegressionMember, Series]]
) -> pb.Regression:
    """A finding with its history and its series."""
    message = regression_message(row, member_count=len(members))
    message.events.extend(map(_event, events))
    message.members.extend(_member(member, series) for member, series in members)
    message.next_steps.extend(pb.NextStep(what=step.what, command=step.command) for step in next_steps(row[0]))
    return message


_OF_THE_DEVICE = (
    "name",
    "kind",
    "subject",
    "summary",
    "state",
    "severity",
    "cause",
    "change",
    "device_model",
    "create_time",
    "update_time",
)


def device_alone(message: pb.Regression) -> pb.Regression:
    """What a finding says of a device: without the project, series, runs and people that it came from."""
    return pb.Regression(**{field.name: value for field, value in message.ListFields() if field.name in _OF_THE_DEVICE})


def _event(event: RegressionEvent) -> pb.RegressionEvent:
    return pb.RegressionEvent(
        time=timestamp(event.at),
        state=number(pb.RegressionState, event.state),
        actor=run_pb2.Actor(name=event.actor),
        comment=event.comment,
        run=run_name(event.run_id) if event.run_id is not None else "",
    )


def _member(member: RegressionMember, series: Series) -> pb.RegressionMember:
    message = pb.RegressionMember(
        evidence=from_json(member.evidence or named(series), comparison_pb2.ComparisonEntry()),
        change=member.change,
        severity=number(run_pb2.Severity, member.severity),
        return_time=timestamp(member.returned_at),
    )
    if member.run_id is not None:
        message.run = run_name(member.run_id)
    return message
