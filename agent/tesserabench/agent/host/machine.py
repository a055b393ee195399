"""The machine as the rest of the agent sees it: which devices it has, and what they say."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import structlog
from tesserabench.agent.host import energy, fingerprint, identity
from tesserabench.agent.host.clocks import OBSERVE, ClockKeeper
from tesserabench.agent.host.gpus import Gpus
from tesserabench.agent.host.placement import placement_of
from tesserabench.agent.host.processor import processor_state
from tesserabench.agent.host.readiness import Limits, obstacles
from tesserabench.agent.host.track import BlindTrack, CounterUnits, GpuTrack
from tesserabench.agent.runner.watch import Fact, Facts, Obstacle, Placement
from tesserabench.v1.host_pb2 import Device, Inventory, SuiteInfo
from tesserabench.v1.measurement_pb2 import DeviceState

_SAMPLE_SECONDS = 0.05
_IDLE_SECONDS = 10.0
_IDLE_POWER_SECONDS = 1.0
# What bench's simulated device calls itself when its script does not say otherwise.
_SIMULATED_MODEL = "Simulated Accelerator"

log = structlog.get_logger(__name__)


class Machine:
    """Lists the devices and reads them; `run` keeps the states fresh. Implements the runner's `DeviceWatch`."""

    def __init__(
        self,
        kinds: Collection[str],
        gpus: Gpus | None,
        *,
        clocks: ClockKeeper | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._gpus = gpus
        self.clock_keeper = clocks or ClockKeeper(OBSERVE, Path(), gpus)
        self._limits = limits or Limits()
        self._units = CounterUnits()
        self.devices = tuple(_devices(kinds, gpus))
        self.states: dict[str, DeviceState] = {}
        """The newest state of each device by UUID."""
        self.findings: dict[str, dict[str, str]] = {}
        """What is the matter with a device: by UUID, a sentence for each stable word."""
        self._tracks: list[GpuTrack] = []
        self._tracking = asyncio.Event()

    def close(self) -> None:
        """Let go of NVML."""
        if self._gpus is not None:
            self._gpus.close()

    def inventory(self, suites: Sequence[SuiteInfo], labels: dict[str, str]) -> Inventory:
        """What the host has."""
        return Inventory(
            cpu_model=identity.cpu_model(),
            cpu_count=identity.cpu_count(),
            memory_bytes=identity.memory_bytes(),
            os=identity.os_name(),
            boot_id=identity.boot_id(),
            devices=self.devices,
            suites=suites,
            labels=labels,
        )

    async def run(self) -> None:
        """Read the devices now and then, and about twenty times a second those that are measured."""
        loop = asyncio.get_running_loop()
        while True:
            for device in self.devices:
                await self.state(device)
            await self._collect_xids()
            idle_until = loop.time() + _IDLE_SECONDS
            while loop.time() < idle_until:
                await self._sample(idle_until)

    async def state(self, device: Device) -> DeviceState:
        """What a device says now."""
        if device.kind == "cuda" and self._gpus is not None:
            state = await asyncio.to_thread(self._gpus.state, device.uuid)
        elif device.kind == "cpu":
            state = await asyncio.to_thread(processor_state)
        else:
            state = DeviceState()
            state.time.FromNanoseconds(time.time_ns())
        state.findings.extend(sorted(self.findings_of(device)))
        self.states[device.uuid] = state
        return state

    async def foreign_pids(self, device: Device) -> tuple[int, ...]:
        """Processes that compute on a device now; to be asked while no worker of ours runs."""
        if device.kind != "cuda" or self._gpus is None:
            return ()
        return await asyncio.to_thread(self._gpus.process_ids, device.uuid)

    async def obstacles(self, device: Device) -> tuple[Obstacle, ...]:
        """Why a device should not be measured now; to be asked while no worker of ours runs."""
        if device.kind != "cuda" or self._gpus is None:
            return ()
        state = await self.state(device)
        return tuple(obstacles(device, state, await self.foreign_pids(device), self._limits))

    @contextlib.contextmanager
    def track(self, device: Device, before: DeviceState) -> Iterator[GpuTrack | BlindTrack]:  # noqa: ARG002 - a track reads for itself
        """Follow a device closely."""
        if device.kind != "cuda" or self._gpus is None:
            yield BlindTrack(device)
            return
        locked = self._gpus.locked(device.uuid) or self.clock_keeper.holds(device.uuid)
        track = GpuTrack(device, self._gpus, self._units, self._collect_xids, locked=locked)
        self._tracks.append(track)
        self._tracking.set()
        try:
            yield track
        finally:
            self._tracks.remove(track)
            if not self._tracks:
                self._tracking.clear()

    async def idle_watts(self, device: Device) -> float | None:
        """Power of a device while nothing runs on it, over one second."""
        if device.kind != "cuda" or self._gpus is None:
            return None
        loop = asyncio.get_running_loop()
        until = loop.time() + _IDLE_POWER_SECONDS
        readings = [await asyncio.to_thread(self._gpus.reading, device.uuid)]
        while loop.time() < until:
            await asyncio.sleep(_SAMPLE_SECONDS)
            readings.append(await asyncio.to_thread(self._gpus.reading, device.uuid))
        return energy.idle_watts(readings)

    async def facts(self, device: Device) -> Facts:
        """What may change results and only the agent can read."""
        found = await asyncio.to_thread(fingerprint.host_facts)
        if device.kind != "cuda" or self._gpus is None:
            return Facts(all=found)
        handle = self._gpus.handle(device.uuid)
        gpu: Mapping[str, Fact] = await asyncio.to_thread(fingerprint.gpu_facts, self._gpus.nvml, handle)
        policy: dict[str, Fact] = {"gpu.clock_policy": self.clock_keeper.policy}
        everything = {**found, **gpu, **policy}
        return Facts(all=everything, comparable=fingerprint.comparable_of(everything))

    async def placement(self, device: Device) -> Placement:
        """The processors and the memory next to a device."""
        if device.kind != "cuda" or self._gpus is None:
            return Placement()
        return await asyncio.to_thread(placement_of, self._gpus.nvml, self._gpus.handle(device.uuid))

    @contextlib.asynccontextmanager
    async def clocks(self, device: Device) -> AsyncIterator[str]:
        """Handle the clocks as the settings say while entered.

        Raises:
            ClocksRefused: they cannot be locked.
        """
        if device.kind != "cuda":
            yield OBSERVE
            return
        # Without a thread: the reset must not be left half done when this is cancelled, and takes a moment only.
        with self.clock_keeper.handled(device.uuid) as policy:
            yield policy

    def finding(self, device: Device, word: str, sentence: str) -> None:
        """Note something about the health of a device that a person should look at."""
        log.error("device.finding", device=device.uuid, finding=word, message=sentence)
        self.findings.setdefault(device.uuid, {})[word] = sentence

    def recovered(self, device: Device, *words: str) -> None:
        """Take findings back."""
        found = self.findings.get(device.uuid, {})
        for word in words:
            if found.pop(word, None) is not None:
                log.info("device.recovered", device=device.uuid, finding=word)

    def findings_of(self, device: Device) -> Mapping[str, str]:
        """What is the matter with a device, by word."""
        return self.findings.get(device.uuid, {})

    async def _collect_xids(self) -> None:
        if self._gpus is None:
            return
        for uuid, number in await asyncio.to_thread(self._gpus.xids):
            log.error("gpu.xid", gpu=uuid, xid=number)
            for track in self._tracks:
                if track.device.uuid == uuid:
                    track.note_xid(number)

    async def _sample(self, until: float) -> None:
        """Wait until something is tracked, or a sample later; reading a CPU would disturb what is measured on it."""
        try:
            async with asyncio.timeout_at(until):
                await self._tracking.wait()
        except TimeoutError:
            return
        began = asyncio.get_running_loop().time()
        await self._collect_xids()
        for track in tuple(self._tracks):
            if self._gpus is not None:
                track.take(await asyncio.to_thread(self._gpus.reading, track.device.uuid))
        spent = asyncio.get_running_loop().time() - began
        await asyncio.sleep(max(_SAMPLE_SECONDS / 5, _SAMPLE_SECONDS - spent))


def _devices(kinds: Collection[str], gpus: Gpus | None) -> Iterator[Device]:
    machine = identity.machine_hash()
    if "cuda" in kinds and gpus is not None:
        yield from gpus.devices
    if "cpu" in kinds:
        yield Device(
            uuid=f"cpu-{machine}", kind="cpu", model=identity.cpu_model(), memory_bytes=identity.memory_bytes()
        )
    if "simulated" in kinds:
        yield Device(uuid=f"simulated-{machine}", kind="simulated", model=_SIMULATED_MODEL)
