"""Trying a policy out on what is stored: nothing is changed, and every step is a transaction of its own."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tesserabench.analysis.launch import Side
from tesserabench.analysis.policy_histories import PastHistory, search_both
from tesserabench.analysis.policy_trial import Judged, judge_both
from tesserabench.analysis.policy_trial_summary import Trial, summarise
from tesserabench.analysis.results import SeriesResult
from tesserabench.analysis.rules import RuleSet
from tesserabench.analysis.words import Better
from tesserabench.collector.core import past_runs, policies, results
from tesserabench.collector.core.judging import Judging
from tesserabench.collector.errors import invalid_field
from tesserabench.collector.store import history as history_store
from tesserabench.collector.store import policy_trials as store
from tesserabench.collector.store import projects
from tesserabench.collector.store.history import Point, SeriesLine
from tesserabench.collector.store.tables import Project, Series

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
            past = await past_runs.read(session, run_id, judging.policy)
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
