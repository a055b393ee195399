"""What a comparison means for the regressions that are known: opened, left as they are, settled, closed.

Two looks. The first finds suspicions; the second, on a run made for it, settles them. Both are applied in the
transaction that stores the comparison, under a lock per project, so that two runs cannot open the same regression.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, Entry, rejudged
from tesserabench.analysis.confirmation import Answer, Confirmation
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.words import Reason, Verdict
from tesserabench.collector.core.comparisons import entry_json
from tesserabench.collector.core.finding_levels import has_level, is_likely_worse, is_no_worse
from tesserabench.collector.core.finding_life import SURE, TRANSITIONS, Event, Meeting, is_quiet, is_worse, meet
from tesserabench.collector.core.finding_occasion import Occasion, act_of, is_taken, series_ids_of, size_of
from tesserabench.collector.core.regressions import note, step
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store.tables import Regression, RegressionMember
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, RegressionState, Severity
from tesserabench.wire.names import regression_name, run_name

_RETURNABLE = (RegressionState.RESOLVED, RegressionState.VERIFIED)
"""Over, and by no person's answer."""
_LEVELS = (RegressionState.ACCEPTED, RegressionState.WONT_FIX)
"""Answers that are about a level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """A comparison with the regressions that its entries belong to."""

    comparison: Comparison
    regressions: Mapping[SeriesKey, int]
    suspected: tuple[SeriesKey, ...] = ()
    """Series that count only once they have been measured again, worst first."""


async def first_look(session: AsyncSession, comparison: Comparison, occasion: Occasion) -> Findings:
    """Open regressions for what got worse, recognise the known ones, and let the ignored ones pass."""
    await store.lock_project(session, occasion.run.project_id)
    regressed = _regressed(comparison)
    ids = await series_ids_of(session, occasion.run, regressed)
    rows = await _known(session, ids.values(), occasion)
    answered = await _answered_on_base(session, ids.values(), occasion)
    links: dict[SeriesKey, int] = {}
    suspected: list[SeriesKey] = []
    passed: dict[SeriesKey, Judgement] = {}
    for key, entry in regressed.items():
        row = rows.get(ids[key])
        shown = await _level_of(session, row, ids[key])
        meeting = _meeting(row, shown, entry, occasion.now)
        if row is not None and meeting is Meeting.IGNORED and row.state in _LEVELS and not is_no_worse(shown, entry):
            # A level was answered, and not whatever comes on top of it.
            meeting = Meeting.WORSE
        if row is not None and meeting in {Meeting.BACK, Meeting.WORSE} and await is_taken(session, row):
            meeting = Meeting.NEW
        if row is None or meeting is Meeting.NEW:
            there = answered.get(ids[key])
            shown = await _level_of(session, there, ids[key])
            meets = _meeting(there, shown, entry, occasion.now)
            known = there is not None and meets in {Meeting.IGNORED, Meeting.KNOWN}
            if there is not None and known and is_no_worse(shown, entry):
                passed[key], links[key] = _let_pass(entry.judgement, there), there.id
                continue
            row = await _suspect(session, ids[key], entry, occasion)
        elif meeting is Meeting.BACK:
            await _show(session, row, ids[key], entry, occasion)
            comment = f"back in {run_name(occasion.run.id)}: {size_of(entry)}"
            step(session, row, Event.SEEN, act_of(occasion, comment))
        elif meeting is Meeting.IGNORED:
            passed[key] = _let_pass(entry.judgement, row)
        links[key] = row.id
        if meeting.needs_second_look:
            suspected.append(key)
    return Findings(comparison=rejudged(comparison, passed), regressions=links, suspected=tuple(suspected))


async def second_look(
    session: AsyncSession,
    comparison: Comparison,
    confirmations: Mapping[SeriesKey, Confirmation],
    occasion: Occasion,
) -> Findings:
    """Settle what the first look suspected.

    Args:
        session: The transaction.
        comparison: The first look.
        confirmations: What measuring again says of each regressed series; others are taken as they are.
        occasion: The judged run.
    """
    await store.lock_project(session, occasion.run.project_id)
    regressed = _regressed(comparison)
    ids = await series_ids_of(session, occasion.run, regressed)
    rows = await _known(session, ids.values(), occasion)
    judgements = {key: confirmation.judgement for key, confirmation in confirmations.items()}
    links: dict[SeriesKey, int] = {}
    for key, entry in regressed.items():
        row = rows.get(ids[key])
        confirmation = confirmations.get(key)
        if row is None:
            continue
        links[key] = row.id
        if confirmation is not None:
            again = replace(entry, judgement=confirmation.judgement)
            await _settle(session, (row, ids[key]), confirmation.answer, again, occasion)
        if is_quiet(RegressionState(row.state)):
            judgements[key] = _let_pass(judgements.get(key, entry.judgement), row)
    return Findings(comparison=rejudged(comparison, judgements), regressions=links)


def confirmed_at_once(suspected: Iterable[SeriesKey], comparison: Comparison) -> dict[SeriesKey, Confirmation]:
    """The answers for a run whose gate asks for no second measurement."""
    judgements = {entry.series.key: entry.judgement for entry in comparison.entries}
    return {key: Confirmation(answer=Answer.REPRODUCED, judgement=judgements[key]) for key in suspected}


def has_open_suspicion(comparison: Comparison) -> bool:
    """Whether something was worse and could not be settled, was put down to the machine, or is likely worse.

    None of them must become what later runs are compared with: a machine at fault hides what the code did.
    """
    judgements = [entry.judgement for entry in comparison.entries]
    unsettled = any(one.reason is Reason.NOT_CONFIRMED or one.points_at_host for one in judgements)
    return unsettled or any(is_likely_worse(entry) for entry in comparison.entries)


def _regressed(comparison: Comparison) -> dict[SeriesKey, Entry]:
    """Entries that may become regressions: primary metrics, so that one cause has one finding."""
    return {
        entry.series.key: entry
        for entry in comparison.entries
        if entry.series.primary and entry.judgement.verdict is Verdict.REGRESSED
    }


async def _known(session: AsyncSession, series_ids: Iterable[int], occasion: Occasion) -> dict[int, Regression]:
    """By series what is known of it on the run's branch; a duplicate stands for the open finding that it repeats."""
    rows = await store.newest_of(session, series_ids, branch=occasion.line, drill=occasion.run.drill)
    for series_id, row in rows.items():
        if row.state == RegressionState.DUPLICATE and row.duplicate_of is not None:
            original = await session.get_one(Regression, row.duplicate_of, with_for_update=True)
            if original.state in OPEN_REGRESSION_STATES:
                rows[series_id] = original
    return rows


async def _answered_on_base(
    session: AsyncSession, series_ids: Iterable[int], occasion: Occasion
) -> dict[int, Regression]:
    """By series what is confirmed, accepted, ignored or will not be mended on the branch that the run is compared with.

    A branch has what it was made from; it is compared with an older run, from before that level, because no run with
    an open finding becomes what others are compared with, and none of an answered level may be on the same host yet.
    """
    if occasion.base_line is None:
        return {}
    rows = await store.newest_of(session, series_ids, branch=occasion.base_line, drill=occasion.run.drill)
    return {
        series_id: row for series_id, row in rows.items() if is_quiet(RegressionState(row.state)) or row.state in SURE
    }


async def _level_of(session: AsyncSession, row: Regression | None, series_id: int) -> Mapping[str, Any]:
    """What a finding showed of a series: an entry of a comparison in JSON, empty when it showed nothing."""
    member = await store.member(session, row.id, series_id) if row is not None else None
    return member.evidence if member is not None else {}


def _meeting(row: Regression | None, shown: Mapping[str, Any], entry: Entry, now: datetime) -> Meeting:
    severity = _severity(entry)
    if row is None:
        return meet(None, None, None, severity, now)
    known = (RegressionState(row.state), Severity(row.severity), row.updated_at)
    return meet(*known, severity, now, on_top=has_level(entry.base.value, shown))


def _severity(entry: Entry) -> Severity:
    assert entry.judgement.severity is not None
    return Severity(entry.judgement.severity.value)


async def _suspect(session: AsyncSession, series_id: int, entry: Entry, occasion: Occasion) -> Regression:
    rule = occasion.terms.rule_of(entry) if occasion.terms else None
    row = Regression(
        project_id=occasion.run.project_id,
        series_id=series_id,
        suite=entry.series.suite,
        device_key=entry.series.key.device,
        branch=occasion.line,
        state=RegressionState.SUSPECTED.value,
        severity=_severity(entry).value,
        change=entry.judgement.worsening,
        evidence={},
        owner=rule.owner if rule else "",
        alert=rule.alerting if rule else "",
        policy=occasion.terms.name if occasion.terms else "",
        drill=occasion.run.drill,
        run_id=occasion.run.id,
        created_at=occasion.now,
    )
    session.add(row)
    await session.flush()
    await _show(session, row, series_id, entry, occasion)
    note(session, row, act_of(occasion, f"seen in {run_name(occasion.run.id)}: {size_of(entry)}"))
    return row


async def _show(session: AsyncSession, row: Regression, series_id: int, entry: Entry, occasion: Occasion) -> None:
    """Let a finding show this entry as its evidence."""
    evidence, severity = entry_json(entry, row.id), _severity(entry)
    change = entry.judgement.worsening or 0.0
    member = await store.member(session, row.id, series_id)
    if member is None:
        member = RegressionMember(regression_id=row.id, series_id=series_id, run_id=occasion.run.id)
        session.add(member)
    member.change, member.severity, member.evidence, member.returned_at = change, severity.value, evidence, None
    row.updated_at = occasion.now
    if series_id == row.series_id:
        row.severity, row.change, row.evidence = severity.value, change, evidence
        row.base_run_id = occasion.base_run_id
    elif is_worse(severity, Severity(row.severity)):
        row.severity, row.change = severity.value, change


async def _settle(
    session: AsyncSession, what: tuple[Regression, int], answer: Answer, entry: Entry, occasion: Occasion
) -> None:
    row, series_id = what
    state = RegressionState(row.state)
    if answer is Answer.NOT_REPRODUCED and (state, Event.NOT_REPRODUCED) in TRANSITIONS:
        step(session, row, Event.NOT_REPRODUCED, act_of(occasion, "not reproduced"))
    elif answer is Answer.REPRODUCED and (is_quiet(state) or state in OPEN_REGRESSION_STATES):
        worse = is_worse(_severity(entry), Severity(row.severity)) or (
            state in _LEVELS and not is_no_worse(await _level_of(session, row, series_id), entry)
        )
        if is_quiet(state) and not worse:
            return
        row.confirming_run_id = occasion.confirming_run_id
        await _show(session, row, series_id, entry, occasion)
        comment = ("" if occasion.confirming_run_id else "not ") + f"measured again: {size_of(entry)}"
        if worse and (state, Event.WORSENED) in TRANSITIONS:
            step(session, row, Event.WORSENED, act_of(occasion, f"worse than before, {comment}"))
        elif state is not RegressionState.CONFIRMED:
            step(session, row, Event.REPRODUCED, act_of(occasion, comment))
    elif answer is Answer.REPRODUCED and state in _RETURNABLE and not await is_taken(session, row):
        # Another run that shared the suspicion could not show it again, and this one did.
        row.confirming_run_id = occasion.confirming_run_id
        await _show(session, row, series_id, entry, occasion)
        step(session, row, Event.RECURRED, act_of(occasion, f"measured again: {size_of(entry)}"))


def _let_pass(judgement: Judgement, row: Regression) -> Judgement:
    known_as = {RegressionState.ACCEPTED: "accepted", RegressionState.WONT_FIX: "not to be fixed"}
    usual = "open where it comes from" if row.state in OPEN_REGRESSION_STATES else "ignored"
    said = known_as.get(RegressionState(row.state), usual)
    explanation = f"{judgement.explanation} It is {said} as {regression_name(row.id)}."
    return replace(
        judgement, verdict=Verdict.PASS, reason=None, severity=None, explanation=explanation, recommendation=""
    )
