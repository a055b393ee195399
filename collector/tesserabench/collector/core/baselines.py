"""What runs are compared with: heads of branches, kept by the collector, and names that people give."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import audit
from tesserabench.collector.core.actors import COLLECTOR
from tesserabench.collector.core.references import BRANCH_PREFIX, Scope, branch_names, label, resolve
from tesserabench.collector.core.spec import GateSpec, RunSpec
from tesserabench.collector.errors import FailedPreconditionError, NotFoundError, invalid_field
from tesserabench.collector.store import baselines as store
from tesserabench.collector.store import projects as project_store
from tesserabench.collector.store import references as reference_store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store import runs as run_store
from tesserabench.collector.store.tables import Baseline, Project, Run
from tesserabench.collector.store.words import Outcome, RunState
from tesserabench.wire.names import baseline_name, run_name
from tesserabench.wire.reasons import Reason

_TIERS = ("smoke", "regression", "full", "nightly")
_ENOUGH_TRIALS = 3


def own_branch(run: Run, project: Project) -> str:
    """Branch that a run belongs to; one that names none belongs to the default branch."""
    return run.branch or project.default_branch


def base_branch(run: Run, project: Project) -> str:
    """Branch that a run is compared with."""
    return run.base_branch or project.default_branch


def branch_line(run: Run, project: Project) -> str:
    """What a run's findings are kept under: empty for the default branch, else the branch or the pull request."""
    if run.pull_request:
        return run.branch or f"pull request {run.pull_request}"
    return "" if own_branch(run, project) == project.default_branch else run.branch


def base_line(run: Run, project: Project) -> str | None:
    """What findings of the branch that a run is compared with are kept under; none where that is its own line."""
    base = base_branch(run, project)
    line = "" if base == project.default_branch else base
    return line if line != branch_line(run, project) else None


async def base_of(session: AsyncSession, run: Run, project: Project) -> Run | None:
    """The run to compare a run with; none when there is none yet.

    Raises:
        NotFoundError: the gate names a baseline that is not there.
    """
    wanted = GateSpec.from_json(run.gate).baseline
    if wanted:
        return await resolve(session, wanted, Scope(project=project, suite=run.suite))
    branch = base_branch(run, project)
    hosts = list(await result_store.hosts_of(session, run.id))
    head = await store.find(session, project.id, BRANCH_PREFIX + branch, run.suite)
    if head is not None and (head.pinned or (head.run_id < run.id and await _here(session, head, hosts))):
        return await reference_store.by_id(session, project.id, head.run_id)
    branches = branch_names(branch, project.default_branch)
    # A run on the same host tells more than a newer one elsewhere.
    found = await store.newest_comparable(session, run, branches, hosts)
    if found is None and head is not None and head.run_id < run.id:
        found = await reference_store.by_id(session, project.id, head.run_id)
    return found or await store.newest_comparable(session, run, branches, None)


async def told(session: AsyncSession, reference: str, *, project: str, suite: str) -> str:
    """What a run that names a baseline would be compared with now; empty when it names none.

    Raises:
        InvalidArgumentError: the reference has no known form, or names several commits.
    """
    if not reference:
        return ""
    row = await project_store.find(session, project)
    if row is None:
        return f"there is nothing to compare with: project {project!r} has no runs yet"
    try:
        found = await resolve(session, reference, Scope(project=row, suite=suite))
    except NotFoundError as error:
        return f"there is nothing to compare with: {error.message}"
    return f"would be compared with {label(reference, found)}"


async def _here(session: AsyncSession, head: Baseline, hosts: list[int]) -> bool:
    return await store.measured_on(session, head.run_id, hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a suite a run measured."""

    spec: RunSpec
    cases: frozenset[str]


def may_replace(new: Coverage, old: Coverage) -> bool:
    """Whether a run may take over from the baseline that an earlier one is, without losing cases or launches."""
    fewer = new.spec.trials < old.spec.trials and new.spec.trials < _ENOUGH_TRIALS
    if fewer:
        return False
    whole = not (new.spec.include or new.spec.exclude or new.spec.overrides)
    # A whole run of the same depth may drop cases: they have been removed from the suite.
    same_depth = whole and _TIERS.index(new.spec.tier) >= _TIERS.index(old.spec.tier)
    return same_depth or new.cases >= old.cases


async def advance(
    session: AsyncSession, run: Run, project: Project, *, cases: frozenset[str], now: datetime, actor: str = COLLECTOR
) -> bool:
    """Let the head of a run's branch be this run, if it may; gives whether it is.

    The caller has made sure that nothing regressed, or that people have accepted it. A drill, a run that did not end
    well or had failing cases, one that is older than the head, one that leaves out cases that the head has, and a
    pinned head change nothing.
    """
    if run.drill or "duet" in run.spec or run.outcome != Outcome.OK or run.pull_request:
        return False
    failures = (await run_store.failures(session, [run.id])).get(run.id, {})
    if any(outcome != Outcome.UNSUPPORTED for outcome in failures):
        return False
    name = BRANCH_PREFIX + own_branch(run, project)
    head = await store.find(session, project.id, name, run.suite, lock=True)
    if head is None:
        session.add(_new(project, name, run, actor=actor, now=now, automatic=True))
        return True
    if head.pinned or head.run_id >= run.id:
        return False
    before = await reference_store.by_id(session, project.id, head.run_id)
    assert before is not None
    old = Coverage(spec=RunSpec.from_json(before.spec), cases=await result_store.cases_of(session, before.id))
    if not may_replace(Coverage(spec=RunSpec.from_json(run.spec), cases=cases), old):
        return False
    head.run_id, head.updated_at, head.updated_by, head.automatic = run.id, now, actor, True
    return True


async def advance_to_accepted(session: AsyncSession, run: Run, *, actor: str, now: datetime) -> Run | None:
    """Let the head of a run's branch be the newest run that was called worse and accepted since; none where it stays.

    What passed later is the head already.
    """
    project = await session.get_one(Project, run.project_id)
    branches = branch_names(own_branch(run, project), project.default_branch)
    found = await store.newest_accepted(session, project.id, run.suite, branches)
    if found is None:
        return None
    cases = await result_store.cases_of(session, found.id)
    return found if await advance(session, found, project, cases=cases, now=now, actor=actor) else None


async def take_back(session: AsyncSession, first: Run, base_run_id: int, *, actor: str, now: datetime) -> bool:
    """Let the head of a run's branch be what that was compared with, if it is the run or a later one; gives whether.

    A head that was set or pinned by a person stays.
    """
    project = await session.get_one(Project, first.project_id)
    name = BRANCH_PREFIX + own_branch(first, project)
    head = await store.find(session, project.id, name, first.suite, lock=True)
    if head is None or head.pinned or not head.automatic or head.run_id < first.id:
        return False
    head.run_id, head.updated_at, head.updated_by = base_run_id, now, actor
    return True


def _new(project: Project, name: str, run: Run, *, actor: str, now: datetime, automatic: bool = False) -> Baseline:
    return Baseline(
        project_id=project.id,
        name=name,
        suite=run.suite,
        run_id=run.id,
        pinned=False,
        automatic=automatic,
        comment="",
        updated_at=now,
        updated_by=actor,
    )


async def get(session: AsyncSession, project: Project, name: str, suite: str) -> Baseline:
    """The baseline of this name; the suite may be left out when only one has it.

    Raises:
        NotFoundError: there is none.
        InvalidArgumentError: several suites have one.
    """
    found = await store.named(session, project.id, name)
    rows = [row for row in found if suite in {"", row.suite}]
    if not rows:
        within = f" for suite {suite!r}" if suite else ""
        message = f"{baseline_name(project.name, name)} does not exist{within}; list the baselines to find its name"
        raise NotFoundError(message, reason=Reason.BASELINE_NOT_FOUND)
    if len(rows) > 1:
        remedy = f"say which suite: {', '.join(row.suite for row in rows)}"
        raise invalid_field("suite", suite, remedy)
    return rows[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who changes a baseline, when, and why."""

    actor: str
    comment: str
    now: datetime


async def put(session: AsyncSession, project: Project, name: str, run: Run, *, pin: bool, change: Change) -> Baseline:
    """Let a name point to a run, creating the name when it is new.

    Raises:
        FailedPreconditionError: the run has not finished, or the baseline is pinned.
        InvalidArgumentError: the run did not end well, or was slowed on purpose.
    """
    _check_worthy(run)
    row = await store.find(session, project.id, name, run.suite, lock=True)
    if row is None:
        row = _new(project, name, run, actor=change.actor, now=change.now)
        session.add(row)
    elif row.pinned and row.run_id != run.id:
        message = f"{baseline_name(project.name, name)} is pinned to {run_name(row.run_id)}; unpin it first"
        raise FailedPreconditionError(message, reason=Reason.BASELINE_PINNED)
    row.run_id, row.automatic, row.pinned = run.id, False, row.pinned or pin
    _stamp(row, change)
    detail = {"run": run_name(run.id), "suite": run.suite, "pinned": row.pinned, "comment": change.comment}
    await audit.record(session, change.actor, "baseline.set", baseline_name(project.name, name), detail)
    await session.flush()
    return row


async def pin(session: AsyncSession, project: Project, row: Baseline, *, pinned: bool, change: Change) -> None:
    """Protect a baseline from being moved, or let it move again."""
    row.pinned = pinned
    _stamp(row, change)
    action = "baseline.pinned" if pinned else "baseline.unpinned"
    detail = {"suite": row.suite, "comment": change.comment}
    await audit.record(session, change.actor, action, baseline_name(project.name, row.name), detail)


def _stamp(row: Baseline, change: Change) -> None:
    row.comment, row.updated_at, row.updated_by = change.comment or row.comment, change.now, change.actor


def _check_worthy(run: Run) -> None:
    name = run_name(run.id)
    if run.state != RunState.FINISHED:
        message = f"{name} is {run.state}; wait until it has finished"
        raise FailedPreconditionError(message, reason=Reason.RUN_PENDING)
    if run.outcome != Outcome.OK:
        raise invalid_field("run", name, f"ended with {run.outcome}; only a run that ended ok can be a baseline")
    if run.drill:
        raise invalid_field("run", name, "was slowed on purpose (drill) and can be no baseline")
    if "duet" in run.spec:
        raise invalid_field("run", name, "compares two arms with each other (duet) and can be no baseline")
