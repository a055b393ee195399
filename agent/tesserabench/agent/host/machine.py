"""The machine as the rest of the agent sees it: which devices it has, and what they say."""

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterator, Sequence

import structlog
from tesserabench.agent.host import identity, throttle
from tesserabench.agent.host.gpus import Gpus
from tesserabench.agent.host.processor import processor_state
from tesserabench.agent.runner.watch import Throttling
from tesserabench.v1.host_pb2 import Device, Inventory, SuiteInfo
from tesserabench.v1.measurement_pb2 import DeviceState

_SAMPLE_SECONDS = 0.1
_IDLE_SECONDS = 10.0
# What bench's simulated device calls itself when its script does not say otherwise.
_SIMULATED_MODEL = "Simulated Accelerator"

log = structlog.get_logger(__name__)


class Machine:
    """Lists the devices and reads them; `run` keeps the states fresh. Implements the runner's `DeviceWatch`."""

    def __init__(self, kinds: Collection[str], gpus: Gpus | None) -> None:
        self._gpus = gpus
        self.devices = tuple(_devices(kinds, gpus))
        self.states: dict[str, DeviceState] = {}
        """The newest state of each device by UUID."""
        self._tracks: list[_Track] = []
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
        """Read the devices now and then, and about ten times a second those that are measured."""
        while True:
            for device in self.devices:
                await self.state(device)
            idle_until = asyncio.get_running_loop().time() + _IDLE_SECONDS
            while asyncio.get_running_loop().time() < idle_until:
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
        self.states[device.uuid] = state
        return state

    async def foreign_pids(self, device: Device) -> tuple[int, ...]:
        """Processes that compute on a device now; to be asked while no worker of ours runs."""
        if device.kind != "cuda" or self._gpus is None:
            return ()
        return await asyncio.to_thread(self._gpus.process_ids, device.uuid)

    @contextlib.contextmanager
    def track(self, device: Device, before: DeviceState) -> "Iterator[_Track]":
        """Follow a device closely."""
        locked = self._gpus is not None and device.kind == "cuda" and self._gpus.locked(device.uuid)
        track = _Track(device, before, locked=locked)
        self._tracks.append(track)
        self._tracking.set()
        try:
            yield track
        finally:
            self._tracks.remove(track)
            if not self._tracks:
                self._tracking.clear()

    async def _sample(self, until: float) -> None:
        """Wait until something is tracked, or a sample later; reading a CPU would disturb what is measured on it."""
        try:
            async with asyncio.timeout_at(until):
                await self._tracking.wait()
        except TimeoutError:
            return
        for track in tuple(self._tracks):
            if track.device.kind == "cuda":
                track.sample(await self.state(track.device))
        await asyncio.sleep(_SAMPLE_SECONDS)


class _Track:
    """Follows one device from a first state on."""

    def __init__(self, device: Device, before: DeviceState, *, locked: bool) -> None:
        self.device = device
        self._before, self._locked = before, locked
        self._samples = 0
        self._seen: dict[str, int] = {}

    def sample(self, state: DeviceState) -> None:
        """Take one more state."""
        self._samples += 1
        for reason in state.throttle_reasons:
            self._seen[reason] = self._seen.get(reason, 0) + 1

    def conclude(self, after: DeviceState) -> Throttling:
        """What limited the clocks until `after`: from the counters, or from the samples where there are none."""
        elapsed = after.time.ToNanoseconds() - self._before.time.ToNanoseconds()
        counted = throttle.fractions(self._before.throttle_ns, after.throttle_ns, elapsed)
        if counted is None:
            remark = "a throttle counter went back: the driver was loaded anew, do not trust this trial"
            return Throttling(kind=throttle.classify({}), fractions={}, remark=remark)
        if not counted and self._samples:
            counted = {reason: count / self._samples for reason, count in self._seen.items()}
        return Throttling(kind=throttle.classify(counted, locked=self._locked), fractions=dict(counted))


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
