"""One reading of a GPU while it is measured: little enough to be taken twenty times a second."""

import time
from dataclasses import dataclass, field
from typing import Any

from tesserabench.agent.host import throttle
from tesserabench.agent.host.nvml import Nvml

# Field ids of nvml.h: nanoseconds under each clock limit since the driver was loaded.
_COUNTERS = {
    throttle.SW_POWER_CAP: 74,
    throttle.SYNC_BOOST: 76,
    throttle.SW_THERMAL: 269,
    throttle.HW_THERMAL: 270,
    throttle.HW_POWER_BRAKE: 271,
}

# Bits of nvmlClocksEventReasons. The idle bit (1) is not among them: it says that nothing runs.
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
class Reading:
    """What a GPU said at a moment of CLOCK_MONOTONIC; what it cannot tell is None, or missing from `throttle_ns`."""

    monotonic_ns: int
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    throttle_ns: dict[str, int] = field(default_factory=dict)
    """Cumulative time under each clock limit."""
    reasons: frozenset[str] = frozenset()
    """Limits that were active at that moment."""


def read_gpu(nvml: Nvml, handle: Any) -> Reading:
    """Take a reading. Its moment is the middle of taking it."""
    began = time.monotonic_ns()
    counters = throttle_counters(nvml, handle)
    energy = nvml.told(_milli, "nvmlDeviceGetTotalEnergyConsumption", handle)
    ended = time.monotonic_ns()
    return Reading(
        monotonic_ns=(began + ended) // 2,
        sm_clock_mhz=nvml.told(float, "nvmlDeviceGetClockInfo", handle, nvml.constant("NVML_CLOCK_SM")),
        memory_clock_mhz=nvml.told(float, "nvmlDeviceGetClockInfo", handle, nvml.constant("NVML_CLOCK_MEM")),
        temperature_celsius=temperature(nvml, handle),
        power_watts=nvml.told(_milli, "nvmlDeviceGetPowerUsage", handle),
        energy_joules=energy,
        throttle_ns=counters,
        reasons=active_reasons(nvml, handle),
    )


def temperature(nvml: Nvml, handle: Any) -> float | None:
    """Temperature of the GPU in degrees Celsius."""
    return nvml.told(float, "nvmlDeviceGetTemperature", handle, nvml.constant("NVML_TEMPERATURE_GPU"))


def active_reasons(nvml: Nvml, handle: Any) -> frozenset[str]:
    """The limits that hold the clocks down now."""
    mask = _mask(nvml, handle)
    return frozenset(name for name, bit in _REASON_BITS.items() if mask & bit)


def application_clocks(nvml: Nvml, handle: Any) -> bool:
    """Whether application clocks hold the GPU at a set frequency."""
    return bool(_mask(nvml, handle) & _APPLICATION_CLOCKS)


def throttle_counters(nvml: Nvml, handle: Any) -> dict[str, int]:
    """Nanoseconds under each limit, for the limits that this device counts."""
    found = nvml.fields(handle, list(_COUNTERS.values()))
    if found:
        return {name: found[number] for name, number in _COUNTERS.items() if number in found}
    # The older way, which knows power and temperature alone.
    policies = {
        throttle.SW_POWER_CAP: nvml.constant("NVML_PERF_POLICY_POWER"),
        throttle.HW_THERMAL: nvml.constant("NVML_PERF_POLICY_THERMAL"),
    }
    answers = {name: nvml.ask("nvmlDeviceGetViolationStatus", handle, policy) for name, policy in policies.items()}
    return {name: int(answer.violationTime) for name, answer in answers.items() if answer is not None}


def _mask(nvml: Nvml, handle: Any) -> int:
    answer = nvml.ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if answer is None:
        # What drivers before 535 call the same.
        answer = nvml.ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    return int(answer or 0)


def _milli(value: int) -> float:
    return value / 1e3
