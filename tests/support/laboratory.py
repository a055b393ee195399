"""Measured runs in a database, without measuring: a fleet of hosts that give the levels a test asks for."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import endings, judging, runs
from tesserabench.collector.core.judging import Judging
from tesserabench.collector.core.looks import Patience
from tesserabench.collector.core.spec import GateSpec, Revision, RunSpec
from tesserabench.collector.store import projects
from tesserabench.collector.store import series as series_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.series import SeriesFacts
from tesserabench.collector.store.tables import (
    Attempt,
    CaseResult,
    Host,
    IngestLog,
    Measurement,
    Regression,
    Run,
    Trial,
)
from tesserabench.collector.store.words import AttemptState, Outcome, RunState, TriggerKind

CASES = ("copy[n=1]", "gemm[n=512]", "reduce[n=1]")
STEPS = (0.0, 0.001, -0.001, 0.0005, -0.0005)
"""How far the launches of a quiet host lie from their level."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def at_once(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Compute right here: a test has no event loop to keep free."""
    return function(*args, **kwargs)


@dataclass(slots=True)
class Clock:
    """A clock that tests move."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a test lets be measured."""

    revision: Revision = field(default_factory=Revision)
    gate: GateSpec = field(default_factory=GateSpec)
    spec: RunSpec = field(default_factory=lambda: RunSpec(suite="core", trials=5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a host measures."""

    host: str = "node-1"
    level: float = 1e6
    """Time of an undisturbed case in nanoseconds."""
    factors: Mapping[str, float] = field(default_factory=dict)
    """Times its level, by case."""
    noise: float = 1.0
    """Times the noise of a quiet host."""
    failures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Outcome and reason by case."""
    cases: Sequence[str] = CASES
    comparability: str = "class-a"
    outcome: str = "ok"
    reason: str = ""
    case_seconds: float = 0.0
    """How long each case takes."""
    launches: int | None = None
    """Only so many of those that were asked for; None for all."""


class Laboratory:
    """Hosts, runs and results of one project."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.judging = Judging(
            database=database,
            offload=at_once,
            clock=self.clock,
            patience=Patience(deadline_seconds=60, limit_seconds=600),
        )
        self._hosts: dict[str, int] = {}

    async def host(self, name: str) -> int:
        """The id of a host with the suite `core`, registered when it is new."""
        if name not in self._hosts:
            async with self.database.transaction() as session:
                row = _host(name, self.clock.now)
                session.add(row)
                await session.flush()
                self._hosts[name] = row.id
        return self._hosts[name]

    async def ask(self, request: Request | None = None) -> int:
        """Ask for a run as a person would; gives its id."""
        asked = request or Request()
        await self.host("node-1")
        async with self.database.transaction() as session:
            new = runs.NewRun(project="default", spec=asked.spec, revision=asked.revision, gate=asked.gate)
            return (await runs.create(session, new, actor="tester", now=self.clock.now)).id

    async def measure(self, run_id: int, conditions: Conditions | None = None) -> None:
        """Let every attempt of a run be measured under these conditions, and the run go on to what follows."""
        under = conditions or Conditions()
        host_id = await self.host(under.host)
        self.clock.advance(60)
        async with self.database.transaction() as session:
            run = await session.get_one(Run, run_id, with_for_update=True)
            for attempt in await session.scalars(select(Attempt).where(Attempt.run_id == run_id)):
                await self._attempt(session, run, attempt, host_id, under)
            endings.begin(run, self.clock.now)
            await session.flush()
            await endings.settle(session, run, self.clock.now)

    async def measure_partly(self, run_id: int, conditions: Conditions) -> None:
        """Let what `conditions` says of a run be measured, and the run go on measuring."""
        host_id = await self.host(conditions.host)
        async with self.database.transaction() as session:
            run = await session.get_one(Run, run_id)
            for attempt in await session.scalars(select(Attempt).where(Attempt.run_id == run_id)):
                state, outcome = attempt.state, attempt.outcome
                await self._attempt(session, run, attempt, host_id, conditions)
                attempt.state, attempt.outcome, attempt.ended_at = state, outcome, None

    async def run(self, request: Request | None = None, conditions: Conditions | None = None) -> int:
        """Ask for a run, measure it and take the first look; gives its id."""
        run_id = await self.ask(request)
        await self.measure(run_id, conditions)
        await self.judge(run_id)
        return run_id

    async def judge(self, run_id: int) -> None:
        """Take the next look at a run."""
        await judging.judge(self.judging, run_id)

    async def confirm(self, run_id: int, conditions: Conditions | None = None) -> int:
        """Measure the confirming run of a run and take the second look; gives the confirming run's id."""
        child = await self.confirmation(run_id)
        assert child is not None, f"run {run_id} has no confirming run"
        await self.measure(child.id, conditions)
        await self.judge(run_id)
        return child.id

    async def get(self, run_id: int) -> Run:
        """A run as it is now."""
        async with self.database.transaction() as session:
            return await session.get_one(Run, run_id)

    async def confirmation(self, run_id: int) -> Run | None:
        """The run that confirms another one: the newest, when there are several."""
        async with self.database.transaction() as session:
            wanted = (Run.parent_id == run_id, Run.trigger == TriggerKind.CONFIRMATION.value)
            return await session.scalar(select(Run).where(*wanted).order_by(Run.id.desc()).limit(1))

    async def regressions(self) -> Sequence[Regression]:
        """Every regression, oldest first."""
        async with self.database.transaction() as session:
            return (await session.scalars(select(Regression).order_by(Regression.id))).all()

    async def _attempt(
        self, session: AsyncSession, run: Run, attempt: Attempt, host_id: int, under: Conditions
    ) -> None:
        attempt.state, attempt.host_id = AttemptState.FINISHED.value, host_id
        attempt.outcome, attempt.reason = under.outcome, under.reason
        attempt.started_at = attempt.ended_at = self.clock.now
        spec = RunSpec.from_json(run.spec)
        project = await projects.get_or_create(session, "default")
        arms = ("",) if spec.duet is None else ("a", "b")
        ids = {arm: await _series(session, project.id, under.cases, arm) for arm in arms}
        log = IngestLog(attempt_id=attempt.id, epoch=attempt.epoch, host_id=host_id, closed=True)
        session.add(log)
        sequence = 0
        for trial in range(spec.trials if under.launches is None else under.launches):
            session.add(_trial(attempt, trial, under, self.clock.now))
            measured = [(case, arm) for case in under.cases if wanted(spec, case) for arm in arms]
            for position, (case, arm) in enumerate(measured, start=1):
                sequence += 1
                at = self.clock.now + timedelta(seconds=position * under.case_seconds)
                rows = self._case(run, attempt, (trial, sequence, at), (case, arm), (ids[arm], spec, under))
                session.add_all(rows)
        log.committed_sequence, log.cases = sequence, sequence

    def _case(
        self,
        run: Run,
        attempt: Attempt,
        place: tuple[int, int, datetime],
        what: tuple[str, str],
        how: tuple[Mapping[str, int], RunSpec, Conditions],
    ) -> list[CaseResult | Measurement]:
        ids, spec, under = how
        trial, sequence, at = place
        case, arm = what
        outcome, reason = under.failures.get(case, ("ok", ""))
        benchmark = case.partition("[")[0]
        common: dict[str, Any] = {
            "attempt_id": attempt.id,
            "epoch": attempt.epoch,
            "sequence": sequence,
            "measured_at": at,
            "run_id": run.id,
            "trial": trial,
            "outcome": outcome,
            "late": False,
        }
        detail: dict[str, Any] = {
            "case": {"id": case, "suite": "core", "benchmark": benchmark, "parameters": {"n": "1"}},
            "order": 1,
        }
        detail |= {"arm": arm} if arm else {}
        result = CaseResult(**common, case_id=case, benchmark=benchmark, mode="cold", reason=reason, detail=detail)
        if outcome != Outcome.OK:
            return [result]
        # Arm A is undisturbed, or both would be disturbed alike and differ by nothing at all.
        step = 1.0 if arm == "a" else 1 + under.noise * STEPS[trial % len(STEPS)]
        drill = 1.0 if arm == "a" else spec.drill.get(benchmark, 1.0)
        value = under.level * under.factors.get(case, 1.0) * drill * step
        return [result, _time(common, ids[case], value), _rate(common, ids["rate/" + case], value)]


def wanted(spec: RunSpec, case: str) -> bool:
    """Whether an agent would measure this case."""
    return not spec.include or any(re.search(pattern, case) for pattern in spec.include)


def _host(name: str, now: datetime) -> Host:
    benchmarks = [{"name": case.partition("[")[0], "devices": ["simulated"]} for case in CASES]
    device = {"uuid": f"uuid-{name}", "kind": "simulated", "model": "Simulated 1"}
    inventory = {"suites": [{"name": "core", "benchmarks": benchmarks}], "devices": [device]}
    return Host(
        name=name,
        process_id=f"process-of-{name}",
        agent_version="1",
        schema_version=1,
        inventory=inventory,
        attributes={},
        suites=["core"],
        device_kinds=["simulated"],
        last_seen_at=now,
        lease_expires_at=now + timedelta(days=1),
    )


def _trial(attempt: Attempt, trial: int, under: Conditions, now: datetime) -> Trial:
    return Trial(
        attempt_id=attempt.id,
        epoch=attempt.epoch,
        trial=trial,
        device={"uuid": f"uuid-{under.host}", "kind": "simulated", "model": "Simulated 1"},
        device_key="Simulated 1",
        facts={"driver": under.comparability, "host.boot_id": under.host},
        comparability=under.comparability,
        fingerprint=under.comparability,
        outcome="ok",
        started_at=now,
        ended_at=now,
    )


async def _series(session: AsyncSession, project_id: int, cases: Sequence[str], arm: str) -> dict[str, int]:
    wanted_series = {}
    for case in cases:
        for metric, unit, better, primary in (("time", "ns", "lower", True), ("bandwidth", "B/s", "higher", False)):
            wanted_series[project_id, case, "cold", metric, "Simulated 1", arm] = SeriesFacts(
                suite="core",
                benchmark=case.partition("[")[0],
                parameters={"n": "1"},
                unit=unit,
                better=better,
                primary=primary,
            )
    found = await series_store.get_or_create(session, wanted_series)
    return {("rate/" if key[3] == "bandwidth" else "") + key[1]: known.id for key, known in found.items()}


def _time(common: Mapping[str, Any], series_id: int, value: float) -> Measurement:
    samples = np.rint(value * np.linspace(0.999, 1.001, 30))
    middle = float(np.median(samples))
    return Measurement(
        **common,
        series_id=series_id,
        value=middle,
        ci_low=middle * 0.9995,
        ci_high=middle * 1.0005,
        count=30,
        minimum=float(samples[0]),
        q1=float(samples[7]),
        q3=float(samples[22]),
        maximum=float(samples[-1]),
        mean=float(samples.mean()),
        stdev=float(samples.std(ddof=1)),
        codec=1,
        samples=samples.astype("<f8").tobytes(),
    )


def _rate(common: Mapping[str, Any], series_id: int, value: float) -> Measurement:
    return Measurement(**common, series_id=series_id, value=1e18 / value, ci_low=1e18 / value, ci_high=1e18 / value)


def branch(name: str, **fields: str) -> Request:
    """A request for a run of a branch."""
    return Request(revision=Revision(branch=name, commit="abcdef1234", **fields))


def drilled(**factors: float) -> Request:
    """A request for a run that is slowed on purpose."""
    return Request(spec=RunSpec(suite="core", trials=5, drill=factors))


JUDGING = RunState.JUDGING.value
FINISHED = RunState.FINISHED.value
