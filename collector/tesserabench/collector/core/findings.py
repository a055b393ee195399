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
from tesserabench.analysis.rules.verdicts import Terms
from tesserabench.analysis.wording import percent
from tesserabench.analysis.words import Reason, Verdict
from tesserabench.collector.core.comparisons import entry_json
from tesserabench.collector.core.finding_evidence import FOUND_BY
from tesserabench.collector.core.finding_levels import has_level, is_likely_worse, is_no_worse
from tesserabench.collector.core.finding_life import CLEARLY_BACK, TRANSITIONS, Event, Meeting, is_quiet, is_worse, meet
from tesserabench.collector.core.regressions import DETECTOR, Act, note, returned, step
from tesserabench.collector.core.spec import GateSpec
from tesserabench.collector.store import baselines as baseline_store
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.tables import Regression, RegressionMember, Run
from tesserabench.collector.store.words import OPEN_REGRESSION_STATES, RegressionState, RunState, Severity
from tesserabench.wire.names import regression_name, run_name

_RETURNABLE = (RegressionState.RESOLVED, RegressionState.VERIFIED)
"""Over, and by no person's answer."""
_LEVELS = (RegressionState.ACCEPTED, RegressionState.WONT_FIX)
"""Answers that are about a level."""
_BLOCKING = (RegressionState.CONFIRMED, RegressionState.ACKNOWLEDGED, RegressionState.ASSIGNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """The judged run and what it is judged against."""

    run: Run
    line: str
    """What the run's findings are kept under: see `baselines.branch_line`."""
    base_run_id: int | None
    now: datetime
    confirming_run_id: int | None = None
    """The run that measured again, at the second look; none when nothing did."""
    terms: Terms | None = None
    """The policy that judged."""
    base_line: str | None = None
    """What findings of the branch that it is compared with are kept under; none where that is its own."""


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
    ids = await _series_ids(session, occasion.run, regressed)
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
        if row is not None and meeting in {Meeting.BACK, Meeting.WORSE} and await _is_taken(session, row):
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
            comment = f"back in {run_name(occasion.run.id)}: {_size(entry)}"
            step(session, row, Event.SEEN, _act(occasion, comment))
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
    ids = await _series_ids(session, occasion.run, regressed)
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


async def close_returned(session: AsyncSession, comparison: Comparison, occasion: Occasion) -> None:
    """Let the open findings of the run's branch know of their series that are back at the level of before.

    Back is clearly back (`CLEARLY_BACK`). A run compared with something of its own choosing says nothing about findings
    made against something else, and a drill nothing about those that are none.
    """
    back = {
        entry.series.key: entry
        for entry in comparison.entries
        if entry.series.primary
        and entry.judgement.verdict in {Verdict.PASS, Verdict.IMPROVED}
        and entry.judgement.worsening is not None
        and entry.judgement.worsening < entry.judgement.minimum_effect * CLEARLY_BACK
    }
    ids = await _series_ids(session, occasion.run, back)
    keys = {series_id: key for key, series_id in ids.items()}
    base = occasion.base_run_id
    by_hand = base is not None and await baseline_store.set_by_hand(session, base)
    touched: dict[int, tuple[Regression, list[str]]] = {}
    for member, row, first in await store.open_on(session, keys, branch=occasion.line, only_drills=occasion.run.drill):
        entry = back[keys[member.series_id]]
        if not _speaks_of(occasion.run, row, first):
            continue
        if has_level(entry.base.value, member.evidence):
            # As bad as what it is compared with: nothing came back. Where a person moved that there, it is accepted.
            if by_hand and FOUND_BY not in row.attribution:
                _accept_moved(session, row, occasion)
            continue
        member.returned_at = member.returned_at or occasion.now
        touched.setdefault(row.id, (row, []))[1].append(_size(entry))
    await session.flush()
    for row, sizes in touched.values():
        if await store.still_worse(session, row.id) == 0 and not await _is_taken(session, row):
            comment = f"level returned in {run_name(occasion.run.id)}: {', '.join(sizes)}"
            returned(session, row, _act(occasion, comment))


async def is_still_worse(session: AsyncSession, comparison: Comparison, occasion: Occasion) -> bool:
    """Whether the run is within the limits, but not clearly back from what an open finding says of one of its series.

    Such a run must not become what later ones are compared with: each could be a little worse than the one before.
    """
    primary = [entry.series.key for entry in comparison.entries if entry.series.primary]
    ids = await _series_ids(session, occasion.run, primary)
    rows = await store.open_on(session, ids.values(), branch=occasion.line, only_drills=False)
    return any(
        member.returned_at is None and row.state in _BLOCKING and not row.drill and FOUND_BY not in row.attribution
        for member, row, _ in rows
    )


def _accept_moved(session: AsyncSession, row: Regression, occasion: Occasion) -> None:
    """Nothing came back: what runs are compared with was moved to the worse level, which accepts it."""
    if (RegressionState(row.state), Event.ACCEPTED) in TRANSITIONS:
        base = f"{run_name(occasion.base_run_id)} has" if occasion.base_run_id is not None else "they have"
        step(session, row, Event.ACCEPTED, _act(occasion, f"what runs are compared with was moved: {base} its level"))


def _speaks_of(run: Run, row: Regression, first: Run | None) -> bool:
    """Whether a run's level says anything about a finding: made later, and against the same."""
    if first is None:
        return True
    same_base = GateSpec.from_json(first.gate).baseline == GateSpec.from_json(run.gate).baseline
    # What is being measured again is settled by that, not by a run that happened to end meanwhile; a run that was
    # cancelled instead settles nothing any more.
    settled = row.state != RegressionState.SUSPECTED or first.state == RunState.FINISHED
    return same_base and settled and first.id < run.id


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


async def _series_ids(session: AsyncSession, run: Run, keys: Iterable[SeriesKey]) -> dict[SeriesKey, int]:
    wanted = {(key.case_id, key.mode, key.metric, key.device): key for key in keys}
    found = await result_store.series_ids(session, run.project_id, wanted)
    return {wanted[columns]: series_id for columns, series_id in found.items()}


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
        series_id: row
        for series_id, row in rows.items()
        if is_quiet(RegressionState(row.state)) or row.state in _BLOCKING
    }


async def _is_taken(session: AsyncSession, row: Regression) -> bool:
    """Whether a closed finding of several series cannot open again, because another one is open for its first."""
    return row.state not in OPEN_REGRESSION_STATES and await store.blocking(session, row) is not None


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
    note(session, row, _act(occasion, f"seen in {run_name(occasion.run.id)}: {_size(entry)}"))
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
        row.severity = severity.value


async def _settle(
    session: AsyncSession, what: tuple[Regression, int], answer: Answer, entry: Entry, occasion: Occasion
) -> None:
    row, series_id = what
    state = RegressionState(row.state)
    if answer is Answer.NOT_REPRODUCED and (state, Event.NOT_REPRODUCED) in TRANSITIONS:
        step(session, row, Event.NOT_REPRODUCED, _act(occasion, "not reproduced"))
    elif answer is Answer.REPRODUCED and (is_quiet(state) or state in OPEN_REGRESSION_STATES):
        worse = is_worse(_severity(entry), Severity(row.severity)) or (
            state in _LEVELS and not is_no_worse(await _level_of(session, row, series_id), entry)
        )
        if is_quiet(state) and not worse:
            return
        row.confirming_run_id = occasion.confirming_run_id
        await _show(session, row, series_id, entry, occasion)
        comment = ("" if occasion.confirming_run_id else "not ") + f"measured again: {_size(entry)}"
        if worse and (state, Event.WORSENED) in TRANSITIONS:
            step(session, row, Event.WORSENED, _act(occasion, f"worse than before, {comment}"))
        elif state is not RegressionState.CONFIRMED:
            step(session, row, Event.REPRODUCED, _act(occasion, comment))
    elif answer is Answer.REPRODUCED and state in _RETURNABLE and not await _is_taken(session, row):
        # Another run that shared the suspicion could not show it again, and this one did.
        row.confirming_run_id = occasion.confirming_run_id
        await _show(session, row, series_id, entry, occasion)
        step(session, row, Event.RECURRED, _act(occasion, f"measured again: {_size(entry)}"))


def _let_pass(judgement: Judgement, row: Regression) -> Judgement:
    known_as = {RegressionState.ACCEPTED: "accepted", RegressionState.WONT_FIX: "not to be fixed"}
    usual = "open where it comes from" if row.state in OPEN_REGRESSION_STATES else "ignored"
    said = known_as.get(RegressionState(row.state), usual)
    explanation = f"{judgement.explanation} It is {said} as {regression_name(row.id)}."
    return replace(
        judgement, verdict=Verdict.PASS, reason=None, severity=None, explanation=explanation, recommendation=""
    )


def _act(occasion: Occasion, comment: str) -> Act:
    run_id = occasion.confirming_run_id or occasion.run.id
    return Act(actor=DETECTOR, comment=comment, now=occasion.now, run_id=run_id)


def _size(entry: Entry) -> str:
    change = entry.judgement.change
    return f"{entry.series.key.metric} {percent(change)}" if change is not None else entry.series.key.metric
