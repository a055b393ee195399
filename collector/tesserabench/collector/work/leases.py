"""Keeping leases and deadlines: what time alone does to attempts. Safe with any number of replicas."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from tesserabench.collector.core import attempts, planning
from tesserabench.collector.core.attempts import Held, Patience, Step
from tesserabench.collector.core.eligibility import explain_absence
from tesserabench.collector.core.spec import RunSpec
from tesserabench.collector.store import attempts as store
from tesserabench.collector.store import hosts as host_store
from tesserabench.collector.store.database import Database
from tesserabench.collector.store.tables import Host, Run
from tesserabench.collector.store.words import Outcome

_log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Looks for attempts whose time has run out and carries out what follows."""

    def __init__(self, database: Database, patience: Patience, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._patience = patience
        self._clock = clock

    async def step(self) -> None:
        """Deal with everything that is overdue now, each run in a transaction of its own."""
        now = self._clock()
        lost_before = now - timedelta(seconds=self._patience.lost_after_seconds)
        orphaned_before = now - timedelta(seconds=self._patience.orphan_grace_seconds)
        async with self._database.transaction() as session:
            overdue = await store.overdue(session, now, lost_before, orphaned_before)
        for run_id in dict.fromkeys(run_id for run_id, _ in overdue):
            await self._settle(run_id, now)

    async def _settle(self, run_id: int, now: datetime) -> None:
        async with self._database.transaction() as session:
            run = await store.lock_run(session, run_id)
            if run is None:
                return
            hosts = {host.id: host for host in await host_store.all_hosts(session)}
            for attempt in await store.lock_attempts(session, run_id):
                host = hosts.get(attempt.host_id) if attempt.host_id is not None else None
                lease = host.lease_expires_at if host is not None else None
                held = Held.of(attempt, host=host.name if host is not None else "", lease_expires_at=lease)
                step = attempts.overdue_step(held, now, self._patience)
                if step is None:
                    continue
                if step.outcome is Outcome.NO_ELIGIBLE_HOST and not step.reason:
                    step = Step(
                        event=step.event, outcome=step.outcome, reason=_why_nobody(run, list(hosts.values()), now)
                    )
                await attempts.apply(session, run, attempt, step, now)


def _why_nobody(run: Run, hosts: list[Host], now: datetime) -> str:
    """Which hosts there are, and why none of them took the run."""
    plan = planning.match(RunSpec.from_json(run.spec), hosts)
    by_name = {host.name: host for host in hosts}
    idle = [(name, _why_idle(by_name[name], now)) for name in plan.matching]
    return f"no host took it before the deadline; {explain_absence([*idle, *plan.others])}"


def _why_idle(host: Host, now: datetime) -> str:
    if host.lease_expires_at <= now:
        return f"matches, but has not been heard of since {host.last_seen_at:%Y-%m-%d %H:%M:%S} UTC"
    if host.draining or host.unready_reason:
        return f"matches, but takes no work: {host.unready_reason or 'the agent is shutting down'}"
    return "matches, but was busy with other runs"
