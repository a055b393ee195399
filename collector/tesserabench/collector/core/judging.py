"""How a measured run gets its verdict.

Three steps, each of which may be the last before a crash: read what is needed; compute, away from the event loop; write
everything that follows in one transaction that first looks whether the run still waits, and for the same look. Doing it
twice changes nothing.

    first look ──▶ nothing to look at again ──────────────────────────▶ finished
              └──▶ another look asked for ──▶ measured, or waited for long enough ──▶ decided ──▶ finished
                              ▲                                                 └──▶ still open ──┐
                              ├───────────────── looks and budget left ◀──────────────────────────┤
                              └                                              none left: finished ◀┘
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ParamSpec, Protocol, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, compare, rejudged
from tesserabench.analysis.confirmation import Answer, Confirmation
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import SeriesKey
from tesserabench.analysis.rules.verdicts import applied
from tesserabench.analysis.sequential import Reviewed, review
from tesserabench.analysis.words import Verdict
from tesserabench.collector.core import (
    baselines,
    duet_looks,
    endings,
    false_alarms,
    finding_returns,
    findings,
    identical,
    judging_case,
    look_questions,
    looks,
    slow_heads,
)
from tesserabench.collector.core.comparisons import comparison_json
from tesserabench.collector.core.finding_occasion import Occasion
from tesserabench.collector.core.findings import Findings
from tesserabench.collector.core.grounds import Grounds
from tesserabench.collector.core.judging_case import Case
from tesserabench.collector.core.look_plan import Question
from tesserabench.collector.core.looks import Asked, Patience, Wanted
from tesserabench.collector.core.spec import GateSpec
from tesserabench.collector.store import attempts as attempt_store
from tesserabench.collector.store import comparisons as store
from tesserabench.collector.store import looks as look_store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import Outcome, RunState

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
    """Take the next look at a run: afterwards it has its verdict, or waits for a look that follows."""
    if await identical.judge(judging, run_id):
        return
    async with judging.database.transaction() as session:
        duet = await _is_two_arms(session, run_id)
        case = None if duet else await judging_case.read(session, run_id, judging.policy, judging.clock())
    if duet:
        await _judge_duet(judging, run_id)
        return
    if case is None:
        return
    overall = case.overall_at_first
    comparison = await judging.offload(compare, case.base, case.head, overall, case.history, rules=case.at_first())
    comparison = applied(case.terms, comparison)
    comparison = slow_heads.excuse(comparison, case.slow)
    comparison = false_alarms.told(comparison, case.false_alarms)
    if not case.second:
        await _take_first_look(judging, case, comparison)
        return
    reviewed = (
        await judging.offload(review, look_questions.matter(case, comparison)) if case.looks and case.base else {}
    )
    await _take_another_look(judging, case, comparison, reviewed)


async def _is_two_arms(session: AsyncSession, run_id: int) -> bool:
    run = await session.get(Run, run_id, populate_existing=True)
    return run is not None and duet_looks.is_two_arms(run)


async def _judge_duet(judging: Judging, run_id: int) -> None:
    """Store what its arms give, and end it, or ask for more workers where they do not tell."""
    async with judging.database.transaction() as session:
        run = await session.get_one(Run, run_id, populate_existing=True)
        waits = run.state == RunState.JUDGING
        case = await duet_looks.read(session, run, judging.clock()) if waits else None
    if case is None:
        return
    comparison = await judging.offload(duet_looks.judged, case.duet, case.further, case.spending)
    async with judging.database.transaction() as session:
        locked = await _lock(session, run_id)
        if locked is None or len(await look_store.of_runs(session, [run_id])) != len(case.further):
            return
        now = judging.clock()
        await looks.cancel_late(session, locked, case.measuring, now)
        questions = duet_looks.questions(comparison) if GateSpec.from_json(locked.gate).sequential else []
        asked = Asked(look=None)
        if questions:
            wanted = Wanted(questions=questions, along=(), patience=judging.patience, now=now)
            asked = await looks.ask(session, case.at, wanted)
        comparison = duet_looks.unsettled(comparison, asked.why_not)
        await store.put(session, run_id, base_run_id=None, content=comparison_json(comparison, now), now=now)
        if asked.look is not None:
            await looks.wait(session, locked, asked.look)
        else:
            await _end_duet(session, locked, comparison, now)


async def _end_duet(session: AsyncSession, run: Run, comparison: Comparison, now: datetime) -> None:
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
        if not GateSpec.from_json(run.gate).confirms:
            answers = findings.confirmed_at_once(found.suspected, found.comparison)
        else:
            questions = await look_questions.at_first(session, case, found)
            asked = await _ask(session, judging, case, found.comparison, questions)
            if asked.look is not None:
                content = comparison_json(found.comparison, now, found.regressions)
                await store.put(session, run.id, base_run_id=case.base_run_id, content=content, now=now)
                await looks.wait(session, run, asked.look)
                return
            answers = look_questions.unanswered(
                found.comparison, [question.key for question in questions], asked.why_not
            )
        if answers:
            found = await findings.second_look(session, found.comparison, answers, occasion)
        await _finish(session, case, found, occasion)


async def _take_another_look(
    judging: Judging, case: Case, comparison: Comparison, reviewed: Mapping[SeriesKey, Reviewed]
) -> None:
    async with judging.database.transaction() as session:
        run = await _lock(session, case.run.id)
        if run is None or len(await look_store.of_runs(session, [run.id])) != len(case.looks):
            return
        now = judging.clock()
        await looks.cancel_late(session, run, [look.measuring for look in case.looks], now)
        case = replace(case, points_at_host=any(item.judgement.points_at_host for item in reviewed.values()))
        asked = await _ask(session, judging, case, comparison, look_questions.still_open(case, comparison, reviewed))
        if asked.look is not None:
            await looks.wait(session, run, asked.look)
            return
        occasion = _occasion(case, run, now, _last_measured(case))
        answers = look_questions.answers(case, comparison, reviewed, asked.why_not)
        await _finish(session, case, await _settled(session, comparison, answers, occasion), occasion)


async def _ask(
    session: AsyncSession, judging: Judging, case: Case, comparison: Comparison, questions: list[Question]
) -> Asked:
    if not questions:
        return Asked(look=None)
    along = [
        entry.series.key
        for entry in comparison.entries
        if not entry.series.primary and entry.judgement.verdict is Verdict.REGRESSED
    ]
    wanted = Wanted(questions=questions, along=along, patience=judging.patience, now=judging.clock())
    return await looks.ask(session, case.looked_at, wanted)


async def _settled(
    session: AsyncSession, comparison: Comparison, answers: Mapping[SeriesKey, Confirmation], occasion: Occasion
) -> Findings:
    """What follows for regressions. What only looking again showed is suspected and confirmed at once."""
    first = {entry.series.key: entry for entry in comparison.entries}
    shown_later = {
        key: answer.judgement
        for key, answer in answers.items()
        if answer.answer is Answer.REPRODUCED and first[key].judgement.verdict is not Verdict.REGRESSED
    }
    if shown_later:
        new = rejudged(comparison, shown_later)
        only = replace(new, entries=tuple(entry for entry in new.entries if entry.series.key in shown_later))
        await findings.first_look(session, only, occasion)
        comparison = new
    return await findings.second_look(session, comparison, answers, occasion)


def _last_measured(case: Case) -> Run | None:
    measured = [look.measuring for look in case.looks if look.measured.head.series]
    return measured[-1] if measured else None


async def _finish(session: AsyncSession, case: Case, found: Findings, occasion: Occasion) -> None:
    """Store the comparison, the verdict and what follows from it."""
    run, now, comparison = occasion.run, occasion.now, found.comparison
    content = comparison_json(comparison, now, found.regressions)
    grounds = Grounds.of(case).to_json()
    await store.put(session, run.id, base_run_id=case.base_run_id, content=content, now=now, grounds=grounds)
    await finding_returns.close_returned(session, comparison, occasion)
    unsettled = comparison.verdict is Verdict.REGRESSED or findings.has_open_suspicion(comparison)
    if not unsettled and not await finding_returns.is_still_worse(session, comparison, occasion):
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
        base_line=baselines.base_line(run, case.project),
        base_run_id=case.base_run_id,
        now=now,
        confirming_run_id=confirming_run.id if confirming_run else None,
        terms=case.terms,
    )
