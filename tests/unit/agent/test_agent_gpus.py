"""GPUs through a double of NVML: what a device cannot tell is absent, and nothing of it stops the agent."""

import asyncio
import os
import time
from types import SimpleNamespace
from typing import Any

import pytest
from tesserabench.agent.host.gpus import Gpus
from tesserabench.agent.host.machine import Machine
from tesserabench.v1 import measurement_pb2 as pb


class FakeNvmlError(Exception):
    pass


class FakeNvml:
    """Answers like nvidia-ml-py; functions named in `silent` are not supported by the device."""

    NVMLError = FakeNvmlError
    NVML_SUCCESS = 0
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2
    NVML_TEMPERATURE_GPU = 0
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0
    NVML_PERF_POLICY_POWER = 0
    NVML_PERF_POLICY_THERMAL = 1

    def __init__(self, silent: frozenset[str] = frozenset(), count: int = 1) -> None:
        self.silent, self.count = silent, count
        self.reasons = 0x20 | 0x02
        self.counters = {74: 1000, 76: 0, 269: 5, 270: 0, 271: 0}
        self.processes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetCount": lambda: self.count,
            "nvmlSystemGetDriverVersion": lambda: "580.65",
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
            "nvmlDeviceGetName": lambda _handle: b"NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetMemoryInfo": lambda _handle: SimpleNamespace(total=80 << 30, used=1 << 30),
            "nvmlDeviceGetCudaComputeCapability": lambda _handle: (9, 0),
            "nvmlDeviceGetClockInfo": lambda _handle, kind: {1: 1980, 2: 2619}[kind],
            "nvmlDeviceGetTemperature": lambda _handle, _kind: 41,
            "nvmlDeviceGetPowerUsage": lambda _handle: 123_000,
            "nvmlDeviceGetEnforcedPowerLimit": lambda _handle: 700_000,
            "nvmlDeviceGetUtilizationRates": lambda _handle: SimpleNamespace(gpu=50),
            "nvmlDeviceGetTotalEnergyConsumption": lambda _handle: 5_000,
            "nvmlDeviceGetTotalEccErrors": lambda _handle, _kind, _counter: 0,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda _handle: self.reasons,
            "nvmlDeviceGetFieldValues": lambda _handle, ids: [
                SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(ullVal=self.counters[field])) for field in ids
            ],
            "nvmlDeviceGetViolationStatus": lambda _handle, policy: SimpleNamespace(violationTime=10 + policy),
            "nvmlDeviceGetComputeRunningProcesses": lambda _handle: [
                SimpleNamespace(pid=pid) for pid in self.processes
            ],
        }

        def unsupported(*_: object) -> None:
            raise FakeNvmlError("Not Supported")

        if name not in answers:
            raise AttributeError(name)
        return unsupported if name in self.silent else answers[name]


def test_gpu_is_described_and_read() -> None:
    gpus = Gpus(FakeNvml())
    (device,) = gpus.devices
    assert (device.uuid, device.kind, device.model, device.index) == ("GPU-0", "cuda", "NVIDIA H100 80GB HBM3", 0)
    assert (device.memory_bytes, device.driver_version, device.compute_capability) == (80 << 30, "580.65", "9.0")
    state = gpus.state("GPU-0")
    assert (state.sm_clock_mhz, state.memory_clock_mhz, state.temperature_celsius) == (1980, 2619, 41)
    assert (state.power_watts, state.power_limit_watts, state.utilization) == (123, 700, 0.5)
    assert state.energy_joules == 5
    assert list(state.throttle_reasons) == ["sw_thermal"]
    assert state.throttle_ns["sw_power_cap"] == 1000
    assert gpus.locked("GPU-0")


READINGS = {
    "nvmlDeviceGetPowerUsage": "power_watts",
    "nvmlDeviceGetEnforcedPowerLimit": "power_limit_watts",
    "nvmlDeviceGetTemperature": "temperature_celsius",
    "nvmlDeviceGetUtilizationRates": "utilization",
    "nvmlDeviceGetTotalEnergyConsumption": "energy_joules",
    "nvmlDeviceGetTotalEccErrors": "ecc_uncorrected",
}


@pytest.mark.parametrize(("function", "field"), READINGS.items())
def test_reading_that_a_device_does_not_support_is_absent(function: str, field: str) -> None:
    state = Gpus(FakeNvml(frozenset({function}))).state("GPU-0")
    assert not state.HasField(field)  # type: ignore[arg-type]
    assert state.HasField("sm_clock_mhz")


def test_older_driver_counts_power_and_temperature_another_way() -> None:
    state = Gpus(FakeNvml(frozenset({"nvmlDeviceGetFieldValues"}))).state("GPU-0")
    assert dict(state.throttle_ns) == {"sw_power_cap": 10, "hw_thermal": 11}


def test_device_that_counts_nothing_has_no_counters() -> None:
    silent = frozenset({"nvmlDeviceGetFieldValues", "nvmlDeviceGetViolationStatus"})
    assert dict(Gpus(FakeNvml(silent)).state("GPU-0").throttle_ns) == {}


def test_gpu_that_cannot_be_spoken_to_is_left_out() -> None:
    assert Gpus(FakeNvml(frozenset({"nvmlDeviceGetUUID"}))).devices == ()
    assert Gpus(FakeNvml(frozenset({"nvmlDeviceGetCount"}))).devices == ()


async def test_machine_lists_what_the_settings_allow() -> None:
    gpus = Gpus(FakeNvml(count=2))
    assert [device.kind for device in Machine({"cuda", "cpu"}, gpus).devices] == ["cuda", "cuda", "cpu"]
    assert [device.kind for device in Machine({"cpu"}, gpus).devices] == ["cpu"]
    assert [device.kind for device in Machine({"cuda"}, None).devices] == []
    assert [device.kind for device in Machine({"simulated"}, None).devices] == ["simulated"]


async def test_track_classifies_from_the_counters() -> None:
    nvml = FakeNvml()
    nvml.reasons = 0
    machine = Machine({"cuda"}, Gpus(nvml))
    before = await machine.state(machine.devices[0])
    with machine.track(machine.devices[0], before) as track:
        begin = time.monotonic_ns()
        nvml.counters[270] += 50_000_000
        window = await track.window(begin, time.monotonic_ns())
        found = track.conclude(await machine.state(machine.devices[0]))
    assert window.throttling.kind == found.kind == pb.THROTTLE_CLASS_THERMAL
    assert window.throttling.fractions["hw_thermal"] == 1.0


async def test_counter_that_goes_back_is_remarked() -> None:
    nvml = FakeNvml()
    machine = Machine({"cuda"}, Gpus(nvml))
    before = await machine.state(machine.devices[0])
    with machine.track(machine.devices[0], before) as track:
        nvml.counters[74] = 0
        window = await track.window(0, time.monotonic_ns())
        found = track.conclude(await machine.state(machine.devices[0]))
    assert window.throttling.void
    assert found.void
    assert found.kind == pb.THROTTLE_CLASS_UNSPECIFIED
    assert "driver" in found.remark


async def test_foreign_processes_are_told() -> None:
    """The test's parent stands for a stranger: it often shares this process's session, which must not excuse it."""
    stranger = os.getppid()
    worker = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        nvml = FakeNvml()
        nvml.processes = [stranger, worker.pid, os.getpid()]
        machine = Machine({"cuda"}, Gpus(nvml))
        assert set(await machine.foreign_pids(machine.devices[0])) == set(nvml.processes)
        assert list((await machine.state(machine.devices[0])).foreign_pids) == [stranger]
    finally:
        worker.kill()
        await worker.wait()
