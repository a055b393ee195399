"""What further looks at a run are asked, and what their answers come to."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, Entry
from tesserabench.analysis.confirmation import Answer, Confirmation, unconfirmed
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.sequential import Matter, Reviewed, Standing, may_be_settled
from tesserabench.analysis.words import Verdict
from tesserabench.collector.core import looks
from tesserabench.collector.core.findings import Findings
from tesserabench.collector.core.judging_case import Case
from tesserabench.collector.core.look_plan import Question
from tesserabench.collector.core.spec import GateSpec


async def at_first(session: AsyncSession, case: Case, found: Findings) -> list[Question]:
    """What is worth another look: what is suspected, and where it was asked for, what may yet be settled."""
    suspects = set(found.suspected)
    gate = GateSpec.from_json(case.run.gate)
    base_too = gate.sequential and await looks.base_at_hand(session, case.looked_at)
    return [
        _question(case, entry, entry.judgement, suspected=entry.series.key in suspects)
        for entry in found.comparison.entries
        if entry.series.key in suspects
        or (gate.sequential and entry.series.primary and may_be_settled(entry.judgement, base_too=base_too))
    ]


def still_open(case: Case, comparison: Comparison, reviewed: Mapping[SeriesKey, Reviewed]) -> list[Question]:
    """What the looks so far did not settle, and what they had no time for."""
    open_ = []
    for entry in comparison.entries:
        key, suspected = entry.series.key, entry.judgement.verdict is Verdict.REGRESSED
        found = reviewed.get(key)
        if found is not None and entry.series.primary:
            if found.standing is Standing.OPEN and not found.settles_nothing:
                open_.append(_question(case, entry, found.judgement, suspected=suspected))
        elif key in case.left_out:
            open_.append(_question(case, entry, entry.judgement, suspected=suspected))
    return open_


def _question(case: Case, entry: Entry, judgement: Judgement, *, suspected: bool) -> Question:
    worsening = judgement.worsening or 0.0
    severity = case.rules(entry.series).severity(worsening, primary=entry.series.primary)
    wanted = judgement.launches_to_settle
    measured = sum(look.launches for look in judgement.looks) or entry.head.launches
    return Question(
        key=entry.series.key,
        suspected=suspected,
        severity=severity.rank if severity is not None else 0,
        worsening=worsening,
        launches=None if wanted is None or suspected else max(1, wanted - measured),
    )


def matter(case: Case, comparison: Comparison) -> Matter:
    """What the looks at a run are judged by."""
    assert case.base is not None
    asked = {key for look in case.looks for key in look.measured.asked}
    return Matter(
        base=case.base,
        head=case.head,
        first={
            entry.series.key: entry.judgement
            for entry in comparison.entries
            if entry.judgement.p_value is not None or entry.series.key in asked
        },
        policies={entry.series.key: case.rules(entry.series) for entry in comparison.entries},
        history=case.history,
        looks=[look.measured for look in case.looks],
        spending=case.spending,
    )


def answers(
    case: Case, comparison: Comparison, reviewed: Mapping[SeriesKey, Reviewed], why: str
) -> dict[SeriesKey, Confirmation]:
    """What every look together says of each series that was to be looked at again."""
    asked = {key for look in case.looks for key in look.measured.asked}
    found = {key: item.confirmation(why) for key, item in reviewed.items()}
    return unanswered(comparison, asked | case.left_out, why or "It was not measured again.") | found


def unanswered(comparison: Comparison, keys: Iterable[SeriesKey], why: str) -> dict[SeriesKey, Confirmation]:
    """The answers for what no look could settle: a suspicion stays open, and what was undecided says why it is."""
    judgements = {entry.series.key: entry.judgement for entry in comparison.entries}
    return {
        key: Confirmation(answer=Answer.NOT_CONFIRMED, judgement=_left(judgements[key], why))
        for key in keys
        if key in judgements
    }


def _left(judgement: Judgement, why: str) -> Judgement:
    if judgement.verdict is Verdict.REGRESSED:
        return unconfirmed(judgement, why)
    return replace(judgement, explanation=f"{judgement.explanation} {why}".rstrip())
