"""Everything that a run's verdict rests on, read in one transaction.

What judging takes from elsewhere has its own small function here: the noise between runs (`_noise`), the limits that
apply to each series (`_terms`). What is known of the hosts belongs beside them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.analysis.compare import Rules
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult
from tesserabench.analysis.rules.verdicts import Terms
from tesserabench.analysis.sequential import Look
from tesserabench.analysis.spending import Spending
from tesserabench.collector.core import baselines, false_alarms, looked_at, policies, results, slow_heads
from tesserabench.collector.core.false_alarms import FalseAlarmRate, raised_rules
from tesserabench.collector.core.looked_at import LookedAt
from tesserabench.collector.core.references import branch_names, label
from tesserabench.collector.core.slow_heads import SlowPlaces
from tesserabench.collector.core.spec import GateSpec
from tesserabench.collector.errors import CollectorError
from tesserabench.collector.store import comparisons as store
from tesserabench.collector.store import looks as look_store
from tesserabench.collector.store import results as result_store
from tesserabench.collector.store.look_tables import Look as LookRow
from tesserabench.collector.store.tables import Comparison as ComparisonRow
from tesserabench.collector.store.tables import Project, Run
from tesserabench.collector.store.words import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenLook:
    """A further look that was measured, or is waited for no longer."""

    measured: Look
    measuring: Run

    @property
    def head_hosts(self) -> tuple[str, ...]:
        """Hosts that measured it; empty when none did."""
        return tuple(sorted({host for series in self.measured.head.series for host in series.hosts}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run with everything that its verdict rests on."""

    run: Run
    project: Project
    hosts: tuple[str, ...]
    base_run_id: int | None
    base: ResultSet | None
    head: ResultSet
    terms: Terms
    """What the policy says."""
    spending: Spending
    history: Mapping[SeriesKey, RunNoise]
    slow: SlowPlaces = field(default_factory=dict)
    """Where the head was measured on devices that are known to be slow."""
    false_alarms: tuple[FalseAlarmRate, ...] = ()
    """How often the gate is wrong about identical code on the head's classes of hosts."""
    no_base_because: str = ""
    second: bool = False
    """The first look has been taken, and looks that follow it were asked for."""
    looks: tuple[TakenLook, ...] = ()
    left_out: frozenset[SeriesKey] = frozenset()
    """What the last of them had no time for."""
    looks_since: datetime | None = None
    """When the first of them was asked for."""
    points_at_host: bool = False
    """What was found so far is seen where the run was measured, and not elsewhere."""

    @property
    def rules(self) -> Rules:
        """The limits of each series, raised where identical code is called different too often."""
        return raised_rules(self.terms.limits, self.false_alarms)

    @property
    def looked_at(self) -> LookedAt:
        """What asking for another look rests on."""
        return LookedAt(
            run=self.run,
            project=self.project,
            hosts=self.hosts,
            base_run_id=self.base_run_id,
            looks=tuple(look.head_hosts for look in self.looks),
            since=self.looks_since,
            points_at_host=self.points_at_host,
        )

    @property
    def overall_at_first(self) -> Policy:
        """The limits of the whole at the first look: all series together may spend no more than one of them."""
        return replace(self.terms.overall, confidence=1 - self.spending.level(1))

    def at_first(self) -> Rules:
        """The limits of the first look, which may spend only part of the error where others may follow."""
        return AtLevel(rules=self.rules, level=self.spending.level(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLevel:
    """Limits at another error rate."""

    rules: Rules
    level: float

    def __call__(self, series: SeriesResult) -> Policy:
        """The limits of a series."""
        return replace(self.rules(series), confidence=1 - self.level)


async def read(session: AsyncSession, run_id: int, policy: Policy, now: datetime) -> Case | None:
    """What judging the run needs; none when it waits for nothing, or for a look that may still come."""
    run = await session.get(Run, run_id, populate_existing=True)
    if run is None or run.state != RunState.JUDGING:
        return None
    rows = await look_store.of_runs(session, [run_id])
    if any(measuring.state != RunState.FINISHED and look.waits_until > now for look, measuring in rows):
        return None
    before = await store.find(session, run_id)
    project = await session.get_one(Project, run.project_id)
    base_run, because = await _base(session, run, project, before)
    base = None
    if base_run is not None:
        base = await results.result_set(session, base_run, label=_base_label(run, project, base_run))
    head = await results.result_set(session, run)
    looks = tuple([await _taken(session, look, measuring, now) for look, measuring in rows])
    gate = GateSpec.from_json(run.gate)
    terms = await _terms(session, run, project, before, policy)
    return Case(
        run=run,
        project=project,
        hosts=tuple(sorted((await result_store.hosts_of(session, run_id)).values())),
        base_run_id=base_run.id if base_run is not None else None,
        base=base,
        head=head,
        terms=terms,
        # A single look at suspects alone decides everything by itself, so that it has the whole error.
        spending=Spending(error=1 - terms.overall.confidence, looks=1 + gate.further_looks if gate.sequential else 1),
        history=await _noise(session, run, project, [series.key for series in head.series]) if base_run else {},
        slow=await slow_heads.read(session, head, base, base_run, before=before.created_at if before else None),
        false_alarms=await _false_alarms(session, project, head, now),
        no_base_because=because,
        second=before is not None,
        looks=looks,
        left_out=frozenset(looked_at.keys(rows[-1][0].left_out)) if rows else frozenset(),
        looks_since=rows[0][0].created_at if rows else None,
    )


async def _base(
    session: AsyncSession, run: Run, project: Project, before: ComparisonRow | None
) -> tuple[Run | None, str]:
    """The run to compare with, the same at all looks; and, when a person asked for one that is not there, why not."""
    if before is not None:
        return (await session.get(Run, before.base_run_id) if before.base_run_id is not None else None), ""
    try:
        return await baselines.base_of(session, run, project), ""
    except CollectorError as error:
        return None, error.message


def _base_label(run: Run, project: Project, base: Run) -> str:
    wanted = GateSpec.from_json(run.gate).baseline
    return label(wanted or f"branch:{baselines.base_branch(run, project)}", base)


async def _terms(
    session: AsyncSession, run: Run, project: Project, before: ComparisonRow | None, usual: Policy
) -> Terms:
    """The policy that the run is judged by, the same at all looks."""
    policy = await policies.judged_by(session, project, before.content if before is not None else None, usual)
    return Terms(
        rules=policy.rules,
        name=policy.name,
        suite=run.suite,
        branch=baselines.own_branch(run, project),
        today=run.created_at.date(),
    )


async def _noise(
    session: AsyncSession, run: Run, project: Project, keys: Sequence[SeriesKey]
) -> dict[SeriesKey, RunNoise]:
    """How much runs of unchanged code differ, for the series whose history is long enough."""
    branches = branch_names(baselines.base_branch(run, project), project.default_branch)
    return await results.history(session, run, branches, keys)


async def _false_alarms(
    session: AsyncSession, project: Project, head: ResultSet, now: datetime
) -> tuple[FalseAlarmRate, ...]:
    """How often the gate is wrong where the head was measured."""
    classes = sorted({series.key.device for series in head.series})
    return await false_alarms.on_classes(session, project.name, classes, now)


async def _taken(session: AsyncSession, look: LookRow, measuring: Run, now: datetime) -> TakenLook:
    """What a look gave, as far as it was measured when it was no longer waited for."""
    why = looked_at.why_nothing(look, measuring, now)
    cut_off = looked_at.was_cut_off(measuring)
    head = await results.result_set(session, measuring, arm="b" if look.interleaved else "")
    if look.interleaved:
        base = await results.result_set(session, measuring, arm="a")
    else:
        base_run = await session.get(Run, look.base_run_id) if look.base_run_id is not None else None
        base = ResultSet(label="") if base_run is None else await results.result_set(session, base_run)
    if cut_off:
        # A case that was stopped halfway failed at nothing.
        head, base = (replace(side, failures=looked_at.of_themselves(side.failures)) for side in (head, base))
    return TakenLook(
        measured=Look(
            number=look.number,
            base=base,
            head=head,
            asked=frozenset(looked_at.keys(look.asked)),
            interleaved=look.interleaved,
            planned=look.launches if cut_off else 0,
            why_nothing="" if head.series else why,
        ),
        measuring=measuring,
    )
