"""Looks that follow the first one: asked for as runs of their own, waited for, and told of while they are measured.

A look is the judged run's specification with the undecided cases alone, in fresh processes, in another order, on a
host that `look_hosts` chooses. Where the base's code is at hand, both sides are measured in turns in the same
processes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.results import SeriesKey
from tesserabench.collector.core import look_hosts, look_plan, runs
from tesserabench.collector.core.actors import COLLECTOR
from tesserabench.collector.core.look_hosts import Place
from tesserabench.collector.core.look_plan import Costs, LookPlan, Question
from tesserabench.collector.core.look_progress import duration
from tesserabench.collector.core.looked_at import LookedAt, columns
from tesserabench.collector.core.spec import DuetSpec, GateSpec, HostSelector, RunSpec
from tesserabench.collector.errors import CollectorError
from tesserabench.collector.store import looks as store
from tesserabench.collector.store.look_tables import Look
from tesserabench.collector.store.notices import notify_run
from tesserabench.collector.store.tables import Run
from tesserabench.collector.store.words import Outcome, RunState, TriggerKind
from tesserabench.wire.names import run_name

_PRIORITY_GAIN = 10
_HIGHEST_PRIORITY = 100
_PLANNED_SHARE = 0.8
"""Of the time that is left. The rest is for a host to take the look, and for a machine that is slower than before."""
_CHANGED_LABEL = "git.changed"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a look is waited for."""

    deadline_seconds: float
    """Latest start of its run."""
    limit_seconds: float
    """Latest end; afterwards the run is judged without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be looked at again."""

    questions: Sequence[Question]
    along: Sequence[SeriesKey]
    """Series that are judged again too when their case is measured."""
    patience: Patience
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of wanting another look."""

    look: Look | None
    why_not: str = ""
    """Why there is none, as a sentence."""


async def ask(session: AsyncSession, at: LookedAt, wanted: Wanted) -> Asked:
    """Ask for the next look at a run; the same one again when it was asked for before."""
    gate, spec = GateSpec.from_json(at.run.gate), RunSpec.from_json(at.run.spec)
    taken = len(at.looks)
    if taken >= gate.further_looks:
        return Asked(look=None, why_not=_enough(taken) if gate.sequential else "")
    left = at.budget_left(wanted.now)
    if left is not None and left <= 0:
        return Asked(look=None, why_not=f"The budget of {duration(gate.budget_seconds or 0)} is used up.")
    in_turns = spec.duet is not None or (gate.sequential and await base_at_hand(session, at))
    startup, seconds = await store.case_seconds(session, at.run.id)
    plan = look_plan.plan(
        wanted.questions,
        Costs(startup_seconds=startup, case_seconds=seconds, sides=look_plan.SIDES_IN_TURNS if in_turns else 1),
        usual_launches=spec.trials,
        fewest_launches=look_plan.FEWEST_IN_TURNS if in_turns else look_plan.FEWEST_LAUNCHES,
        seconds_left=None if left is None else _PLANNED_SHARE * left,
    )
    if plan is None:
        return Asked(look=None, why_not=f"{duration(left or 0)} of the budget is left, too little for another look.")
    place = await _place(session, at, plan, wanted, in_turns=in_turns)
    return await _asked(session, at, wanted, _Next(plan=plan, place=place, in_turns=in_turns, left=left))


async def _place(session: AsyncSession, at: LookedAt, plan: LookPlan, wanted: Wanted, *, in_turns: bool) -> Place:
    if not GateSpec.from_json(at.run.gate).sequential:
        base = None if at.base_run_id is None else await session.get_one(Run, at.base_run_id)
        return Place(hosts=at.hosts, base=base)
    devices = {question.key.device for question in wanted.questions if question.key.case_id in plan.cases}
    about = look_hosts.About(devices=frozenset(devices), cases=frozenset(plan.cases), in_turns=in_turns)
    return await look_hosts.choose(session, at, about, wanted.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Next:
    """The look that is to be asked for."""

    plan: LookPlan
    place: Place
    in_turns: bool
    left: float | None

    def waits_seconds(self, patience: Patience) -> float:
        """How long it is waited for."""
        return patience.limit_seconds if self.left is None else min(patience.limit_seconds, self.left)


async def _asked(session: AsyncSession, at: LookedAt, wanted: Wanted, look: _Next) -> Asked:
    number, now = len(at.looks) + 2, wanted.now
    seconds = look.waits_seconds(wanted.patience)
    request = replace(
        runs.repeated(at.run, at.project.name),
        spec=look_spec(RunSpec.from_json(at.run.spec), look.plan, look.place.hosts, in_turns=look.in_turns),
        gate=GateSpec(confirm=False),
        priority=min(_HIGHEST_PRIORITY, at.run.priority + _PRIORITY_GAIN),
        deadline_at=now + timedelta(seconds=min(wanted.patience.deadline_seconds, seconds)),
        trigger=TriggerKind.CONFIRMATION,
        request_id=f"look {number} at {run_name(at.run.id)}",
    )
    try:
        async with session.begin_nested():
            measuring = await runs.create(session, request, actor=COLLECTOR, now=now)
    except CollectorError as error:
        _log.warning("look.refused", run=at.run.id, number=number, why=error.message)
        return Asked(look=None, why_not="Another look could not be asked for.")
    row = _row(at, wanted, look, measuring.id)
    row.number, row.waits_until, row.created_at = number, now + timedelta(seconds=seconds), now
    session.add(row)
    await session.flush()
    _log.info("look.asked", run=at.run.id, number=number, measuring=measuring.id, hosts=row.hosts)
    return Asked(look=row)


def _row(at: LookedAt, wanted: Wanted, look: _Next, measuring_run_id: int) -> Look:
    cases = set(look.plan.cases)
    keys = {*(question.key for question in wanted.questions), *wanted.along}
    asked = sorted(key for key in keys if key.case_id in cases)
    return Look(
        run_id=at.run.id,
        measuring_run_id=measuring_run_id,
        base_run_id=look.place.base.id if look.place.base is not None else None,
        interleaved=look.in_turns,
        hosts=list(look.place.hosts),
        launches=look.plan.launches,
        asked=[columns(key) for key in asked],
        left_out=[columns(question.key) for question in wanted.questions if question.key.case_id not in cases],
        expected_seconds=look.plan.expected_seconds or None,
    )


async def wait(session: AsyncSession, run: Run, look: Look) -> None:
    """Leave a locked run until the look that was asked for has been measured."""
    run.judged_until = None
    run.revision_number += 1
    if run.outcome == Outcome.OK:
        sequential = GateSpec.from_json(run.gate).sequential
        count = len({(case, mode) for case, mode, *_ in look.asked})
        what = f"{'undecided' if sequential else 'suspected'} result{'' if count == 1 else 's'}"
        run.reason = f"measuring {count} {what} again"
    await notify_run(session, run.id)


async def cancel_late(session: AsyncSession, run: Run, measuring: Sequence[Run], now: datetime) -> None:
    """Stop the runs of looks that are waited for no longer."""
    for other in measuring:
        if other.state != RunState.FINISHED:
            reason = f"{run_name(run.id)} did not wait for it any longer"
            await runs.cancel(session, other.id, actor=COLLECTOR, reason=reason, now=now)


def look_spec(spec: RunSpec, plan: LookPlan, hosts: Sequence[str], *, in_turns: bool) -> RunSpec:
    """What a look measures: some cases of a run, with another order and in fresh processes.

    Where there are more cases than a run takes patterns for, the patterns of the run stay.
    """
    few = len(plan.cases) < look_plan.MOST_CASES
    return replace(
        spec,
        include=tuple(f"^{re.escape(case)}$" for case in plan.cases) if few else spec.include,
        exclude=() if few else spec.exclude,
        trials=plan.launches,
        seed=0,
        selector=HostSelector(hosts=tuple(hosts), count=max(1, len(hosts))),
        duet=spec.duet or (DuetSpec() if in_turns else None),
        determinism_launches=0,
    )


async def base_at_hand(session: AsyncSession, at: LookedAt) -> bool:
    """Whether a host that measures the judged run can measure its base too.

    Hosts measure what is installed on them, and a commit is what a run says of it: the base's code is at hand when
    both runs say the same commit, without changes beside it. What they differ by is then the slow-down of a drill,
    or nothing but the hour and the machine.
    """
    base = await session.get(Run, at.base_run_id) if at.base_run_id is not None else None
    return base is not None and same_code(at.run, base) and RunSpec.from_json(at.run.spec).mode != "sustained"


def same_code(head: Run, base: Run) -> bool:
    """Whether two runs measured the same code with the same settings, drills apart."""
    same = bool(head.commit) and head.commit == base.commit and head.repository == base.repository
    changed = any(_CHANGED_LABEL in run.labels for run in (head, base))
    return same and not changed and not base.drill and _settings(head) == _settings(base)


def _settings(run: Run) -> tuple[object, ...]:
    spec = RunSpec.from_json(run.spec)
    return spec.suite, spec.overrides, spec.mode


def _enough(taken: int) -> str:
    return f"{taken} further look{'' if taken == 1 else 's'} did not settle it, and no more were asked for."
