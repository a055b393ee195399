"""NVIDIA GPUs through NVML. No CUDA context is ever made here. Whatever a device cannot tell is absent.

Without the library, or without a driver, there are no GPUs, and that is said once.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import structlog
from tesserabench.agent.host.faults import XidEvents, fault_counts
from tesserabench.agent.host.nvml import Nvml, open_nvml, text
from tesserabench.agent.host.reading import (
    Reading,
    active_reasons,
    application_clocks,
    read_gpu,
    temperature,
    throttle_counters,
)
from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.measurement_pb2 import DeviceState

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU: its handle in NVML and what the inventory says of it."""

    handle: Any
    device: Device


class Gpus:
    """The GPUs of this host. Made by `open_gpus`; its calls block for up to some milliseconds."""

    def __init__(self, module: Any) -> None:
        """Look for GPUs.

        Args:
            module: nvidia-ml-py, initialised.
        """
        self.nvml = Nvml(module)
        self._gpus = {gpu.device.uuid: gpu for gpu in self._list()}
        self._events = XidEvents(self.nvml, {uuid: gpu.handle for uuid, gpu in self._gpus.items()})

    def close(self) -> None:
        """Let go of the library."""
        self._events.close()
        self.nvml.close()

    @property
    def devices(self) -> tuple[Device, ...]:
        """The GPUs as the inventory tells them."""
        return tuple(gpu.device for gpu in self._gpus.values())

    def handle(self, uuid: str) -> Any:
        """NVML's handle of a GPU."""
        return self._gpus[uuid].handle

    def state(self, uuid: str) -> DeviceState:
        """What a GPU says now."""
        nvml, handle = self.nvml, self._gpus[uuid].handle
        state = DeviceState()
        state.time.FromNanoseconds(time.time_ns())
        errors = (nvml.constant("NVML_MEMORY_ERROR_TYPE_UNCORRECTED"), nvml.constant("NVML_VOLATILE_ECC"))
        readings = {
            "sm_clock_mhz": nvml.told(float, "nvmlDeviceGetClockInfo", handle, nvml.constant("NVML_CLOCK_SM")),
            "memory_clock_mhz": nvml.told(float, "nvmlDeviceGetClockInfo", handle, nvml.constant("NVML_CLOCK_MEM")),
            "temperature_celsius": temperature(nvml, handle),
            "power_watts": nvml.told(_milli, "nvmlDeviceGetPowerUsage", handle),
            "power_limit_watts": nvml.told(_milli, "nvmlDeviceGetEnforcedPowerLimit", handle),
            "utilization": nvml.told(lambda rates: rates.gpu / 100, "nvmlDeviceGetUtilizationRates", handle),
            "memory_used_bytes": nvml.told(lambda memory: int(memory.used), "nvmlDeviceGetMemoryInfo", handle),
            "energy_joules": nvml.told(_milli, "nvmlDeviceGetTotalEnergyConsumption", handle),
            "ecc_uncorrected": nvml.told(int, "nvmlDeviceGetTotalEccErrors", handle, *errors),
        }
        for name, value in readings.items():
            if value is not None:
                setattr(state, name, value)
        state.throttle_reasons.extend(sorted(active_reasons(nvml, handle)))
        state.throttle_ns.update(throttle_counters(nvml, handle))
        state.foreign_pids.extend(pid for pid in self.process_ids(uuid) if not _is_own(pid))
        return state

    def reading(self, uuid: str) -> Reading:
        """What changes quickly."""
        return read_gpu(self.nvml, self._gpus[uuid].handle)

    def process_ids(self, uuid: str) -> tuple[int, ...]:
        """Processes that compute on a GPU now, the agent's own workers among them."""
        handle = self._gpus[uuid].handle
        found: Iterable[Any] = self.nvml.ask("nvmlDeviceGetComputeRunningProcesses", handle) or ()
        return tuple(int(process.pid) for process in found)

    def faults(self, uuid: str) -> Mapping[str, int]:
        """Counters of faults by name."""
        return fault_counts(self.nvml, self._gpus[uuid].handle)

    def xids(self) -> list[tuple[str, int]]:
        """UUID and number of each error that the driver has reported since the last call."""
        return self._events.drain()

    def locked(self, uuid: str) -> bool:
        """Whether application clocks hold the GPU at a set frequency."""
        return application_clocks(self.nvml, self._gpus[uuid].handle)

    def _list(self) -> Iterator[Gpu]:
        nvml = self.nvml
        driver = nvml.told(text, "nvmlSystemGetDriverVersion") or ""
        for index in range(nvml.ask("nvmlDeviceGetCount") or 0):
            handle = nvml.ask("nvmlDeviceGetHandleByIndex", index)
            uuid = None if handle is None else nvml.told(text, "nvmlDeviceGetUUID", handle)
            if not uuid:
                # A GPU that fell off the bus is counted and cannot be spoken to.
                log.error("gpu.unreachable", index=index, advice="see the kernel's log for Xid messages")
                continue
            device = Device(uuid=uuid, kind="cuda", index=index, driver_version=driver)
            device.model = nvml.told(text, "nvmlDeviceGetName", handle) or ""
            memory = nvml.ask("nvmlDeviceGetMemoryInfo", handle)
            if memory is not None:
                device.memory_bytes = int(memory.total)
            capability = nvml.ask("nvmlDeviceGetCudaComputeCapability", handle)
            device.compute_capability = ".".join(map(str, capability or ()))
            yield Gpu(handle=handle, device=device)


def open_gpus() -> Gpus | None:
    """The GPUs of this host, or None, with the reason in the log, when NVML cannot be used."""
    nvml = open_nvml()
    return None if nvml is None else Gpus(nvml.module)


def _is_own(pid: int) -> bool:
    """Whether a process is the agent or belongs to one of its workers.

    A worker leads a session of its own and is a child of the agent. The agent's own session says nothing: started
    from a shell, it shares that session with whatever else the shell runs.
    """
    try:
        return pid == os.getpid() or psutil.Process(os.getsid(pid)).ppid() == os.getpid()
    except (OSError, psutil.Error):
        return False


def _milli(value: int) -> float:
    return value / 1e3
