"""The agent as a whole: starts its parts, drains them, stops them. Tests run it inside their own event loop."""

import asyncio
import contextlib
import os
import uuid
from collections.abc import Iterator

import grpc
import structlog
from tesserabench.agent import VERSION
from tesserabench.agent.admission import Admission
from tesserabench.agent.desk import AgentDesk
from tesserabench.agent.errors import AgentError, DiskFull, Superseded
from tesserabench.agent.executor import Executor, Stop
from tesserabench.agent.host.clocks import ClockKeeper
from tesserabench.agent.host.gpus import open_gpus
from tesserabench.agent.host.machine import Machine
from tesserabench.agent.host.readiness import Limits
from tesserabench.agent.link.channel import metadata, open_channel, token_source
from tesserabench.agent.link.dialogue import Dialogue
from tesserabench.agent.link.pace import Pace
from tesserabench.agent.link.uploader import Uploader
from tesserabench.agent.locks import state_dir_lock
from tesserabench.agent.metrics import AgentMetrics, MetricsServer
from tesserabench.agent.notify import Notifier
from tesserabench.agent.policy import allowed_kinds
from tesserabench.agent.roster import Roster
from tesserabench.agent.runner.catalogue import installed_suites
from tesserabench.agent.runner.station import Station
from tesserabench.agent.runner.variables import spoiling_lines
from tesserabench.agent.settings import Settings
from tesserabench.agent.spool import AttemptKey, Spool, open_spool
from tesserabench.agent.spool.recovery import close_orphans, find_orphans
from tesserabench.v1 import measurement_pb2 as pb

SPOOL_FILE = "spool.db"
METRICS_ADDRESS_FILE = "metrics.addr"

# What a last question and its answer may take when the agent goes down.
_FAREWELL_SECONDS = 2.0
_RECOVERY_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Agent:
    """One agent process. `run` lasts until `drain` or `stop_now` was called, or a newer agent took over."""

    def __init__(self, settings: Settings, notifier: Notifier | None = None) -> None:
        self.settings = settings
        self.process_id = uuid.uuid4().hex
        self.roster = Roster()
        self.metrics = AgentMetrics(settings.host)
        self.metrics_address = ""
        self.spool: Spool | None = None
        """The disk log, once `run` has opened it."""
        self.ready = asyncio.Event()
        """Set once every part runs."""
        self._notifier = notifier or Notifier()
        self._drain = asyncio.Event()
        self._at_once = asyncio.Event()
        self._superseded: Superseded | None = None
        self._orphans: tuple[AttemptKey, ...] = ()

    def drain(self) -> None:
        """Take no new work, let the running attempt finish within its time, send what is left, then end.

        Called a second time it does not wait.
        """
        if self._drain.is_set():
            self._at_once.set()
        self._drain.set()

    def stop_now(self) -> None:
        """End without waiting: the running attempt is closed as interrupted, what is unsent stays on disk."""
        self._at_once.set()
        self._drain.set()

    async def run(self) -> None:
        """Be the agent.

        Raises:
            StateDirLocked: another agent uses the state folder.
            Superseded: a newer process of this host has registered.
            AgentError: the agent cannot be started with these settings.
        """
        settings = self.settings
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(state_dir_lock(settings.state_dir))
            spool = await asyncio.to_thread(self._open_spool)
            stack.callback(spool.close)
            self.spool = spool
            machine = await asyncio.to_thread(self._open_machine)
            stack.callback(machine.close)
            stack.enter_context(self._serve_metrics(spool))
            channel = await stack.enter_async_context(open_channel(settings))
            await self._work(spool, machine, channel)
        if self._superseded is not None:
            raise self._superseded

    async def _work(self, spool: Spool, machine: Machine, channel: grpc.aio.Channel) -> None:
        """Put the parts together and keep them running until the agent has been stopped."""
        settings = self.settings
        token, pace = token_source(settings), Pace()
        uploader = Uploader(
            channel=channel,
            spool=spool,
            host=settings.host,
            metadata=lambda: metadata(token),
            link=settings.link,
            pace=pace,
            watcher=self,
        )
        admission = Admission(
            spool=spool,
            min_free_bytes=settings.min_free_bytes,
            failed=self.metrics.preflight_failed,
            complaints=lambda: {"clocks": machine.clock_keeper.complaint},
        )
        executor = Executor(
            station=Station(settings=settings, devices=machine.devices, watch=machine),
            spool=spool,
            roster=self.roster,
            metrics=self.metrics,
            written=uploader.wake,
            disk_full=admission.disk_full,
        )
        suites = await asyncio.to_thread(installed_suites, {device.kind for device in machine.devices})
        desk = AgentDesk(
            host=settings.host,
            process_id=self.process_id,
            inventory=machine.inventory(suites, settings.labels),
            machine=machine,
            roster=self.roster,
            spool=spool,
            executor=executor,
            admission=admission,
            metrics=self.metrics,
        )
        dialogue = Dialogue(
            channel=channel,
            desk=desk,
            metadata=lambda: metadata(token),
            link=settings.link,
            pace=pace,
            watcher=self,
        )
        async with asyncio.TaskGroup() as group:
            parts = (
                self._converse(dialogue),
                uploader.run(),
                executor.run(),
                machine.run(),
                self._notifier.run(),
                self._recover(spool, uploader, admission),
            )
            tasks = [group.create_task(part) for part in parts]
            log.info("agent.started", version=VERSION, host=settings.host, collector=settings.collector)
            self._notifier.ready()
            self.ready.set()
            await self._drain.wait()
            await self._go_down(desk, executor, uploader)
            for task in tasks:
                task.cancel()
        log.info("agent.stopped", unsent_records=spool.size().pending_records)

    async def _converse(self, dialogue: Dialogue) -> None:
        try:
            await dialogue.run()
        except Superseded as error:
            log.error("agent.superseded", message=str(error))  # noqa: TRY400 - the sentence says it all
            self._superseded = error
            self.stop_now()

    async def _go_down(self, desk: AgentDesk, executor: Executor, uploader: Uploader) -> None:
        """Let the running attempt finish, or stop it; then send what is left. Heartbeats go on meanwhile."""
        settings = self.settings
        desk.draining = True
        self.roster.wake()
        self._notifier.stopping()
        self._notifier.status("draining")
        log.info("agent.draining", running=str(self.roster.running or "nothing"))
        await self._wait(executor.idle, settings.drain_seconds)
        if not executor.idle.is_set():
            why = "a newer agent of this host took over" if self._superseded else "the agent was stopped"
            reason = f"{why} while it ran; measure again if the missing results matter"
            executor.stop_all(Stop(outcome=pb.OUTCOME_INTERRUPTED, reason=reason))
            # Longer than any kill takes; when even the disk log is stuck, the next start closes the attempt.
            await _within(executor.idle, 2 * settings.budgets.kill_grace + 10)
        uploader.wake()
        await self._wait(uploader.idle, settings.flush_seconds)
        desk.answered.clear()
        self.roster.wake()
        await self._wait(desk.answered, _FAREWELL_SECONDS)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, for so long, and not when the agent is to stop at once."""
        async with asyncio.TaskGroup() as group:
            waits = {group.create_task(event.wait()), group.create_task(self._at_once.wait())}
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    # What link and uploader tell (LinkWatcher, UploadWatcher)

    def connected(self, *, yes: bool) -> None:
        """The collector answered, or did not."""
        self.metrics.connected(yes=yes)
        self._notifier.status(f"{'connected to' if yes else 'cannot reach'} {self.settings.collector}")

    def reconnecting(self) -> None:
        """The connection was lost."""
        self.metrics.reconnecting()

    def clock_offset(self, seconds: float) -> None:
        """This host's clock minus the collector's."""
        self.metrics.clock_offset(seconds)

    def left(self, key: AttemptKey) -> None:
        """An attempt is closed and wholly committed."""
        self.roster.remove(key)

    def rejected(self, key: AttemptKey, *, yes: bool) -> None:
        """The collector does not know an attempt, or knows it again."""
        self.roster.reject(key, rejected=yes)

    def _open_machine(self) -> Machine:
        """The machine, with the clocks freed that a killed predecessor left locked."""
        settings = self.settings
        gpus = open_gpus()
        clocks = ClockKeeper(settings.clocks, settings.state_dir, gpus)
        clocks.free_leftovers()
        for line in spoiling_lines(os.environ):
            log.warning("environment.spoiled", message=line)
        limits = Limits(**settings.readiness.model_dump())
        return Machine(allowed_kinds(settings.devices), gpus, clocks=clocks, limits=limits)

    def _open_spool(self) -> Spool:
        """The spool, with the attempts closed that a killed predecessor left open."""
        settings = self.settings
        opened = open_spool(
            settings.state_dir / SPOOL_FILE, max_bytes=settings.spool_max_bytes, fsync=settings.spool_fsync
        )
        if opened.moved_aside is not None:
            log.error("spool.moved_aside", complaint=opened.complaint, kept_as=str(opened.moved_aside))
        try:
            for attempt in opened.spool.attempts():
                self.roster.add(attempt.key, closing=True)
            self._orphans = find_orphans(opened.spool)
            self._close_orphans(opened.spool)
        except AgentError:
            opened.spool.close()
            raise
        return opened.spool

    def _close_orphans(self, spool: Spool) -> None:
        """Close what a killed predecessor left open; when the disk has no room even for that, it stays to be done."""
        try:
            close_orphans(spool, self._orphans)
        except DiskFull as error:
            log.error("attempt.unclosed", error=str(error))  # noqa: TRY400 - the sentence says it all
            return
        for key in self._orphans:
            log.warning("attempt.recovered", attempt=key.name, epoch=key.epoch, outcome="interrupted")
        self._orphans = ()

    async def _recover(self, spool: Spool, uploader: Uploader, admission: Admission) -> None:
        """Keep trying to close the orphans for as long as the disk is full."""
        while self._orphans:
            admission.disk_full(f"{spool.path} cannot grow; free space on its disk")
            await asyncio.sleep(_RECOVERY_SECONDS)
            await asyncio.to_thread(self._close_orphans, spool)
            uploader.wake()

    @contextlib.contextmanager
    def _serve_metrics(self, spool: Spool) -> Iterator[None]:
        listen = self.settings.metrics_listen
        self.metrics.watch_spool(spool.size)
        if not listen:
            yield
            return
        try:
            server = MetricsServer(listen, self.metrics.registry)
        except OSError as error:
            reason = error.strerror or str(error)
            raise AgentError(f"metrics_listen {listen} cannot be opened: {reason}; set another address") from None
        address_file = self.settings.state_dir / METRICS_ADDRESS_FILE
        try:
            self.metrics_address = server.address
            address_file.write_text(f"{server.address}\n", encoding="utf-8")
            log.info("metrics.listening", address=server.address)
            yield
        finally:
            address_file.unlink(missing_ok=True)
            server.close()


async def _within(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
