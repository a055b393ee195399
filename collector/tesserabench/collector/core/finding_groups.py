"""One cause, one finding: what was explained together is put under one finding, new or known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.attribution import Attribution, Cause
from tesserabench.analysis.wording import percent
from tesserabench.collector.core import finding_evidence, regressions
from tesserabench.collector.core.attributions import attribution_json, named_by_runs
from tesserabench.collector.core.finding_evidence import FOUND_BY, HISTORY
from tesserabench.collector.core.finding_life import TRANSITIONS, Event, is_worse
from tesserabench.collector.core.regressions import DETECTOR, Act, NewFinding, Subject, note, step
from tesserabench.collector.core.series_rules import rule_in_force
from tesserabench.collector.store import finding_changes as store
from tesserabench.collector.store import regressions as regression_store
from tesserabench.collector.store.history_tables import ChangePoint
from tesserabench.collector.store.tables import Regression, RegressionMember, Series
from tesserabench.collector.store.words import (
    OPEN_REGRESSION_STATES,
    CauseWord,
    FindingKind,
    RegressionState,
    Severity,
)
from tesserabench.wire.names import regression_name, run_name

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What one cause explains."""

    attribution: Attribution
    changes: Sequence[tuple[ChangePoint, Series]]
    findings: Sequence[tuple[Regression, Series]]
    """Findings of runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """Where and when."""

    project_id: int
    line: str
    now: datetime


async def take_up(session: AsyncSession, matter: Matter, groups: Sequence[Group]) -> int:
    """Put every group under one finding; gives how many findings were made or told their cause."""
    await regression_store.lock_project(session, matter.project_id)
    count = 0
    for group in groups:
        fresh = await _fresh(session, group)
        if fresh is not None:
            await _take_up_one(session, matter, fresh)
            count += 1
    return count


def tell_unknown(row: Regression) -> None:
    """Nothing is stored that could tell where a finding comes from: it is not asked for again."""
    row.cause = CauseWord.UNKNOWN.value
    row.attribution = {"cause": "CAUSE_KIND_UNKNOWN", "missing": "Nothing else is stored of the runs around it."}


async def _fresh(session: AsyncSession, group: Group) -> Group | None:
    """The group as it is now that nobody else changes it; none when there is nothing to do any more."""
    locked = await store.lock_changes(session, [change.id for change, _ in group.changes])
    changes = [(locked[change.id], series) for change, series in group.changes if change.id in locked]
    findings = []
    for read, series in group.findings:
        row = await session.get_one(Regression, read.id, with_for_update=True, populate_existing=True)
        if not row.cause and row.state in OPEN_REGRESSION_STATES:
            findings.append((row, series))
    if not findings and all(change.regression_id is not None for change, _ in changes):
        return None
    return Group(attribution=group.attribution, changes=changes, findings=findings)


async def _take_up_one(session: AsyncSession, matter: Matter, group: Group) -> None:
    # Under review a slow machine is the author's to see; only on the default branch is it the operators' business.
    if group.attribution.cause is Cause.HOST and group.attribution.devices and not matter.line:
        await _blame_machine(session, matter, group)
        return
    row = await _finding_of(session, matter, group)
    await _claim(session, matter, group, row)
    await _tell(session, matter, group, row)


async def _finding_of(session: AsyncSession, matter: Matter, group: Group) -> Regression:
    """The finding that stands for the group: one that is open for it, else a known one, else a new one."""
    claimed = [change.regression_id for change, _ in group.changes if change.regression_id is not None]
    for regression_id in claimed:
        known = await session.get_one(Regression, regression_id, with_for_update=True)
        if known.state in OPEN_REGRESSION_STATES and known.kind == FindingKind.REGRESSION:
            return known
    own = sorted(group.findings, key=lambda pair: _badness(pair[0]), reverse=True)
    if own:
        return own[0][0]
    rows = await store.of_series(session, [series.id for _, series in group.changes], matter.line)
    of_regressions = [row for _, row in rows if row.kind == FindingKind.REGRESSION]
    for row in of_regressions:
        if row.state in OPEN_REGRESSION_STATES:
            return row
    first = min(change.before_run_id or change.earliest_run_id or change.run_id for change, _ in group.changes)
    last = max(change.latest_run_id or change.run_id for change, _ in group.changes)
    for row in reversed(of_regressions):
        here = row.run_id is not None and first < row.run_id <= last and row.state != RegressionState.VERIFIED
        # A resolved one opens again for this, unless another one is open for its own series.
        if here and (row.state != RegressionState.RESOLVED or await regression_store.blocking(session, row) is None):
            return row
    return await _open(session, matter, group)


def _badness(row: Regression) -> tuple[int, float]:
    return list(Severity).index(Severity(row.severity)), row.change or 0.0


async def _open(session: AsyncSession, matter: Matter, group: Group) -> Regression:
    # Not one that belongs to a finding about a machine: its series would be no member of the new one.
    own = [pair for pair in group.changes if pair[0].regression_id is None]
    worst, series = max(own, key=lambda pair: abs(finding_evidence.worsening(pair[0])))
    policy, rule = await rule_in_force(session, series, matter.line)
    row = Regression(
        project_id=matter.project_id,
        kind=FindingKind.REGRESSION.value,
        series_id=series.id,
        suite=series.suite,
        device_key=series.device_key,
        branch=matter.line,
        state=RegressionState.CONFIRMED.value,
        severity=finding_evidence.severity_of(worst).value,
        change=finding_evidence.worsening(worst),
        evidence={},
        owner=rule.owner,
        alert=rule.alerting,
        policy=policy,
        run_id=worst.run_id,
        base_run_id=worst.before_run_id,
        created_at=matter.now,
        updated_at=matter.now,
        attribution={FOUND_BY: HISTORY},
    )
    session.add(row)
    await session.flush()
    row.evidence = finding_evidence.of_change(worst, series) | {"regression": regression_name(row.id)}
    comment = finding_evidence.sentence(worst, series)
    note(session, row, Act(actor=DETECTOR, comment=comment, now=matter.now, run_id=worst.run_id))
    _log.info("regression.opened", regression=row.id, kind=row.kind, series=series.id, run=worst.run_id)
    return row


async def _claim(session: AsyncSession, matter: Matter, group: Group, row: Regression) -> None:
    """Let every change and every finding of the group belong to one finding."""
    for change, series in group.changes:
        if change.regression_id is None:
            change.regression_id = row.id
            await _add_member(session, row, change, series)
    for other, series in group.findings:
        if other.id == row.id:
            continue
        if _may_join(group):
            await _join(session, matter, row, other, series)
        else:
            await _tell(session, matter, Group(attribution=group.attribution, changes=(), findings=()), other)


def _may_join(group: Group) -> bool:
    """Findings of runs are put together when their cause is known; unknown may be two causes."""
    return group.attribution.cause is not Cause.UNKNOWN


async def _add_member(session: AsyncSession, row: Regression, change: ChangePoint, series: Series) -> None:
    severity = finding_evidence.severity_of(change)
    known = await regression_store.member(session, row.id, series.id)
    if known is not None:
        known.change_point_id = change.id
        return
    session.add(
        RegressionMember(
            regression_id=row.id,
            series_id=series.id,
            change_point_id=change.id,
            run_id=change.run_id,
            change=finding_evidence.worsening(change),
            severity=severity.value,
            evidence=finding_evidence.of_change(change, series),
        )
    )
    await session.flush()
    if row.state in OPEN_REGRESSION_STATES and is_worse(severity, Severity(row.severity)):
        row.severity = severity.value


async def _join(session: AsyncSession, matter: Matter, row: Regression, other: Regression, series: Series) -> None:
    """A second finding of the same cause becomes a duplicate, its series members of the first."""
    for member, _ in await regression_store.members(session, other.id):
        if await regression_store.member(session, row.id, member.series_id) is None:
            session.add(
                RegressionMember(
                    regression_id=row.id,
                    series_id=member.series_id,
                    change_point_id=member.change_point_id,
                    run_id=member.run_id,
                    change=member.change,
                    severity=member.severity,
                    evidence=member.evidence,
                    returned_at=member.returned_at,
                )
            )
    other.duplicate_of = row.id
    comment = f"the same cause as {regression_name(row.id)}, which has {series.case_id} now"
    step(session, other, Event.DUPLICATE, Act(actor=DETECTOR, comment=comment, now=matter.now))
    regressions.hand_over_mark(row, other)
    other.cause, other.attribution = row.cause, dict(row.attribution)
    await session.flush()


async def _tell(session: AsyncSession, matter: Matter, group: Group, row: Regression) -> None:
    """Let the finding tell its cause, and what the history adds to what was known of it."""
    before, state = row.cause, RegressionState(row.state)
    row.cause = CauseWord(group.attribution.cause.value).value
    kept = {key: value for key, value in row.attribution.items() if key == FOUND_BY}
    row.attribution = await named_by_runs(session, _attribution(group, row)) | kept
    shown = f"cause: {row.cause}" + (f", {group.attribution.confidence:.0%} sure" if row.cause != "unknown" else "")
    seen = [finding_evidence.sentence(change, series) for change, series in group.changes][:1]
    act = Act(actor=DETECTOR, comment="; ".join([*seen, shown]), now=matter.now, run_id=row.run_id)
    if group.changes and state in {RegressionState.SUSPECTED, RegressionState.FIXED}:
        step(session, row, Event.REPRODUCED, act)
    elif group.changes and state is RegressionState.RESOLVED:
        step(session, row, Event.RECURRED, act)
    elif before != row.cause:
        note(session, row, act)


def _attribution(group: Group, row: Regression) -> dict[str, Any]:
    changes = [change for change, _ in group.changes]
    good = [change.before_run_id for change in changes if change.before_run_id is not None]
    between = {
        run_id
        for change in changes
        for run_id in (change.earliest_run_id, change.latest_run_id)
        if run_id is not None and run_id != change.run_id
    }
    return attribution_json(
        group.attribution,
        last_good_run=min(good) if good else row.base_run_id,
        first_bad_run=max((change.run_id for change in changes), default=row.run_id),
        runs_between=len(between),
    )


async def _blame_machine(session: AsyncSession, matter: Matter, group: Group) -> None:
    """Findings about the devices; the findings of runs that they explain are duplicates of the first of these."""
    found = [await _slow_device(session, matter, group, device) for device in group.attribution.devices]
    for change, series in group.changes:
        if change.regression_id is None:
            change.regression_id = found[0].id
            await _add_member(session, found[0], change, series)
    for other, series in group.findings:
        if (RegressionState(other.state), Event.DUPLICATE) in TRANSITIONS:
            await _join(session, matter, found[0], other, series)


async def _slow_device(session: AsyncSession, matter: Matter, group: Group, device: str) -> Regression:
    shifts = [finding_evidence.worsening(change) for change, _ in group.changes]
    shifts += [row.change for row, _ in group.findings if row.change is not None]
    severities = [finding_evidence.severity_of(change) for change, _ in group.changes]
    severities += [Severity(row.severity) for row, _ in group.findings]
    members = [series for _, series in (*group.changes, *group.findings)]
    first_run = min([change.run_id for change, _ in group.changes] + [row.run_id or 0 for row, _ in group.findings])
    host = next(iter(group.attribution.hosts), "")
    told = f"Device {device}" + (f" on {host}" if host else "")
    size = percent(max(shifts)).lstrip("+")
    new = NewFinding(
        subject=Subject(project_id=matter.project_id, kind=FindingKind.SLOW_DEVICE, id=f"devices/{device}"),
        summary=f"{told} became {size} slower from {run_name(first_run)} on; it is the device, not the code.",
        severity=max(severities, key=list(Severity).index),
        change=max(shifts),
        suite=members[0].suite,
        device_key=members[0].device_key,
        cause=CauseWord.HOST,
        attribution=attribution_json(
            group.attribution,
            last_good_run=min((c.before_run_id for c, _ in group.changes if c.before_run_id is not None), default=None),
            first_bad_run=first_run,
        ),
        run_id=first_run,
    )
    return await regressions.open_finding(session, new, now=matter.now)
