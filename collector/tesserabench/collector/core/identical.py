"""Runs that measure the same code twice, to see how often the gate calls it different.

A schedule (`identical`) asks for the first run. When it has been measured, the second one is asked for: the same
specification on the same hosts, in fresh processes and another order. It is judged by the gate as any other run is,
against the first, and counted. Neither opens findings, moves a baseline or fails anything: whatever the gate calls
different here, it is wrong about, unless somebody changed the hosts in between; their facts tell that.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Comparison, compare
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey
from tesserabench.analysis.rules.verdicts import Terms
from tesserabench.analysis.words import Verdict
from tesserabench.collector.core import baselines, endings, false_alarms, policies, results, runs
from tesserabench.collector.core.actors import COLLECTOR
from tesserabench.collector.core.comparisons import comparison_json
from tesserabench.collector.core.references import branch_names
from tesserabench.collector.core.spec import GateSpec, HostSelector, RunSpec
from tesserabench.collector.errors import CollectorError
from tesserabench.collector.store import attempts as attempt_store
from tesserabench.collector.store import comparisons as comparison_store
from tesserabench.collector.store import false_alarms as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store import schedules as schedule_store
from tesserabench.collector.store.tables import Project, Run
from tesserabench.collector.store.words import IdenticalRun, Outcome, RunState, TriggerKind
from tesserabench.wire.names import run_name

if TYPE_CHECKING:  # judging calls this module
    from tesserabench.collector.core.judging import Judging

_PATIENCE = timedelta(days=1)
"""A second run that could not be asked for within this time would measure another day."""

_log = structlog.get_logger(__name__)


async def ask_second(session: AsyncSession, now: datetime) -> bool:
    """Ask for the second run of one pair whose first has been measured, if there is one; false when there is none."""
    found = await store.first_without_second(session, since=now - _PATIENCE)
    if found is None:
        return False
    first, project = found
    hosts = sorted((await result_store.hosts_of(session, first.id)).values())
    spec = RunSpec.from_json(first.spec)
    again = replace(
        runs.repeated(first, project),
        spec=replace(spec, seed=0, selector=HostSelector(hosts=tuple(hosts), count=max(1, len(hosts)))),
        gate=GateSpec(confirm=False),
        trigger=TriggerKind(first.trigger),
        request_id=f"again, identical to {run_name(first.id)}",
        parent_id=first.id,
        schedule_id=first.schedule_id,
        identical=IdenticalRun.SECOND,
    )
    try:
        async with session.begin_nested():
            second = await runs.create(session, again, actor=COLLECTOR, now=now)
    except CollectorError as error:
        # Its suite or host is gone, say. Nothing is counted, and it is not tried for ever.
        first.identical = ""
        _log.warning("identical.refused", run=first.id, why=error.message)
        return True
    if first.schedule_id is not None:
        await schedule_store.set_last_run(session, first.schedule_id, second.id)
    _log.info("identical.asked", run=first.id, again=second.id)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Two runs of the same code."""

    first: ResultSet
    second: ResultSet
    history: dict[SeriesKey, RunNoise]
    terms: Terms
    """The limits whose false alarms are counted, those of series that the policy ignores too."""


async def judge(judging: "Judging", run_id: int) -> bool:
    """Judge and count the second run of a pair; false when the run is none, and has to be judged in another way."""
    async with judging.database.transaction() as session:
        run = await session.get(Run, run_id, populate_existing=True)
        if run is None or run.identical != IdenticalRun.SECOND or run.state != RunState.JUDGING:
            return False
        pair = await _read(session, run, judging.policy)
    terms = pair.terms
    comparison = await judging.offload(
        compare, pair.first, pair.second, terms.overall, pair.history, rules=terms.limits
    )
    comparison = replace(comparison, policy=terms.name)
    async with judging.database.transaction() as session:
        locked = await attempt_store.lock_run(session, run_id)
        if locked is not None and locked.state == RunState.JUDGING:
            await _finish(session, locked, comparison, judging.clock())
    return True


async def _read(session: AsyncSession, run: Run, usual: Policy) -> _Pair:
    assert run.parent_id is not None
    first = await session.get_one(Run, run.parent_id)
    project = await session.get_one(Project, run.project_id)
    head = await results.result_set(session, run)
    branches = branch_names(baselines.base_branch(run, project), project.default_branch)
    policy = await policies.in_force(session, project, usual)
    branch = baselines.own_branch(run, project)
    return _Pair(
        first=await results.result_set(session, first, label=f"{run_name(first.id)} (the same code)"),
        second=head,
        history=await results.history(session, run, branches, [series.key for series in head.series]),
        terms=Terms(rules=policy.rules, name=policy.name, suite=run.suite, branch=branch, today=run.created_at.date()),
    )


async def _finish(session: AsyncSession, run: Run, comparison: Comparison, now: datetime) -> None:
    counts = false_alarms.count(comparison) if run.outcome == Outcome.OK else {}
    rows = [
        {
            "run_id": run.id,
            "host_class": host_class,
            "project_id": run.project_id,
            "suite": run.suite,
            "base_run_id": run.parent_id,
            "comparisons": count.comparisons,
            "false_alarms": count.false_alarms,
            "inconclusive": count.inconclusive,
            "excesses": list(count.excesses),
            "at": now,
        }
        for host_class, count in counts.items()
    ]
    await store.put(session, rows)
    content = comparison_json(comparison, now)
    await comparison_store.put(session, run.id, base_run_id=run.parent_id, content=content, now=now)
    alarms, judged = (sum(getattr(item, name) for item in counts.values()) for name in ("false_alarms", "comparisons"))
    run.verdict = Verdict.PASS.value if judged and not alarms else Verdict.INCONCLUSIVE.value
    run.severity = None
    run.verdict_reason = f"The same code again: {alarms} false alarm(s) among {judged} result(s)."
    await endings.finish(session, run, now)
    _log.info("run.judged", run=run.id, verdict=run.verdict, false_alarms=alarms, comparisons=judged)
