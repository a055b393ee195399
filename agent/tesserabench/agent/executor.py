"""Runs the attempts that this host has taken, one at a time, and closes each of them whatever happens."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from tesserabench.agent.errors import AttemptRefused, ClocksRefused, DeviceBusy, DiskFull, SpoolFull
from tesserabench.agent.metrics import AgentMetrics
from tesserabench.agent.roster import Roster
from tesserabench.agent.runner.attempt import Attempt, AttemptEnd
from tesserabench.agent.runner.recorder import Recorder
from tesserabench.agent.runner.station import Station
from tesserabench.agent.spool import AttemptKey, Spool
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1.agent_service_pb2 import Assignment

_CLOSE_RETRY_SECONDS = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why a running attempt must stop."""

    outcome: pb.Outcome.ValueType
    reason: str


class Executor:
    """Takes assignments that the spool and the roster already hold."""

    def __init__(
        self,
        *,
        station: Station,
        spool: Spool,
        roster: Roster,
        metrics: AgentMetrics,
        written: Callable[[], None],
        disk_full: Callable[[str], None],
    ) -> None:
        self._station, self._spool, self._roster, self._metrics = station, spool, roster, metrics
        self._written, self._disk_full = written, disk_full
        self._queue: asyncio.Queue[Assignment] = asyncio.Queue()
        self._stops: dict[AttemptKey, asyncio.Future[Stop]] = {}
        self.idle = asyncio.Event()
        """Set while no attempt runs or waits to run."""
        self.idle.set()

    def accept(self, assignment: Assignment) -> None:
        """Run this next."""
        self.idle.clear()
        key = AttemptKey(name=assignment.name, epoch=assignment.epoch)
        self._stops[key] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(assignment)

    def stop(self, key: AttemptKey, stop: Stop) -> None:
        """Stop an attempt; its first reason counts."""
        future = self._stops.get(key)
        if future is not None and not future.done():
            log.info("attempt.stopping", attempt=key.name, epoch=key.epoch, reason=stop.reason)
            future.set_result(stop)

    def stop_all(self, stop: Stop) -> None:
        """Stop whatever runs or waits."""
        for key in tuple(self._stops):
            self.stop(key, stop)

    async def run(self) -> None:
        """Run attempts until cancelled; what is open then is closed at the next start."""
        while True:
            assignment = await self._queue.get()
            await self._carry_out(assignment)
            if self._queue.empty():
                self.idle.set()

    async def _carry_out(self, assignment: Assignment) -> None:
        key = AttemptKey(name=assignment.name, epoch=assignment.epoch)
        recorder = Recorder(self._spool, key, self._written)
        attempt = Attempt(self._station, assignment, recorder, lambda progress: self._roster.report(key, progress))
        log.info("attempt.started", attempt=key.name, epoch=key.epoch, suite=assignment.spec.suite)
        self._metrics.job_running(yes=True)
        try:
            end = await self._bounded(attempt, assignment)
        finally:
            self._metrics.job_running(yes=False)
        await self._close(attempt, recorder, end)
        self._metrics.job_finished(pb.Outcome.Name(end.outcome).removeprefix("OUTCOME_").lower())
        del self._stops[key]
        self._roster.close(key)
        self._written()

    async def _bounded(self, attempt: Attempt, assignment: Assignment) -> AttemptEnd:
        """Run an attempt to its end, its time limit or its stop; every way it can go wrong is an end."""
        try:
            return await self._race(attempt, assignment)
        except (AttemptRefused, ClocksRefused) as error:
            return AttemptEnd(outcome=pb.OUTCOME_UNSUPPORTED, reason=str(error))
        except DeviceBusy as error:
            return AttemptEnd(outcome=pb.OUTCOME_BUSY, reason=str(error))
        except (DiskFull, SpoolFull) as error:
            log.error("spool.exhausted", error=str(error))  # noqa: TRY400 - the sentence says it all
            self._disk_full(str(error))
            reason = f"the host's disk log could not take more, so the run was stopped: {error}"
            return AttemptEnd(outcome=pb.OUTCOME_INTERRUPTED, reason=reason)
        except Exception as error:
            # The daemon outlives a fault in the measuring of one attempt.
            log.exception("attempt.failed", attempt=assignment.name, epoch=assignment.epoch)
            reason = f"the agent failed with {type(error).__name__}: {error}; see its log and please report it"
            return AttemptEnd(outcome=pb.OUTCOME_HARNESS_ERROR, reason=reason)

    async def _race(self, attempt: Attempt, assignment: Assignment) -> AttemptEnd:
        spec = assignment.spec
        limit = spec.timeout.ToNanoseconds() / 1e9 or self._station.settings.budgets.attempt
        stop = self._stops[AttemptKey(name=assignment.name, epoch=assignment.epoch)]
        # A task of its own, because it is stopped while its surroundings go on; it never outlives this function.
        work = asyncio.ensure_future(attempt.run())
        try:
            racers: set[asyncio.Future[AttemptEnd] | asyncio.Future[Stop]] = {work, stop}
            await asyncio.wait(racers, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            await asyncio.wait({work})
        if not work.cancelled():
            return work.result()
        if stop.done():
            return AttemptEnd(outcome=stop.result().outcome, reason=stop.result().reason)
        reason = f"the attempt took longer than its {limit:g} s; raise the run's timeout or measure less"
        return AttemptEnd(outcome=pb.OUTCOME_TIMEOUT, reason=reason)

    async def _close(self, attempt: Attempt, recorder: Recorder, end: AttemptEnd) -> None:
        """Write the last records; when the disk has no room even for them, keep trying."""
        while True:
            try:
                await attempt.wind_up(end.outcome, end.reason)
                await recorder.attempt_finished(end.outcome, end.reason)
                break
            except DiskFull as error:
                log.error("attempt.unclosed", attempt=recorder.key.name, error=str(error))  # noqa: TRY400 - as above
                self._disk_full(str(error))
                await asyncio.sleep(_CLOSE_RETRY_SECONDS)
        log.info(
            "attempt.closed",
            attempt=recorder.key.name,
            epoch=recorder.key.epoch,
            outcome=pb.Outcome.Name(end.outcome),
            reason=end.reason or None,
        )
