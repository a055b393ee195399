"""Everything that a run's verdict rests on, read in one transaction.

What judging takes from elsewhere has its own small function here: the noise between runs (`_noise`), the limits that
apply (`_policy`). What is known of the hosts belongs beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey
from tesserabench.collector.core import baselines, results
from tesserabench.collector.core.comparisons import key_of_entry
from tesserabench.collector.core.references import branch_names, label
from tesserabench.collector.core.spec import GateSpec
from tesserabench.collector.errors import CollectorError
from tesserabench.collector.store import comparisons as store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.tables import Comparison as ComparisonRow
from tesserabench.collector.store.tables import Project, Run
from tesserabench.collector.store.words import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run with everything that its verdict rests on."""

    run: Run
    project: Project
    hosts: tuple[str, ...]
    base_run_id: int | None
    base: ResultSet | None
    head: ResultSet
    policy: Policy
    history: Mapping[SeriesKey, RunNoise]
    no_base_because: str = ""
    suspected: tuple[SeriesKey, ...] = ()
    """What the first look called regressed, secondary metrics too, when it has been taken."""
    confirming_run: Run | None = None
    confirming: ResultSet | None = None
    """What was measured again, when it was."""
    second: bool = False


async def read(session: AsyncSession, run_id: int, policy: Policy, waited_since: datetime) -> Case | None:
    """What judging the run needs; none when it waits for nothing, or for a confirming run that may still come."""
    run = await session.get(Run, run_id, populate_existing=True)
    if run is None or run.state != RunState.JUDGING:
        return None
    before = await store.find(session, run_id)
    confirming_run = await store.confirmation_of(session, run_id) if before is not None else None
    measured_again = confirming_run is not None and confirming_run.state == RunState.FINISHED
    if confirming_run is not None and not measured_again and confirming_run.created_at > waited_since:
        return None
    project = await session.get_one(Project, run.project_id)
    base, because = await _base(session, run, project, before)
    head = await results.result_set(session, run)
    return Case(
        run=run,
        project=project,
        hosts=tuple(sorted((await result_store.hosts_of(session, run_id)).values())),
        base_run_id=base.id if base else None,
        base=await results.result_set(session, base, label=_base_label(run, project, base)) if base else None,
        head=head,
        policy=await _policy(policy),
        history=await _noise(session, run, project, [series.key for series in head.series]) if base else {},
        no_base_because=because,
        suspected=_suspected(before),
        confirming_run=confirming_run,
        confirming=await results.result_set(session, confirming_run) if confirming_run and measured_again else None,
        second=before is not None,
    )


async def _base(
    session: AsyncSession, run: Run, project: Project, before: ComparisonRow | None
) -> tuple[Run | None, str]:
    """The run to compare with, the same at both looks; and, when a person asked for one that is not there, why not."""
    if before is not None:
        return (await session.get(Run, before.base_run_id) if before.base_run_id is not None else None), ""
    try:
        return await baselines.base_of(session, run, project), ""
    except CollectorError as error:
        return None, error.message


def _base_label(run: Run, project: Project, base: Run) -> str:
    wanted = GateSpec.from_json(run.gate).baseline
    return label(wanted or f"branch:{baselines.base_branch(run, project)}", base)


async def _policy(usual: Policy) -> Policy:
    """The limits that apply to this run."""
    return usual


async def _noise(
    session: AsyncSession, run: Run, project: Project, keys: Sequence[SeriesKey]
) -> dict[SeriesKey, RunNoise]:
    """How much runs of unchanged code differ, for the series whose history is long enough."""
    branches = branch_names(baselines.base_branch(run, project), project.default_branch)
    return await results.history(session, run, branches, keys)


def _suspected(before: ComparisonRow | None) -> tuple[SeriesKey, ...]:
    """Series that the first look called regressed; what it stored says which."""
    if before is None:
        return ()
    regressed = (entry for entry in before.content.get("entries", ()) if entry.get("verdict") == "VERDICT_REGRESSED")
    return tuple(key_of_entry(entry) for entry in regressed)
