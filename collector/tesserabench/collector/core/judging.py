"""How a measured run gets its verdict.

Three steps, each of which may be the last before a crash: read what is needed; compute, away from the event loop; write
everything that follows in one transaction that first looks whether the run still waits. Doing it twice changes nothing.

    first look ──▶ nothing suspected ─────────────────────────────────▶ finished
              └──▶ confirming run asked for ──▶ (measured) second look ──▶ finished
                                          └──▶ (not in time) ──▶ finished, the suspicion stays open
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ParamSpec, Protocol, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, compare
from tesserabench.analysis.confirmation import Answer, Confirmation, confirm, unconfirmed
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.words import Verdict
from tesserabench.collector.core import baselines, confirmations, duets, endings, findings, judging_case, runs
from tesserabench.collector.core.actors import COLLECTOR
from tesserabench.collector.core.comparisons import comparison_json
from tesserabench.collector.core.confirmations import Patience, Suspicion
from tesserabench.collector.core.findings import Findings, Occasion
from tesserabench.collector.core.judging_case import Case
from tesserabench.collector.core.spec import GateSpec, RunSpec
from tesserabench.collector.errors import CollectorError
from tesserabench.collector.store import attempts as attempt_store
from tesserabench.collector.store import comparisons as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import Outcome, RunState
from tesserabench.wire.names import run_name

_log = structlog.get_logger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Offload(Protocol):
    """Computes a function of values somewhere else, so that the event loop goes on."""

    def __call__(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Awaitable[_T]:
        """The function's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What judging any run takes."""

    database: Database
    offload: Offload
    clock: Callable[[], datetime]
    policy: Policy = field(default_factory=Policy)
    patience: Patience = field(default_factory=lambda: Patience(deadline_seconds=900, limit_seconds=3600))


async def judge(judging: Judging, run_id: int) -> None:
    """Take the next look at a run: afterwards it has its verdict, or waits for its confirming run."""
    async with judging.database.transaction() as session:
        duet = await _read_duet(session, run_id)
        since = confirming_since(judging, judging.clock())
        case = None if duet else await judging_case.read(session, run_id, judging.policy, since)
    if duet is not None:
        await _judge_duet(judging, run_id, duet)
        return
    if case is None:
        return
    comparison = await judging.offload(compare, case.base, case.head, case.policy, case.history)
    if not case.second:
        await _take_first_look(judging, case, comparison)
        return
    answers = await _second_answers(judging, case, comparison)
    async with judging.database.transaction() as session:
        run = await _lock(session, run_id)
        if run is not None:
            await _cancel_late(session, case, judging.clock())
            occasion = _occasion(case, run, judging.clock(), case.confirming_run if case.confirming else None)
            found = await findings.second_look(session, comparison, answers, occasion)
            await _finish(session, case, found, occasion)


async def _read_duet(session: AsyncSession, run_id: int) -> duets.Duet | None:
    """What a run that compares two arms measured; none when it does not, or waits for nothing."""
    run = await session.get(Run, run_id, populate_existing=True)
    if run is None or run.state != RunState.JUDGING or RunSpec.from_json(run.spec).duet is None:
        return None
    return await duets.read(session, run)


async def _judge_duet(judging: Judging, run_id: int, duet: duets.Duet) -> None:
    """Store what its arms give, and end it: see `duets` for why there is no second look."""
    comparison = await judging.offload(duets.compare, duet)
    async with judging.database.transaction() as session:
        run = await _lock(session, run_id)
        if run is None:
            return
        now = judging.clock()
        await store.put(session, run.id, base_run_id=None, content=comparison_json(comparison, now), now=now)
        run.verdict = comparison.verdict.value
        run.severity = comparison.severity.value if comparison.severity else None
        run.verdict_reason = comparison.summary
        run.reason = "" if run.outcome == Outcome.OK else run.reason
        await endings.finish(session, run, now)
        _log.info("run.judged", run=run.id, verdict=run.verdict, severity=run.severity, duet=True)


async def _take_first_look(judging: Judging, case: Case, comparison: Comparison) -> None:
    async with judging.database.transaction() as session:
        now = judging.clock()
        run = await _lock(session, case.run.id)
        if run is None or await store.find(session, run.id) is not None:
            return
        occasion = _occasion(case, run, now)
        found = await findings.first_look(session, comparison, occasion)
        if not found.suspected:
            await _finish(session, case, found, occasion)
            return
        if GateSpec.from_json(run.gate).confirm and await _ask_again(session, judging, case, found, now):
            content = comparison_json(found.comparison, now, found.regressions)
            await store.put(session, run.id, base_run_id=case.base_run_id, content=content, now=now)
            run.judged_until = None
            run.revision_number += 1
            if run.outcome == Outcome.OK:
                run.reason = f"measuring {len(found.suspected)} suspected result(s) again"
            return
        answers = await _answers_without_asking(run, found)
        await _finish(session, case, await findings.second_look(session, comparison, answers, occasion), occasion)


async def _ask_again(session: AsyncSession, judging: Judging, case: Case, found: Findings, now: datetime) -> bool:
    suspicion = Suspicion(run=case.run, project=case.project.name, series=found.suspected, hosts=case.hosts)
    try:
        async with session.begin_nested():
            child = await confirmations.ask(session, suspicion, patience=judging.patience, now=now)
    except CollectorError as error:
        _log.warning("confirmation.refused", run=case.run.id, why=error.message)
        return False
    _log.info("confirmation.asked", run=case.run.id, confirming=child.id, series=len(found.suspected))
    return True


async def _answers_without_asking(run: Run, found: Findings) -> dict[SeriesKey, Confirmation]:
    if not GateSpec.from_json(run.gate).confirm:
        return findings.confirmed_at_once(found.suspected, found.comparison)
    return _unanswered(found.comparison, found.suspected, "The confirming run could not be asked for.")


async def _second_answers(judging: Judging, case: Case, comparison: Comparison) -> dict[SeriesKey, Confirmation]:
    child = case.confirming_run
    if child is None or case.base is None:
        return _unanswered(comparison, case.suspected, "There is no confirming run.")
    if case.confirming is None:
        why = f"{run_name(child.id)} was not measured within {judging.patience.limit_seconds:.0f} s."
        return _unanswered(comparison, case.suspected, why)
    if child.outcome != Outcome.OK and not case.confirming.series:
        why = f"{run_name(child.id)} ended with {child.outcome}: {child.reason or 'no reason was given'}."
        return _unanswered(comparison, case.suspected, why)
    spec = RunSpec.from_json(child.spec)
    asked = [key for key in case.suspected if confirmations.covers(spec, key)]
    return await judging.offload(
        confirm, case.base, case.head, case.confirming, asked, policy=case.policy, history=case.history
    )


def _unanswered(comparison: Comparison, keys: tuple[SeriesKey, ...], why: str) -> dict[SeriesKey, Confirmation]:
    judgements = {entry.series.key: entry.judgement for entry in comparison.entries}
    return {
        key: Confirmation(answer=Answer.NOT_CONFIRMED, judgement=unconfirmed(judgements[key], why))
        for key in keys
        if key in judgements and judgements[key].verdict is Verdict.REGRESSED
    }


async def _cancel_late(session: AsyncSession, case: Case, now: datetime) -> None:
    child = case.confirming_run
    if child is not None and child.state != RunState.FINISHED:
        reason = f"{run_name(case.run.id)} did not wait for it any longer"
        await runs.cancel(session, child.id, actor=COLLECTOR, reason=reason, now=now)


async def _finish(session: AsyncSession, case: Case, found: Findings, occasion: Occasion) -> None:
    """Store the comparison, the verdict and what follows from it."""
    run, now, comparison = occasion.run, occasion.now, found.comparison
    content = comparison_json(comparison, now, found.regressions)
    await store.put(session, run.id, base_run_id=case.base_run_id, content=content, now=now)
    await findings.close_returned(session, comparison, occasion)
    if comparison.verdict is not Verdict.REGRESSED and not findings.has_open_suspicion(comparison):
        cases = await result_store.cases_of(session, run.id)
        await baselines.advance(session, run, case.project, cases=cases, now=now)
    run.verdict = comparison.verdict.value
    run.severity = comparison.severity.value if comparison.severity else None
    run.verdict_reason = case.no_base_because or comparison.summary
    run.reason = "" if run.outcome == Outcome.OK else run.reason
    await endings.finish(session, run, now)
    _log.info("run.judged", run=run.id, verdict=run.verdict, severity=run.severity, base=case.base_run_id)


async def _lock(session: AsyncSession, run_id: int) -> Run | None:
    """The run, locked, if it still waits for its verdict."""
    run = await attempt_store.lock_run(session, run_id)
    return run if run is not None and run.state == RunState.JUDGING else None


async def give_up(judging: Judging, run_id: int) -> None:
    """End a run that cannot be judged because of an error of ours: inconclusive, and said so."""
    async with judging.database.transaction() as session:
        run = await _lock(session, run_id)
        if run is not None:
            run.verdict, run.severity = Verdict.INCONCLUSIVE.value, None
            run.verdict_reason = "Could not be judged: the collector failed on it. Its log says why; compare the runs."
            await endings.finish(session, run, judging.clock())


def _occasion(case: Case, run: Run, now: datetime, confirming_run: Run | None = None) -> Occasion:
    return Occasion(
        run=run,
        line=baselines.branch_line(run, case.project),
        base_run_id=case.base_run_id,
        now=now,
        confirming_run_id=confirming_run.id if confirming_run else None,
    )


def confirming_since(judging: Judging, now: datetime) -> datetime:
    """Confirming runs that were asked for before this moment are waited for no longer."""
    return now - timedelta(seconds=judging.patience.limit_seconds)
