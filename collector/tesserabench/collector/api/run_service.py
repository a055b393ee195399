"""RunService: asking for runs and following them."""

import hashlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime

from tesserabench.collector.api import pages
from tesserabench.collector.api.actor import current_actor, require_project
from tesserabench.collector.api.calls import Context
from tesserabench.collector.api.enums import word
from tesserabench.collector.api.translation import (
    from_json,
    gate_of,
    log_entry,
    moment,
    revision_of,
    run_message,
    spec_of,
)
from tesserabench.collector.core import baselines, planning, policies, runs
from tesserabench.collector.core.wakeups import TICK_SECONDS, Wakeups
from tesserabench.collector.errors import UnavailableError
from tesserabench.collector.store import runs as store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.notices import RUN_CHANNEL
from tesserabench.collector.store.projects import DEFAULT_PROJECT
from tesserabench.collector.store.words import IdenticalRun, TriggerKind
from tesserabench.v1 import run_pb2, run_service_pb2, run_service_pb2_grpc
from tesserabench.wire.names import parse_run
from tesserabench.wire.reasons import Reason

WATCH_PAUSE_SECONDS = 0.25
"""Shortest time between two states that a watcher is sent."""

_LOG_PAGE = 1000


class RunService(run_service_pb2_grpc.RunServiceServicer):
    """Serves people and pipelines that measure."""

    def __init__(self, database: Database, wakeups: Wakeups, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._wakeups = wakeups
        self._clock = clock

    async def CreateRun(  # noqa: N802 - named by the contract
        self,
        request: run_service_pb2.CreateRunRequest,
        context: Context,  # noqa: ARG002
    ) -> run_pb2.Run:
        """Ask for a run, or plan it only."""
        project = request.project or DEFAULT_PROJECT
        actor = require_project(project)
        asked = runs.NewRun(
            project=project,
            spec=spec_of(request.spec),
            revision=revision_of(request.revision),
            gate=gate_of(request.gate),
            labels=dict(request.labels),
            priority=request.priority,
            deadline_at=moment(request, "deadline"),
            trigger=_trigger(request.trigger),
            request_id=request.request_id,
            identical=IdenticalRun.FIRST if request.identical else IdenticalRun.NEITHER,
        )
        if request.dry_run:
            return await self._planned(asked)
        async with self._database.transaction() as session:
            run = await runs.create(session, asked, actor=actor.name, now=self._clock())
            return run_message(await runs.view(session, run.id, now=self._clock()))

    async def _planned(self, asked: runs.NewRun) -> run_pb2.Run:
        if asked.identical is IdenticalRun.FIRST:
            runs.require_plain(asked.spec)
        async with self._database.transaction() as session:
            branch, suite = asked.revision.branch, asked.spec.suite
            rule = await policies.rule_of_run(session, asked.project, suite=suite, branch=branch)
            plan = await planning.plan(session, asked.spec, rule)
            base = await baselines.told(session, asked.gate.baseline, project=asked.project, suite=suite)
        hosts = ", ".join(f"{host} ({device})" for host, device in plan.matching.items())
        others = "; ".join(f"{host}: {reason}" for host, reason in plan.others[:20])
        told = [
            plan.sentence(),
            f"would run on {plan.spec.selector.count} of: {hosts}" if hosts else "",
            f"does not match {others}" if hosts and others else "",
            base,
        ]
        return run_pb2.Run(
            project=asked.project,
            spec=from_json(plan.spec.to_json(), run_pb2.RunSpec()),
            revision=from_json(asked.revision.to_json(), run_pb2.Revision()),
            gate=from_json(policies.gate_under(asked.gate, rule).to_json(), run_pb2.GateSpec()),
            labels=asked.labels,
            priority=asked.priority,
            reason="; ".join(part.rstrip("; ") for part in told if part),
        )

    async def GetRun(  # noqa: N802 - named by the contract
        self,
        request: run_service_pb2.GetRunRequest,
        context: Context,  # noqa: ARG002
    ) -> run_pb2.Run:
        """One run."""
        return await self._read(parse_run(request.name))

    async def ListRuns(  # noqa: N802 - named by the contract
        self,
        request: run_service_pb2.ListRunsRequest,
        context: Context,  # noqa: ARG002
    ) -> run_service_pb2.ListRunsResponse:
        """Runs, newest first."""
        project = request.project or current_actor().project
        require_project(project)
        wanted = store.RunFilter(
            project=project,
            suite=request.suite,
            branch=request.branch,
            commit=request.commit.lower(),
            state=word(run_pb2.RunState, request.state),
            verdict=word(run_pb2.Verdict, request.verdict),
        )
        position = pages.position(request, [int])
        size = pages.size_of(request)
        async with self._database.transaction() as session:
            before = int(position[0]) if position else None
            found = await store.page(session, wanted, before_id=before, size=size + 1)
            rows, more = pages.cut(found, size)
            views = await runs.views(session, [(run, name) for run, name in rows], now=self._clock())
        token = pages.next_token(request, [views[-1].run.id]) if more else ""
        return run_service_pb2.ListRunsResponse(runs=map(run_message, views), next_page_token=token)

    async def WatchRun(  # noqa: N802 - named by the contract
        self,
        request: run_service_pb2.WatchRunRequest,
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[run_service_pb2.WatchRunResponse]:
        """A run's state whenever it changes, until it has finished."""
        run_id = parse_run(request.name)
        seen, sent_at = request.cursor, 0.0
        with self._wakeups.waiting(RUN_CHANNEL, str(run_id)) as waiter:
            while True:
                run = await self._read(run_id)
                cursor = hashlib.sha256(run.SerializeToString(deterministic=True)).hexdigest()[:16]
                finished = run.state == run_pb2.RUN_STATE_FINISHED
                if cursor != seen or finished:
                    yield run_service_pb2.WatchRunResponse(run=run, cursor=cursor)
                    seen, sent_at = cursor, time.monotonic()
                if finished:
                    return
                if self._wakeups.closed:
                    message = "the collector is stopping; watch again with the cursor"
                    raise UnavailableError(message, reason=Reason.DATABASE_UNAVAILABLE)
                await waiter.wait(TICK_SECONDS)
                # Changes that come faster are told together.
                await waiter.pause(WATCH_PAUSE_SECONDS - (time.monotonic() - sent_at))

    async def ListRunLogs(  # noqa: N802 - named by the contract
        self,
        request: run_service_pb2.ListRunLogsRequest,
        context: Context,  # noqa: ARG002
    ) -> run_service_pb2.ListRunLogsResponse:
        """Lines that the run's workers wrote."""
        run_id = parse_run(request.name)
        position = pages.position(request, [int])
        size = pages.size_of(request, _LOG_PAGE)
        async with self._database.transaction() as session:
            require_project((await runs.view(session, run_id)).project)
            lines = await store.logs(session, run_id, after_id=int(position[0]) if position else 0, size=size)
        last = lines[-1].id if lines else int(position[0]) if position else 0
        token = pages.next_token(request, [last])
        return run_service_pb2.ListRunLogsResponse(entries=map(log_entry, lines), next_page_token=token)

    async def CancelRun(  # noqa: N802 - named by the contract
        self,
        request: run_service_pb2.CancelRunRequest,
        context: Context,  # noqa: ARG002
    ) -> run_pb2.Run:
        """Stop a run."""
        run_id = parse_run(request.name)
        async with self._database.transaction() as session:
            actor = require_project((await runs.view(session, run_id)).project)
            await runs.cancel(session, run_id, actor=actor.name, reason=request.reason, now=self._clock())
        return await self._read(run_id)

    async def RetryRun(  # noqa: N802 - named by the contract
        self,
        request: run_service_pb2.RetryRunRequest,
        context: Context,  # noqa: ARG002
    ) -> run_pb2.Run:
        """Ask for the same measurement again."""
        run_id = parse_run(request.name)
        async with self._database.transaction() as session:
            actor = require_project((await runs.view(session, run_id)).project)
            run = await runs.retry(session, run_id, request_id=request.request_id, actor=actor.name, now=self._clock())
            return run_message(await runs.view(session, run.id, now=self._clock()))

    async def _read(self, run_id: int) -> run_pb2.Run:
        async with self._database.transaction() as session:
            view = await runs.view(session, run_id, now=self._clock())
            require_project(view.project)
            return run_message(view)


def _trigger(value: run_pb2.TriggerKind.ValueType) -> TriggerKind:
    """What a caller may say of itself; the other kinds are the collector's own to give."""
    return TriggerKind.CI if value == run_pb2.TRIGGER_KIND_CI else TriggerKind.PERSON
