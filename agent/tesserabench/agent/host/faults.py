"""Counters of faults, and the errors that the driver reports by number (Xid)."""

import contextlib
import ctypes
import threading
from collections.abc import Mapping
from typing import Any

from tesserabench.agent.host.nvml import Nvml

# Field ids of nvml.h: errors of all NVLinks together.
_NVLINK_FIELDS = {
    "nvlink_crc": "NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL",
    "nvlink_replay": "NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL",
    "nvlink_recovery": "NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL",
}
_REMAPPED = ("remapped_correctable", "remapped_uncorrectable")
_MOST_EVENTS = 1000


def fault_counts(nvml: Nvml, handle: Any) -> dict[str, int]:
    """The counters of faults that the device has, by name; only their changes mean something."""
    found: dict[str, int] = {}
    for name, kind in (
        ("ecc_corrected", "NVML_MEMORY_ERROR_TYPE_CORRECTED"),
        ("ecc_uncorrected", "NVML_MEMORY_ERROR_TYPE_UNCORRECTED"),
    ):
        volatile = nvml.constant("NVML_VOLATILE_ECC")
        count = nvml.told(int, "nvmlDeviceGetTotalEccErrors", handle, nvml.constant(kind), volatile)
        if count is not None:
            found[name] = count
    rows = nvml.ask("nvmlDeviceGetRemappedRows", handle)
    if rows is not None:
        found |= dict(zip(_REMAPPED, map(int, rows), strict=False))
    replays = nvml.told(int, "nvmlDeviceGetPcieReplayCounter", handle)
    if replays is not None:
        found["pcie_replay"] = replays
    ids = {name: nvml.constant(constant) for name, constant in _NVLINK_FIELDS.items()}
    values = nvml.fields(handle, [number for number in ids.values() if number is not None])
    return found | {name: values[number] for name, number in ids.items() if number in values}


def changes(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """How much each counter that both readings have has grown; one that went back is left out."""
    return {name: after[name] - before[name] for name in before.keys() & after.keys() if after[name] >= before[name]}


class XidEvents:
    """Collects the driver's error reports for all GPUs; without support there are none."""

    def __init__(self, nvml: Nvml, handles: Mapping[str, Any]) -> None:
        self._nvml = nvml
        self._lock = threading.Lock()
        self._uuids = {_address(handle): uuid for uuid, handle in handles.items()}
        kinds = nvml.constant("nvmlEventTypeXidCriticalError")
        self._set = nvml.ask("nvmlEventSetCreate") if kinds is not None and handles else None
        if self._set is not None:
            for handle in handles.values():
                nvml.ask("nvmlDeviceRegisterEvents", handle, kinds, self._set)

    def drain(self) -> list[tuple[str, int]]:
        """UUID and number of each error since the last call."""
        found: list[tuple[str, int]] = []
        with self._lock:
            while self._set is not None and len(found) < _MOST_EVENTS:
                # Raises a time-out, which is told as None, when there is no further event.
                event = self._nvml.ask("nvmlEventSetWait_v2", self._set, 0)
                if event is None:
                    break
                uuid = self._uuids.get(_address(event.device))
                if uuid is not None:
                    found.append((uuid, int(event.eventData)))
        return found

    def close(self) -> None:
        """Give the set back."""
        with self._lock:
            if self._set is not None:
                self._nvml.ask("nvmlEventSetFree", self._set)
                self._set = None


def _address(handle: Any) -> int | None:
    with contextlib.suppress(ctypes.ArgumentError, TypeError):
        return ctypes.cast(handle, ctypes.c_void_p).value
    return None
