"""Runs: asked for, planned, stopped, repeated."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from tesserabench.collector.core import attempts, audit, endings, look_progress, planning, policies, waiting
from tesserabench.collector.core.look_progress import LookView
from tesserabench.collector.core.spec import GateSpec, Revision, RunSpec
from tesserabench.collector.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError, invalid_field
from tesserabench.collector.store import attempts as attempt_store
from tesserabench.collector.store import hosts as host_store
from tesserabench.collector.store import notices
from tesserabench.collector.store import projects as project_store
from tesserabench.collector.store import runs as store
from tesserabench.collector.store.notices import notify_run
from tesserabench.collector.store.tables import Attempt, Run
from tesserabench.collector.store.words import AttemptState, IdenticalRun, Outcome, RunState, TriggerKind
from tesserabench.wire.names import run_name
from tesserabench.wire.reasons import Reason

DEFAULT_DEADLINE_SECONDS = 3600.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to create. `deadline_at` none takes an hour from now."""

    project: str
    spec: RunSpec
    revision: Revision = field(default_factory=Revision)
    gate: GateSpec = field(default_factory=GateSpec)
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    deadline_at: datetime | None = None
    trigger: TriggerKind = TriggerKind.PERSON
    request_id: str = ""
    parent_id: int | None = None
    schedule_id: int | None = None
    identical: IdenticalRun = IdenticalRun.NEITHER
    """Which one it is of two runs that measure the same code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run with what is shown beside it."""

    run: Run
    project: str
    attempts: Sequence[tuple[Attempt, str, int]]
    """Attempt, its host's name (or empty) and the last committed record of its log (or 0)."""
    failures: Mapping[str, int]
    waits_for: str | None = None
    """What a queued run waits for now; none when that was not looked at."""
    looks: Sequence[LookView] = ()
    """Looks that follow the first one."""
    looking: str = ""
    """Which of them is being taken, while one is."""

    @property
    def reason(self) -> str:
        """What a person should know of the run: why it failed, why it waits."""
        if self.waits_for is not None:
            return self.waits_for
        return ", ".join(filter(None, (self.run.reason, self.looking)))


def require_plain(spec: RunSpec, *, within: str = "") -> None:
    """Refuse what cannot be measured twice as the same code.

    Raises:
        InvalidArgumentError: it is slowed on purpose, or measures two arms.
    """
    remedy = f"what is identical is the same code twice, as it is; leave this or {within}identical out"
    if spec.drill:
        raise invalid_field(f"{within}spec.drill", ", ".join(sorted(spec.drill)), remedy)
    if spec.duet is not None:
        raise invalid_field(f"{within}spec.duet", "set", remedy)


async def create(session: AsyncSession, request: NewRun, *, actor: str, now: datetime) -> Run:
    """The run that was asked for, queued; the run of before when the request id is known.

    Raises:
        InvalidArgumentError: something in the request is wrong; names field, value and remedy.
        AlreadyExistsError: the request id belongs to a different request.
    """
    if request.deadline_at is not None and request.deadline_at <= now:
        raise invalid_field("deadline", request.deadline_at.isoformat(), "lies in the past; give a later time")
    if request.identical is IdenticalRun.FIRST:
        require_plain(request.spec)
    branch, suite = request.revision.branch, request.spec.suite
    rule = await policies.rule_of_run(session, request.project, suite=suite, branch=branch)
    planned = await planning.plan(session, request.spec, rule)
    project = await project_store.get_or_create(session, request.project)
    if request.request_id:
        await store.lock_request_id(session, project.id, request.request_id)
        before = await store.by_request_id(session, project.id, request.request_id)
        if before is not None:
            return _same(before, request)
    spec = planned.spec.settled(seed=secrets.randbelow(2**63 - 1) + 1)
    run = _row(replace(request, gate=policies.gate_under(request.gate, rule)), spec, project.id, actor, now)
    run.reason = planned.sentence()
    session.add(run)
    await session.flush()
    session.add_all(_attempt(run, spec, ordinal, now) for ordinal in range(spec.selector.count))
    await audit.record(session, actor, "run.created", run_name(run.id), {"suite": spec.suite, "trigger": run.trigger})
    await notices.wake_hosts(session, planned.matching)
    await notify_run(session, run.id)
    _log.info("run.created", run=run.id, suite=spec.suite, trigger=run.trigger, actor=actor)
    return run


def _row(request: NewRun, spec: RunSpec, project_id: int, actor: str, now: datetime) -> Run:
    return Run(
        project_id=project_id,
        suite=spec.suite,
        tier=spec.tier,
        spec=spec.to_json(),
        gate=request.gate.to_json(),
        labels=dict(request.labels),
        commit=request.revision.commit,
        branch=request.revision.branch,
        base_branch=request.revision.base_branch,
        pull_request=request.revision.pull_request,
        build_url=request.revision.build_url,
        repository=request.revision.repository,
        priority=request.priority,
        deadline_at=request.deadline_at or now + timedelta(seconds=DEFAULT_DEADLINE_SECONDS),
        trigger=request.trigger.value,
        requested_by=actor,
        request_id=request.request_id or None,
        parent_id=request.parent_id,
        schedule_id=request.schedule_id,
        identical=request.identical.value,
        drill=bool(spec.drill),
        state=RunState.QUEUED.value,
        reason="",
        verdict_reason="",
        created_at=now,
        revision_number=0,
    )


def _attempt(run: Run, spec: RunSpec, ordinal: int, now: datetime) -> Attempt:
    return Attempt(
        run_id=run.id,
        ordinal=ordinal,
        epoch=1,
        state=AttemptState.QUEUED.value,
        suite=spec.suite,
        device_kind=spec.device_kind,
        hosts=list(spec.selector.hosts),
        conditions=list(spec.selector.conditions),
        priority=run.priority,
        created_at=now,
        deadline_at=run.deadline_at,
    )


def _same(run: Run, request: NewRun) -> Run:
    """The earlier run, when it was asked for in the same way."""
    kept = RunSpec.from_json(run.spec)
    spec, gate = request.spec.settled(seed=kept.seed), request.gate
    # What was left to the policy is what that said then.
    if not spec.selector.hosts:
        spec = replace(spec, selector=replace(spec.selector, hosts=kept.selector.hosts))
    if not gate.says_how:
        gate = replace(GateSpec.from_json(run.gate), baseline=gate.baseline)
    asked = (
        spec.to_json(),
        gate.to_json(),
        dict(request.labels),
        request.revision,
        request.priority,
    )
    revision = Revision(**{name: getattr(run, name) for name in Revision.__slots__})
    if asked == (kept.to_json(), run.gate, run.labels, revision, run.priority):
        return run
    message = (
        f"request_id: {request.request_id!r}: was used for {run_name(run.id)}, which asks for something else; "
        "choose a new request id"
    )
    raise AlreadyExistsError(message, reason=Reason.REQUEST_ID_REUSED)


async def view(session: AsyncSession, run_id: int, *, now: datetime | None = None) -> RunView:
    """A run with its attempts and failures, and given the time with what it waits for.

    Raises:
        NotFoundError: there is no such run.
    """
    found = await store.find(session, run_id)
    if found is None:
        raise not_found(run_id)
    return (await views(session, [(found[0], found[1])], now=now))[0]


async def views(
    session: AsyncSession, rows: Iterable[tuple[Run, str]], *, now: datetime | None = None
) -> list[RunView]:
    """Runs (with their projects' names) with what is shown beside them, in the order given."""
    kept = list(rows)
    ids = [run.id for run, _ in kept]
    by_run: dict[int, list[tuple[Attempt, str, int]]] = {run_id: [] for run_id in ids}
    for attempt, host, committed in await attempt_store.of_runs(session, ids):
        by_run[attempt.run_id].append((attempt, host or "", committed or 0))
    failures = await store.failures(session, ids)
    waits = await waiting.reasons(session, [run for run, _ in kept], now) if now is not None else {}
    looks = await look_progress.views(session, ids)
    return [
        RunView(
            run=run,
            project=project,
            attempts=by_run[run.id],
            failures=failures.get(run.id, {}),
            waits_for=waits.get(run.id),
            looks=looks.get(run.id, ()),
            looking=_looking(run, looks.get(run.id, ()), now),
        )
        for run, project in kept
    ]


def _looking(run: Run, looks: Sequence[LookView], now: datetime | None) -> str:
    if run.state != RunState.JUDGING or not looks or now is None:
        return ""
    return look_progress.progress(run, looks, now)


def not_found(run_id: int) -> NotFoundError:
    """The error for a run that is not there."""
    message = f"{run_name(run_id)} does not exist; list the runs to find its name"
    return NotFoundError(message, reason=Reason.RUN_NOT_FOUND)


async def cancel(session: AsyncSession, run_id: int, *, actor: str, reason: str, now: datetime) -> None:
    """Stop a run; a finished one stays as it is. What runs is told to stop through its host's next answer.

    Raises:
        NotFoundError: there is no such run.
    """
    run = await attempt_store.lock_run(session, run_id)
    if run is None:
        raise not_found(run_id)
    if run.state == RunState.FINISHED:
        return
    sentence = f"cancelled by {actor}" + (f": {reason}" if reason else "")
    await audit.record(session, actor, "run.cancelled", run_name(run.id), {"reason": reason})
    if run.state == RunState.JUDGING:
        run.outcome, run.reason = Outcome.CANCELLED.value, sentence
        await endings.finish(session, run, now)
    else:
        await _cancel_attempts(session, run, sentence, now)
    for child_id in await store.unfinished_confirmations(session, run.id):
        await cancel(session, child_id, actor=actor, reason=f"{run_name(run.id)} was cancelled", now=now)
    _log.info("run.cancelled", run=run.id, actor=actor, reason=reason)


async def _cancel_attempts(session: AsyncSession, run: Run, sentence: str, now: datetime) -> None:
    told: set[int] = set()
    for attempt in await attempt_store.lock_attempts(session, run.id):
        if attempt.state in {AttemptState.QUEUED, AttemptState.OFFERED}:
            await attempts.end(session, run, attempt, Outcome.CANCELLED, reason=sentence, now=now)
        elif attempt.state != AttemptState.FINISHED and attempt.cancel_reason is None:
            attempt.cancel_reason = sentence
            told |= {attempt.host_id} if attempt.host_id is not None else set()
    run.revision_number += 1
    if run.state != RunState.FINISHED:
        run.reason = sentence
    await notices.wake_hosts(session, await host_store.names(session, told))
    await notify_run(session, run.id)


async def retry(session: AsyncSession, run_id: int, *, request_id: str, actor: str, now: datetime) -> Run:
    """A new run that measures the same again.

    Raises:
        NotFoundError: there is no such run.
        FailedPreconditionError: the run confirms another one; that one is to be repeated.
    """
    found = await store.find(session, run_id)
    if found is None:
        raise not_found(run_id)
    run, project = found
    if run.trigger == TriggerKind.CONFIRMATION and run.parent_id is not None:
        message = f"{run_name(run.id)} confirms {run_name(run.parent_id)}; repeat {run_name(run.parent_id)} instead"
        raise FailedPreconditionError(message, reason=Reason.INVALID_FIELD)
    request = replace(repeated(run, project), request_id=request_id, trigger=TriggerKind.RETRY)
    return await create(session, request, actor=actor, now=now)


def repeated(run: Run, project: str) -> NewRun:
    """What to ask for to measure the same again, as a child of the run."""
    return NewRun(
        project=project,
        spec=RunSpec.from_json(run.spec),
        revision=Revision(**{name: getattr(run, name) for name in Revision.__slots__}),
        gate=GateSpec.from_json(run.gate),
        labels=dict(run.labels),
        priority=run.priority,
        parent_id=run.id,
    )
