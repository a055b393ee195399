"""Further looks at a run of two arms: more workers for the pairs that are undecided.

Both arms are in every worker, so that workers of any session and host add to the same comparison. A pair is decided by
the first look that decides it; each look may spend its share of the error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis import look_wording
from tesserabench.analysis.compare import Comparison, Entry
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.looks import LookSeen
from tesserabench.analysis.policy import fraction
from tesserabench.analysis.spending import Spending
from tesserabench.analysis.words import Reason, Verdict
from tesserabench.collector.core import duets, looked_at
from tesserabench.collector.core.duets import ArmSeries, Duet, PairKey
from tesserabench.collector.core.look_plan import Question
from tesserabench.collector.core.looked_at import LookedAt
from tesserabench.collector.core.spec import GateSpec, RunSpec
from tesserabench.collector.store import looks as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.tables import Project, Run
from tesserabench.collector.store.words import RunState

_RESTLESS = frozenset({Reason.TOO_NOISY, Reason.TOO_FEW_SAMPLES, Reason.THROTTLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A further look: what its workers measured, and why that is nothing."""

    number: int
    duet: Duet
    why_nothing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuetCase:
    """A run of two arms with the looks at it."""

    at: LookedAt
    duet: Duet
    further: tuple[Taken, ...]
    measuring: tuple[Run, ...]
    spending: Spending


async def read(session: AsyncSession, run: Run, now: datetime) -> DuetCase | None:
    """What judging the run needs; none when it waits for a look that may still come."""
    rows = await store.of_runs(session, [run.id])
    if any(measuring.state != RunState.FINISHED and look.waits_until > now for look, measuring in rows):
        return None
    duet = await duets.read(session, run)
    further = []
    for look, measuring in rows:
        measured = await duets.read(session, measuring)
        why = "" if measured.series else looked_at.why_nothing(look, measuring, now)
        further.append(Taken(number=look.number, duet=measured, why_nothing=why))
    gate = GateSpec.from_json(run.gate)
    at = LookedAt(
        run=run,
        project=await session.get_one(Project, run.project_id),
        hosts=tuple(sorted((await result_store.hosts_of(session, run.id)).values())),
        base_run_id=None,
        looks=tuple(tuple(sorted(_hosts(taken.duet.series))) for taken in further),
        since=rows[0][0].created_at if rows else None,
    )
    error = duets.policy_of(duet).error
    return DuetCase(
        at=at,
        duet=duet,
        further=tuple(further),
        measuring=tuple(measuring for _, measuring in rows),
        spending=Spending(error=error, looks=1 + gate.further_looks if gate.sequential else 1),
    )


def judged(duet: Duet, further: Sequence[Taken], spending: Spending) -> Comparison:
    """What all looks together conclude of every pair. A function of values, to be computed anywhere."""
    together, decided = duet, duets.judge_pairs(duet, error=spending.level(1))
    for taken in further:
        together = merged(together, taken.duet)
        later = duets.judge_pairs(together, error=spending.level(min(taken.number, spending.looks)))
        decided = {pair: later.get(pair, found) if may_be_settled(found) else found for pair, found in decided.items()}
    if further:
        decided = {pair: _told(found, seen(pair, duet, further)) for pair, found in decided.items()}
    return duets.comparison(together, decided)


def merged(one: Duet, other: Duet) -> Duet:
    """The workers of both, for the arms of the first."""
    more = {_identity(item): item for item in other.series}

    def together(item: ArmSeries) -> ArmSeries:
        found = more.get(_identity(item))
        return item if found is None else replace(item, readings={**item.readings, **found.readings})

    return replace(one, series=tuple(together(item) for item in one.series))


def _identity(item: ArmSeries) -> tuple[str, str, str, str, str]:
    return item.arm, item.case_id, item.mode, item.metric, item.device


def may_be_settled(judgement: Judgement) -> bool:
    """Whether more workers may decide a pair."""
    return judgement.verdict is Verdict.INCONCLUSIVE and judgement.reason in _RESTLESS


def seen(pair: PairKey, duet: Duet, further: Sequence[Taken]) -> tuple[LookSeen, ...]:
    """What each look that measured a pair showed of it, by itself."""
    taken = [(1, duet, ""), *((item.number, item.duet, item.why_nothing) for item in further)]
    found = [_seen(number, measured, duets.effects_of(measured, pair), why) for number, measured, why in taken]
    return tuple(look for look in found if look.launches or look.why)


def _seen(number: int, duet: Duet, effects: Mapping[str, Sequence[float]], why: str) -> LookSeen:
    values = [value for by_host in effects.values() for value in by_host]
    return LookSeen(
        number=number,
        run=duet.run,
        hosts=tuple(sorted(effects)),
        launches=len(values),
        interleaved=True,
        change=fraction(fmean(values)) if values else None,
        why=why,
    )


def _told(judgement: Judgement, looks: tuple[LookSeen, ...]) -> Judgement:
    if len(looks) == 1:
        return judgement
    told = replace(judgement, looks=looks)
    return replace(told, explanation=f"{told.explanation} {look_wording.told(looks)}")


def questions(comparison: Comparison) -> list[Question]:
    """The pairs that more workers may settle."""
    return [
        _question(entry) for entry in comparison.entries if entry.series.primary and may_be_settled(entry.judgement)
    ]


def _question(entry: Entry) -> Question:
    return Question(
        key=entry.series.key,
        suspected=False,
        worsening=entry.judgement.worsening or 0.0,
        launches=entry.judgement.launches_to_settle,
    )


def unsettled(comparison: Comparison, why: str) -> Comparison:
    """The comparison, saying of what is still open why it was not looked at once more."""
    if not why:
        return comparison
    entries = tuple(
        replace(entry, judgement=replace(entry.judgement, explanation=f"{entry.judgement.explanation} {why}"))
        if entry.series.primary and may_be_settled(entry.judgement)
        else entry
        for entry in comparison.entries
    )
    return replace(comparison, entries=entries)


def _hosts(series: Sequence[ArmSeries]) -> set[str]:
    return {reading.host for item in series for reading in item.readings.values()}


def is_two_arms(run: Run) -> bool:
    """Whether a run compares two arms with each other."""
    return RunSpec.from_json(run.spec).duet is not None
