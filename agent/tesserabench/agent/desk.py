"""What the agent says to the collector, and what it does about the answers."""

import asyncio
import time

import structlog
from tesserabench.agent import VERSION
from tesserabench.agent.admission import Admission
from tesserabench.agent.errors import SpoolError, Superseded
from tesserabench.agent.executor import Executor, Stop
from tesserabench.agent.host.health import health
from tesserabench.agent.host.machine import Machine
from tesserabench.agent.link.reconcile import Abandon, Accept, Cancel, Decline, StopWork, reconcile
from tesserabench.agent.metrics import AgentMetrics
from tesserabench.agent.roster import Roster
from tesserabench.agent.spool import AttemptKey, Spool
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1.agent_service_pb2 import HeldAttempt, RegisterRequest, SpoolState, SyncRequest, SyncResponse
from tesserabench.v1.host_pb2 import Inventory
from tesserabench.v1.run_pb2 import Progress
from tesserabench.wire import SCHEMA_VERSION

_CHECK_SECONDS = 5.0

log = structlog.get_logger(__name__)


class AgentDesk:
    """Speaks for roster, spool and machine in the dialogue with the collector."""

    def __init__(  # noqa: PLR0913 - everything it speaks for, all keyword-only
        self,
        *,
        host: str,
        process_id: str,
        inventory: Inventory,
        machine: Machine,
        roster: Roster,
        spool: Spool,
        executor: Executor,
        admission: Admission,
        metrics: AgentMetrics,
    ) -> None:
        self._host, self._process_id, self._inventory = host, process_id, inventory
        self._machine, self._roster, self._spool = machine, roster, spool
        self._executor, self._admission, self._metrics = executor, admission, metrics
        self._mark = 0
        self._declined: set[AttemptKey] = set()
        self._unready = ""
        self._checked_at = float("-inf")
        self.draining = False
        self.urgent, self.changed = roster.urgent, roster.changed
        self.answered = asyncio.Event()
        """Set by every answer; whoever waits for the next one clears it."""

    async def introduce(self) -> RegisterRequest:
        """Who this process is and what the host has."""
        request = RegisterRequest(
            host=self._host,
            process_id=self._process_id,
            agent_version=VERSION,
            schema_version=SCHEMA_VERSION,
            inventory=self._inventory,
        )
        request.agent_time.FromNanoseconds(time.time_ns())
        return request

    async def question(self) -> SyncRequest:
        """What is true now."""
        await self._check()
        self._report_health()
        spool = await asyncio.to_thread(self._spool.size)
        self._mark = self._roster.mark()
        request = SyncRequest(
            host=self._host,
            process_id=self._process_id,
            held=[
                HeldAttempt(
                    name=entry.key.name,
                    epoch=entry.key.epoch,
                    closing=entry.closing,
                    progress=Progress(
                        cases_done=entry.progress.cases_done,
                        cases_total=entry.progress.cases_total,
                        current_case=entry.progress.current_case,
                        phase=entry.progress.phase,
                    ),
                )
                for entry in self._roster.entries()
                if not entry.rejected
            ],
            draining=self.draining,
            unready_reason=self._unready,
            spool=SpoolState(pending_bytes=spool.pending_bytes, pending_records=spool.pending_records, full=spool.full),
            devices=self._machine.states,
        )
        if spool.oldest_age_seconds is not None:
            request.spool.oldest_age.FromNanoseconds(int(spool.oldest_age_seconds * 1e9))
        request.agent_time.FromNanoseconds(time.time_ns())
        return request

    async def answer(self, response: SyncResponse) -> bool:
        """Do what follows from an answer, and tell whether there was anything to do.

        Raises:
            Superseded: a newer process of this host has registered.
        """
        self.answered.set()
        actions = reconcile(
            self._roster.held(),
            response,
            ready=not self.draining and not self._unready,
            ended=self._roster.ended_since(self._mark),
        )
        did = False
        for action in actions:
            match action:
                case StopWork():
                    raise Superseded(
                        f"a newer agent has registered as host {self._host!r}; this one stops: give one of the two "
                        "another host name, or stop it"
                    )
                case Accept():
                    did |= await self._accept(action)
                case Cancel():
                    did = True
                    self._executor.stop(action.key, Stop(outcome=pb.OUTCOME_CANCELLED, reason=action.reason))
                case Abandon():
                    did = True
                    self._executor.stop(action.key, Stop(outcome=pb.OUTCOME_INTERRUPTED, reason=action.reason))
                case Decline() if action.key not in self._declined:
                    log.info("attempt.declined", attempt=action.key.name, reason=action.reason)
        self._declined = {action.key for action in actions if isinstance(action, Decline)}
        return did

    async def _accept(self, action: Accept) -> bool:
        try:
            await asyncio.to_thread(self._spool.begin, action.key)
        except SpoolError as error:
            log.error("attempt.declined", attempt=action.key.name, reason=str(error))  # noqa: TRY400 - says it all
            self._admission.disk_full(str(error))
            return False
        log.info("attempt.accepted", attempt=action.key.name, epoch=action.key.epoch)
        self._roster.add(action.key)
        self._executor.accept(action.assignment)
        return True

    def _report_health(self) -> None:
        measuring = self._roster.running is not None
        for device in self._machine.devices:
            if device.kind == "cuda" and device.uuid in self._machine.states:
                state = health(self._machine.states[device.uuid], measuring=measuring)
                self._metrics.gpu_state(device.uuid, state)

    async def _check(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._checked_at < _CHECK_SECONDS:
            return
        unready = await asyncio.to_thread(self._admission.unready)
        if unready and not self._unready:
            log.warning("host.unready", reason=unready)
        if self._unready and not unready:
            log.info("host.ready")
        self._unready, self._checked_at = unready, now
