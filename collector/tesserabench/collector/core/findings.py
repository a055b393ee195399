"""What a comparison means for the regressions that are known: opened, left as they are, settled, closed.

Two looks. The first finds suspicions; the second, on a run made for it, settles them. Both are applied in the
transaction that stores the comparison, under a lock per project, so that two runs cannot open the same regression.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, Entry, rejudged
from tesserabench.analysis.confirmation import Answer, Confirmation
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.wording import percent
from tesserabench.analysis.words import Reason, Verdict
from tesserabench.collector.core.comparisons import entry_json
from tesserabench.collector.core.regressions import DETECTOR, Cause, Event, Meeting, is_worse, meet, note, step
from tesserabench.collector.core.spec import GateSpec
from tesserabench.collector.store import regressions as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.tables import Regression, Run
from tesserabench.collector.store.words import RegressionState, Severity
from tesserabench.wire.names import regression_name, run_name


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
    rows = await store.newest_of(session, ids.values(), branch=occasion.line, drill=occasion.run.drill)
    links: dict[SeriesKey, int] = {}
    suspected: list[SeriesKey] = []
    passed: dict[SeriesKey, Judgement] = {}
    for key, entry in regressed.items():
        row = rows.get(ids[key])
        meeting = _meeting(row, entry, occasion.now)
        if row is None or meeting is Meeting.NEW:
            row = await _suspect(session, ids[key], entry, occasion)
        elif meeting is Meeting.BACK:
            _show(row, entry, occasion)
            comment = f"back in {run_name(occasion.run.id)}: {_size(entry)}"
            step(session, row, Event.SEEN, _cause(occasion, comment))
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
    rows = await store.newest_of(session, ids.values(), branch=occasion.line, drill=occasion.run.drill)
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
            _settle(session, row, confirmation.answer, again, occasion)
        if row.state == RegressionState.IGNORED:
            judgements[key] = _let_pass(judgements.get(key, entry.judgement), row)
    return Findings(comparison=rejudged(comparison, judgements), regressions=links)


async def close_returned(session: AsyncSession, comparison: Comparison, occasion: Occasion) -> None:
    """Close the open regressions of the run's branch whose series is back at the level it is compared with.

    A run compared with something of its own choosing says nothing about regressions found against something else, and
    a drill nothing about those that are none.
    """
    back = {
        entry.series.key: entry
        for entry in comparison.entries
        if entry.series.primary
        and entry.judgement.verdict in {Verdict.PASS, Verdict.IMPROVED}
        and entry.judgement.worsening is not None
        and entry.judgement.worsening < entry.judgement.minimum_effect
    }
    ids = await _series_ids(session, occasion.run, back)
    keys = {series_id: key for key, series_id in ids.items()}
    run = occasion.run
    for row, first in await store.open_on(session, keys, branch=occasion.line, only_drills=run.drill):
        same_base = GateSpec.from_json(first.gate).baseline == GateSpec.from_json(run.gate).baseline
        # What is being measured again is settled by that, not by a run that happened to end meanwhile.
        settled = row.state != RegressionState.SUSPECTED or first.verdict is not None
        if same_base and settled and row.run_id < run.id:
            comment = f"level returned in {run_name(run.id)}: {_size(back[keys[row.series_id]])}"
            step(session, row, Event.RETURNED, _cause(occasion, comment))


def confirmed_at_once(suspected: Iterable[SeriesKey], comparison: Comparison) -> dict[SeriesKey, Confirmation]:
    """The answers for a run whose gate asks for no second measurement."""
    judgements = {entry.series.key: entry.judgement for entry in comparison.entries}
    return {key: Confirmation(answer=Answer.REPRODUCED, judgement=judgements[key]) for key in suspected}


def has_open_suspicion(comparison: Comparison) -> bool:
    """Whether something was suspected and could not be settled."""
    return any(entry.judgement.reason is Reason.NOT_CONFIRMED for entry in comparison.entries)


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


def _meeting(row: Regression | None, entry: Entry, now: datetime) -> Meeting:
    severity = _severity(entry)
    if row is None:
        return meet(None, None, None, severity, now)
    return meet(RegressionState(row.state), Severity(row.severity), row.updated_at, severity, now)


def _severity(entry: Entry) -> Severity:
    assert entry.judgement.severity is not None
    return Severity(entry.judgement.severity.value)


async def _suspect(session: AsyncSession, series_id: int, entry: Entry, occasion: Occasion) -> Regression:
    row = Regression(
        project_id=occasion.run.project_id,
        series_id=series_id,
        branch=occasion.line,
        state=RegressionState.SUSPECTED.value,
        owner="",
        drill=occasion.run.drill,
        run_id=occasion.run.id,
        created_at=occasion.now,
    )
    _show(row, entry, occasion)
    session.add(row)
    await session.flush()
    note(session, row, _cause(occasion, f"seen in {run_name(occasion.run.id)}: {_size(entry)}"))
    return row


def _show(row: Regression, entry: Entry, occasion: Occasion) -> None:
    """Let a row show this entry as its evidence."""
    row.severity = _severity(entry).value
    row.change = entry.judgement.worsening or 0.0
    row.evidence = entry_json(entry, row.id)
    row.base_run_id = occasion.base_run_id
    row.updated_at = occasion.now


def _settle(session: AsyncSession, row: Regression, answer: Answer, entry: Entry, occasion: Occasion) -> None:
    state = RegressionState(row.state)
    open_question = state in {RegressionState.SUSPECTED, RegressionState.ACKNOWLEDGED}
    if answer is Answer.NOT_REPRODUCED and open_question:
        step(session, row, Event.NOT_REPRODUCED, _cause(occasion, "not reproduced"))
    elif answer is Answer.REPRODUCED and state is not RegressionState.RESOLVED:
        worse = is_worse(_severity(entry), Severity(row.severity))
        if state is RegressionState.IGNORED and not worse:
            return
        row.confirming_run_id = occasion.confirming_run_id
        _show(row, entry, occasion)
        comment = ("" if occasion.confirming_run_id else "not ") + f"measured again: {_size(entry)}"
        if state is RegressionState.SUSPECTED or (state is RegressionState.ACKNOWLEDGED and not worse):
            step(session, row, Event.REPRODUCED, _cause(occasion, comment))
        elif worse:
            step(session, row, Event.WORSENED, _cause(occasion, f"worse than before, {comment}"))


def _let_pass(judgement: Judgement, row: Regression) -> Judgement:
    explanation = f"{judgement.explanation} It is ignored as {regression_name(row.id)}."
    return replace(
        judgement, verdict=Verdict.PASS, reason=None, severity=None, explanation=explanation, recommendation=""
    )


def _cause(occasion: Occasion, comment: str) -> Cause:
    run_id = occasion.confirming_run_id or occasion.run.id
    return Cause(actor=DETECTOR, comment=comment, now=occasion.now, run_id=run_id)


def _size(entry: Entry) -> str:
    change = entry.judgement.change
    return f"{entry.series.key.metric} {percent(change)}" if change is not None else entry.series.key.metric
