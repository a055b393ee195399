"""Trying a policy out on what is stored: nothing is changed, and every step is a transaction of its own."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.launch import Side
from tesserabench.analysis.policy_histories import PastHistory, search_both
from tesserabench.analysis.policy_trial import Judged, PastRun, judge_both, with_launches
from tesserabench.analysis.policy_trial_summary import Trial, summarise
from tesserabench.analysis.results import SeriesResult
from tesserabench.analysis.rules import RuleSet
from tesserabench.analysis.words import Better
from tesserabench.collector.core import baselines, policies, results
from tesserabench.collector.core.judging import Judging
from tesserabench.collector.core.references import branch_names
from tesserabench.collector.errors import invalid_field
from tesserabench.collector.store import history as history_store
from tesserabench.collector.store import policy_trials as store
from tesserabench.collector.store import projects
from tesserabench.collector.store.history import Point, SeriesLine
from tesserabench.collector.store.tables import Project, Run, Series

_HISTORIES_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to try out."""

    project: str
    rules: RuleSet
    since: datetime
    suite: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a trial is."""

    phase: str
    """`runs` or `histories`."""
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of it."""

    revision: int
    """Of the policy in force; 0 is what is built in."""
    until: datetime
    trial: Trial
    histories: int


async def try_out(judging: Judging, request: Request) -> AsyncIterator[Progress | Report]:
    """How far it is, again and again, then the report.

    Raises:
        InvalidArgumentError: the time begins in the future.
    """
    until = judging.clock()
    if request.since >= until:
        raise invalid_field("since", request.since.isoformat(), "give a time in the past, such as 90 days ago")
    async with judging.database.transaction() as session:
        project = await projects.find(session, request.project)
        if project is None:
            current = policies.policy_of(request.project, None, judging.policy)
            run_ids: Sequence[int] = ()
            lines: list[tuple[SeriesLine, Series]] = []
        else:
            current = await policies.in_force(session, project, judging.policy)
            run_ids = await store.judged_runs(
                session, project.id, since=request.since, until=until, suite=request.suite
            )
            lines = await store.histories(session, project.id, since=request.since, suite=request.suite)
    candidate = policies.with_usual(request.rules, judging.policy)
    judged: list[Judged] = []
    for place, run_id in enumerate(run_ids):
        yield Progress(phase="runs", done=place, total=len(run_ids))
        async with judging.database.transaction() as session:
            past = await _past_run(session, run_id)
        judged.append(await judging.offload(judge_both, past, current.rules, candidate))
    steps: list[Judged] = []
    for start in range(0, len(lines), _HISTORIES_AT_ONCE):
        yield Progress(phase="histories", done=start, total=len(lines))
        part = lines[start : start + _HISTORIES_AT_ONCE]
        async with judging.database.transaction() as session:
            points = await history_store.points_of(session, [key for key, _ in part])
        assert project is not None
        histories = [_past_history(project, key, series, points[key]) for key, series in part]
        steps += await judging.offload(search_both, histories, current.rules, candidate, request.since)
    trial = summarise(judged, sorted(steps, key=lambda step: step.run_id))
    yield Report(revision=current.revision, until=until, trial=trial, histories=len(lines))


async def _past_run(session: AsyncSession, run_id: int) -> PastRun:
    run = await session.get_one(Run, run_id)
    project = await session.get_one(Project, run.project_id)
    base_id = await store.base_run_id(session, run_id)
    base = await session.get(Run, base_id) if base_id is not None else None
    head = await results.result_set(session, run)
    for again in await store.again(session, run_id):
        head = with_launches(head, await results.result_set(session, again))
    branches = branch_names(baselines.base_branch(run, project), project.default_branch)
    return PastRun(
        run_id=run.id,
        at=run.created_at,
        suite=run.suite,
        branch=baselines.own_branch(run, project),
        line=baselines.branch_line(run, project),
        base=await results.result_set(session, base) if base else None,
        head=head,
        history=await results.history(session, run, branches, [one.key for one in head.series]) if base else {},
    )


def _past_history(project: Project, key: SeriesLine, series: Series, points: Sequence[Point]) -> PastHistory:
    return PastHistory(
        series=SeriesResult(
            key=results.key_of(series),
            suite=series.suite,
            benchmark=series.benchmark,
            parameters={str(name): str(value) for name, value in series.parameters.items()},
            unit=series.unit,
            primary=series.primary,
            side=Side(launches=(), better=Better(series.better)),
        ),
        branch=key[1] or project.default_branch,
        line=key[1],
        run_ids=tuple(point.run_id for point in points),
        times=tuple(point.at for point in points),
        values=tuple(point.value for point in points),
        hosts=tuple("+".join(point.hosts) for point in points),
    )
