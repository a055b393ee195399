"""Follows one device through a trial: readings in, windows and a summary out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from tesserabench.agent.host import energy, throttle
from tesserabench.agent.host.gpus import Gpus
from tesserabench.agent.host.reading import Reading
from tesserabench.agent.host.telemetry import Telemetry
from tesserabench.agent.host.throttle import Limited
from tesserabench.agent.runner.watch import Throttling, Window
from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.ingest_service_pb2 import DeviceTelemetry
from tesserabench.v1.measurement_pb2 import DeviceState

log = structlog.get_logger(__name__)

_VOID = Throttling(
    kind=throttle.classify({}),
    fractions={},
    remark="a throttle counter went back: the driver was loaded anew, do not trust this trial",
    void=True,
)


class CounterUnits:
    """What the throttle counters of each GPU count in, found out once and then kept."""

    def __init__(self) -> None:
        self._units: dict[str, int] = {}

    def of(self, uuid: str, limited: Limited) -> int:
        """The factor to nanoseconds; 0 when the counters cannot be used."""
        unit = throttle.unit_of(limited)
        if unit != 1 and uuid not in self._units:
            log.warning("throttle.counter_unit", gpu=uuid, factor=unit, meaning=remark_on(unit))
            self._units[uuid] = unit
        return self._units.get(uuid, 1)


def remark_on(unit: int) -> str:
    """What a person should know of an unusual unit; empty for nanoseconds."""
    if unit == 0:
        return "the device's throttle counters outrun the clock; the shares are those of the readings"
    return "the device's throttle counters are taken for microseconds" if unit != 1 else ""


class GpuTrack:
    """Follows a GPU. `read` is to be called about twenty times a second; the rest from the event loop's thread."""

    def __init__(
        self,
        device: Device,
        gpus: Gpus,
        units: CounterUnits,
        collect_xids: Callable[[], Awaitable[None]],
        *,
        locked: bool,
    ) -> None:
        self.device = device
        self._collect_xids = collect_xids
        self._gpus, self._units, self._locked = gpus, units, locked
        self._telemetry = Telemetry(gpus.faults(device.uuid))
        self._measured: Limited | None = None
        self._void = False
        self.take(gpus.reading(device.uuid))

    def take(self, reading: Reading) -> None:
        """Take one more reading."""
        self._telemetry.take(reading)

    def note_xid(self, number: int) -> None:
        """Take an error that the driver has reported."""
        self._telemetry.xids.append(number)

    async def xids(self) -> tuple[int, ...]:
        """Numbers of the errors so far."""
        await self._collect_xids()
        return tuple(self._telemetry.xids)

    async def window(self, begin_ns: int, end_ns: int) -> Window:
        """What the GPU did between two moments; a reading of now makes sure that the window is embraced."""
        await self._read()
        readings = tuple(self._telemetry.recent)
        limited = throttle.within(readings, begin_ns, end_ns)
        if limited is None:
            self._void = True
            return Window(throttling=_VOID)
        self._measured = limited if self._measured is None else self._measured.plus(limited)
        return Window(throttling=self._judge(limited), power=energy.power_within(readings, begin_ns, end_ns))

    def conclude(self, after: DeviceState) -> Throttling:  # noqa: ARG002 - the readings say more than the last state
        """What limited the clocks in all windows; without any, in all the time."""
        readings = tuple(self._telemetry.recent)
        everything = throttle.within(readings, readings[0].monotonic_ns, readings[-1].monotonic_ns)
        if self._void or everything is None:
            return _VOID
        return self._judge(self._measured or everything)

    async def telemetry(self) -> DeviceTelemetry | None:
        """The readings so far, summed up."""
        await self._read()
        return self._telemetry.summary(await asyncio.to_thread(self._gpus.faults, self.device.uuid))

    async def _read(self) -> None:
        self.take(await asyncio.to_thread(self._gpus.reading, self.device.uuid))

    def _judge(self, limited: Limited) -> Throttling:
        unit = self._units.of(self.device.uuid, limited)
        shares = limited.shares(unit)
        kind = throttle.classify(shares, locked=self._locked)
        return Throttling(kind=kind, fractions=shares, remark=remark_on(unit))


class BlindTrack:
    """For a device that the agent cannot read while it is measured: nothing is known of it."""

    def __init__(self, device: Device) -> None:
        self.device = device

    async def window(self, begin_ns: int, end_ns: int) -> Window:  # noqa: ARG002 - nothing is known of any window
        """Nothing."""
        return Window(throttling=self._unknown())

    def conclude(self, after: DeviceState) -> Throttling:  # noqa: ARG002 - see above
        """Nothing."""
        return self._unknown()

    async def telemetry(self) -> DeviceTelemetry | None:
        """Nothing."""
        return None

    async def xids(self) -> tuple[int, ...]:
        """None."""
        return ()

    def _unknown(self) -> Throttling:
        fractions: Mapping[str, float] = {}
        return Throttling(kind=throttle.classify(fractions), fractions=fractions)
