"""NVIDIA GPUs through NVML. No CUDA context is ever made here. Whatever a device cannot tell is absent.

Without the library, or without a driver, there are no GPUs, and that is said once.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import structlog
from tesserabench.agent.host import throttle
from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.measurement_pb2 import DeviceState

log = structlog.get_logger(__name__)

# Field ids of nvml.h: nanoseconds under each clock limit since the driver was loaded.
_COUNTERS = {
    throttle.SW_POWER_CAP: 74,
    throttle.SYNC_BOOST: 76,
    throttle.SW_THERMAL: 269,
    throttle.HW_THERMAL: 270,
    throttle.HW_POWER_BRAKE: 271,
}

# Bits of nvmlClocksEventReasons.
_REASON_BITS = {
    throttle.SW_POWER_CAP: 0x04,
    throttle.HW_SLOWDOWN: 0x08,
    throttle.SYNC_BOOST: 0x10,
    throttle.SW_THERMAL: 0x20,
    throttle.HW_THERMAL: 0x40,
    throttle.HW_POWER_BRAKE: 0x80,
}
_APPLICATION_CLOCKS = 0x02


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU: its handle in NVML and what the inventory says of it."""

    handle: Any
    device: Device


class Gpus:
    """The GPUs of this host. Made by `open_gpus`; its calls block for up to some milliseconds."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._gpus = {gpu.device.uuid: gpu for gpu in self._list()}

    def close(self) -> None:
        """Let go of the library."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    @property
    def devices(self) -> tuple[Device, ...]:
        """The GPUs as the inventory tells them."""
        return tuple(gpu.device for gpu in self._gpus.values())

    def state(self, uuid: str) -> DeviceState:
        """What a GPU says now."""
        nvml, handle = self._nvml, self._gpus[uuid].handle
        state = DeviceState()
        state.time.FromNanoseconds(time.time_ns())
        with self._told():
            state.sm_clock_mhz = float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        with self._told():
            state.memory_clock_mhz = float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM))
        with self._told():
            state.temperature_celsius = float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        with self._told():
            state.power_watts = nvml.nvmlDeviceGetPowerUsage(handle) / 1e3
        with self._told():
            state.power_limit_watts = nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3
        with self._told():
            state.utilization = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        with self._told():
            state.memory_used_bytes = int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
        with self._told():
            state.energy_joules = nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        with self._told():
            state.ecc_uncorrected = int(
                nvml.nvmlDeviceGetTotalEccErrors(
                    handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
                )
            )
        mask = self._reasons(uuid)
        state.throttle_reasons.extend(name for name, bit in _REASON_BITS.items() if mask & bit)
        state.throttle_ns.update(self._counters(handle))
        state.foreign_pids.extend(pid for pid in self.process_ids(uuid) if not _is_own(pid))
        return state

    def process_ids(self, uuid: str) -> tuple[int, ...]:
        """Processes that compute on a GPU now, the agent's own workers among them."""
        handle = self._gpus[uuid].handle
        found: Iterable[Any] = self._ask((), self._nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        return tuple(int(process.pid) for process in found)

    def locked(self, uuid: str) -> bool:
        """Whether application clocks hold the GPU at a set frequency."""
        return bool(self._reasons(uuid) & _APPLICATION_CLOCKS)

    def _reasons(self, uuid: str) -> int:
        handle = self._gpus[uuid].handle
        return int(self._ask(0, self._nvml.nvmlDeviceGetCurrentClocksEventReasons, handle))

    def _counters(self, handle: Any) -> dict[str, int]:
        """Nanoseconds under each limit, for the limits that this device counts."""
        fields = list(_COUNTERS.values())
        values: Iterable[Any] = self._ask((), self._nvml.nvmlDeviceGetFieldValues, handle, fields)
        found = {
            name: int(value.value.ullVal)
            for name, value in zip(_COUNTERS, values, strict=False)
            if value.nvmlReturn == self._nvml.NVML_SUCCESS
        }
        if found:
            return found
        return self._violations(handle)

    def _violations(self, handle: Any) -> dict[str, int]:
        """The older way to ask for power and thermal limits."""
        found: dict[str, int] = {}
        policies = {
            throttle.SW_POWER_CAP: self._nvml.NVML_PERF_POLICY_POWER,
            throttle.HW_THERMAL: self._nvml.NVML_PERF_POLICY_THERMAL,
        }
        for name, policy in policies.items():
            with self._told():
                found[name] = int(self._nvml.nvmlDeviceGetViolationStatus(handle, policy).violationTime)
        return found

    def _list(self) -> Iterator[Gpu]:
        nvml = self._nvml
        driver = _text(self._ask("", nvml.nvmlSystemGetDriverVersion))
        for index in range(self._ask(0, nvml.nvmlDeviceGetCount)):
            handle = self._ask(None, nvml.nvmlDeviceGetHandleByIndex, index)
            uuid = "" if handle is None else _text(self._ask("", nvml.nvmlDeviceGetUUID, handle))
            if not uuid:
                # A GPU that fell off the bus is counted and cannot be spoken to.
                log.error("gpu.unreachable", index=index, advice="see the kernel's log for Xid messages")
                continue
            device = Device(uuid=uuid, kind="cuda", index=index, driver_version=driver)
            with self._told():
                device.model = _text(nvml.nvmlDeviceGetName(handle))
            with self._told():
                device.memory_bytes = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
            with self._told():
                device.compute_capability = ".".join(map(str, nvml.nvmlDeviceGetCudaComputeCapability(handle)))
            yield Gpu(handle=handle, device=device)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Leave a fact out when the device or the driver cannot tell it."""
        with contextlib.suppress(self._nvml.NVMLError):
            yield

    def _ask(self, otherwise: Any, question: Callable[..., Any], *about: Any) -> Any:
        """The answer, or something else when the device or the driver has none."""
        try:
            return question(*about)
        except self._nvml.NVMLError:
            return otherwise


def open_gpus() -> Gpus | None:
    """The GPUs of this host, or None, with the reason in the log, when NVML cannot be used."""
    try:
        import pynvml  # noqa: PLC0415 - a host without GPUs need not have it
    except ImportError:
        log.info("nvml.absent", reason="the package nvidia-ml-py is not installed; GPUs are not looked for")
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.info("nvml.absent", reason=f"{error}; this host has no GPU, or no driver")
        return None
    return Gpus(pynvml)


def _is_own(pid: int) -> bool:
    """Whether a process is the agent or belongs to one of its workers.

    A worker leads a session of its own and is a child of the agent. The agent's own session says nothing: started
    from a shell, it shares that session with whatever else the shell runs.
    """
    try:
        return pid == os.getpid() or psutil.Process(os.getsid(pid)).ppid() == os.getpid()
    except (OSError, psutil.Error):
        return False


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
