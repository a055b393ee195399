"""The real nvidia-ml-py over a scripted driver: what is read, what is absent, and which limits are found out."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_nvml import HW_THERMAL, FakeNvml, moving
from tesserabench.agent.errors import ClocksRefused
from tesserabench.agent.host.clocks import ClockKeeper
from tesserabench.agent.host.gpus import Gpus, open_gpus
from tesserabench.agent.host.machine import Machine
from tesserabench.agent.host.placement import placement_of
from tesserabench.agent.host.readiness import Limits
from tesserabench.v1 import measurement_pb2 as pb


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeNvml]:
    found = FakeNvml(tmp_path, count=2)
    with found.loaded():
        yield found


def opened() -> Gpus:
    gpus = open_gpus()
    assert gpus is not None
    return gpus


def test_gpus_are_listed_and_read(fake: FakeNvml) -> None:
    gpus = opened()
    first, second = gpus.devices
    assert (first.index, second.index, first.model) == (0, 1, "NVIDIA H100 80GB HBM3")
    fake.set(1, power=250_000, temperature__0=66, processes="4000000")
    state = gpus.state(second.uuid)
    assert (state.power_watts, state.temperature_celsius, list(state.foreign_pids)) == (250, 66, [4_000_000])
    assert gpus.state(first.uuid).power_watts == 123
    assert not gpus.state(first.uuid).foreign_pids


def test_function_that_an_older_driver_lacks_is_one_more_thing_that_is_not_told(tmp_path: Path) -> None:
    lacking = {
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetCpuAffinity",
        "nvmlEventSetCreate",
        "nvmlDeviceGetMigMode",
    }
    older = FakeNvml(tmp_path, hidden=frozenset(lacking))
    with older.loaded() as pynvml:
        gpus = opened()
        with pytest.raises(pynvml.NVMLError_FunctionNotFound):
            pynvml.nvmlDeviceGetMigMode(gpus.handle(gpus.devices[0].uuid))
        reading = gpus.reading(gpus.devices[0].uuid)
        assert reading.energy_joules is None
        # Violation counters stand in for the field values.
        assert reading.throttle_ns == {"sw_power_cap": 0, "hw_thermal": 0}
        assert gpus.xids() == []
        assert placement_of(gpus.nvml, gpus.handle(gpus.devices[0].uuid)).processors == ()


async def test_silent_gpu_has_neither_facts_nor_class(fake: FakeNvml) -> None:
    lines = fake.path.read_text(encoding="utf-8").splitlines()
    kept = {"0.uuid", "0.name", "count", "driver"}
    fake.path.write_text("".join(f"{line}\n" for line in lines if line.split(" ")[0] in kept), encoding="utf-8")
    machine = Machine({"cuda"}, opened())
    device = machine.devices[0]
    facts = await machine.facts(device)
    assert {name for name in facts.all if name.startswith("gpu.")} == {"gpu.clock_policy"}
    assert dict(facts.comparable) == {"gpu.clock_policy": "observe"}
    with machine.track(device, await machine.state(device)) as track:
        window = await track.window(0, time.monotonic_ns())
        telemetry = await track.telemetry()
    assert (window.throttling.kind, dict(window.throttling.fractions)) == (pb.THROTTLE_CLASS_UNSPECIFIED, {})
    assert window.power is None
    assert telemetry is not None
    assert not telemetry.HasField("sm_clock_min_mhz")
    assert await machine.idle_watts(device) is None
    assert await machine.obstacles(device) == ()


async def test_facts_say_what_may_change_results(fake: FakeNvml) -> None:
    fake.set(nvlink__0=1, nvlink__1=1, nvlink__2=0, virtualization=1, mig=1, board_part="900-21010", compute_mode=3)
    machine = Machine({"cuda"}, opened())
    facts = (await machine.facts(machine.devices[0])).all
    assert facts["gpu.nvlinks_active"] == 2
    assert facts["gpu.virtualization"] == "passthrough"
    assert facts["gpu.mig"] is True
    assert facts["gpu.board_part"] == "900-21010"
    assert facts["gpu.compute_mode"] == "exclusive_process"
    assert facts["gpu.gsp_firmware"] == "580.65.06"
    assert (facts["driver.version"], facts["driver.nvml"], facts["driver.cuda"]) == ("580.65.06", "13.580.65", "13.0")
    assert facts["gpu.memory_bus_bits"] == 5120
    assert (facts["gpu.power_limit_min_watts"], facts["gpu.power_limit_max_watts"]) == (200, 700)
    assert facts["host.machine_hash"]
    comparable = (await machine.facts(machine.devices[0])).comparable
    assert {"gpu.mig", "gpu.ecc", "gpu.power_limit_watts", "gpu.clock_policy"} <= set(comparable)
    assert not {"driver.version", "gpu.pcie_generation", "gpu.performance_state", "gpu.vbios"} & set(comparable)


def test_placement_keeps_to_what_this_process_may_use(fake: FakeNvml) -> None:
    gpus = opened()
    handle = gpus.handle(gpus.devices[0].uuid)
    fake.set(processors="f0", nodes="2")
    found = placement_of(gpus.nvml, handle, allowed=range(6))
    assert (found.processors, found.numa_node) == ((4, 5), 1)
    assert placement_of(gpus.nvml, handle, allowed=[0]).processors == ()
    fake.set(nodes="3")
    assert placement_of(gpus.nvml, handle, allowed=[0]).numa_node is None


async def test_counters_in_microseconds_are_found_out(fake: FakeNvml) -> None:
    """A limit is seen all the time while its counter says a thousandth of that: it counts microseconds."""
    fake.set(reasons=0x40)
    fake.counter(HW_THERMAL, moving(0, 1e6))
    machine = Machine({"cuda"}, opened())
    device = machine.devices[0]
    gpus = opened()
    with machine.track(device, await machine.state(device)) as track:
        begin = time.monotonic_ns()
        while time.monotonic_ns() - begin < 500_000_000:
            track.take(gpus.reading(device.uuid))  # type: ignore[union-attr]
        window = await track.window(begin, time.monotonic_ns())
    assert window.throttling.kind == pb.THROTTLE_CLASS_THERMAL
    assert window.throttling.fractions["hw_thermal"] == pytest.approx(1, abs=0.1)
    assert "microseconds" in window.throttling.remark


@pytest.mark.parametrize(
    ("lines", "limits", "words"),
    [
        ({}, Limits(), []),
        ({"processes": "77"}, Limits(), ["process"]),
        ({"utilization": 2}, Limits(), []),
        ({"utilization": 3}, Limits(), ["utilization"]),
        ({"utilization": 90, "processes": "77"}, Limits(), ["process"]),
        ({"memory_used": 70 << 30}, Limits(), ["memory"]),
        ({"temperature__0": 95}, Limits(), []),
        ({"temperature__0": 61}, Limits(temperature_celsius=60), ["temperature"]),
        ({"temperature__0": None, "utilization": None, "memory_used": None}, Limits(temperature_celsius=1), []),
    ],
)
async def test_what_stands_in_the_way(
    fake: FakeNvml, lines: dict[str, str | float | None], limits: Limits, words: list[str]
) -> None:
    for name, value in lines.items():
        fake.set(0, **{name: value})
    machine = Machine({"cuda"}, opened(), limits=limits)
    assert [item.word for item in await machine.obstacles(machine.devices[0])] == words


def test_clock_lock_is_reset_whatever_happens(fake: FakeNvml, tmp_path: Path) -> None:
    gpus = opened()
    uuid = gpus.devices[1].uuid
    keeper = ClockKeeper("lock:tdp", tmp_path, gpus)

    def measure() -> None:
        with keeper.handled(uuid) as policy:
            assert policy == "lock:tdp"
            assert keeper.holds(uuid)
            assert fake.locked(1) == (0xFFFFFF01, 0xFFFFFF01)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        measure()
    assert fake.locked(1) is None
    assert not keeper.holds(uuid)
    assert not list((tmp_path / "clocks").iterdir())


def test_refused_lock_leaves_nothing_behind_and_says_what_to_do(fake: FakeNvml, tmp_path: Path) -> None:
    fake.fail("nvmlDeviceSetGpuLockedClocks", 4)
    gpus = opened()
    keeper = ClockKeeper("lock:1410", tmp_path, gpus)
    with (
        pytest.raises(ClocksRefused, match="set clocks to observe"),
        keeper.handled(gpus.devices[0].uuid),
    ):
        pytest.fail("entered")
    assert keeper.complaint
    assert not list((tmp_path / "clocks").iterdir())
    assert keeper.free_leftovers() == ()


def test_lock_that_cannot_be_reset_is_kept_in_mind(fake: FakeNvml, tmp_path: Path) -> None:
    gpus = opened()
    uuid = gpus.devices[0].uuid
    keeper = ClockKeeper("lock:1410", tmp_path, gpus)
    with keeper.handled(uuid):
        fake.fail("nvmlDeviceResetGpuLockedClocks", 999)
    assert "--reset-gpu-clocks" in keeper.complaint
    fake.set(error__nvmlDeviceResetGpuLockedClocks=None)
    assert ClockKeeper("observe", tmp_path, gpus).free_leftovers() == (uuid,)
    assert fake.locked() is None


def test_marker_of_a_gpu_that_is_gone_is_told(fake: FakeNvml, tmp_path: Path) -> None:
    (tmp_path / "clocks").mkdir()
    (tmp_path / "clocks" / "GPU-gone.locked").write_text("lock:1410\n")
    keeper = ClockKeeper("observe", tmp_path, opened())
    assert keeper.free_leftovers() == ()
    assert "GPU-gone" in keeper.complaint
    assert fake.calls == []


def test_errors_that_the_driver_reports_come_once_and_with_their_gpu(fake: FakeNvml) -> None:
    gpus = opened()
    fake.xid(31, index=1)
    fake.xid(79, index=0)
    first, second = (device.uuid for device in gpus.devices)
    assert gpus.xids() == [(second, 31), (first, 79)]
    assert gpus.xids() == []
    gpus.close()
    assert gpus.xids() == []


def test_library_is_found_by_name_in_another_process(fake: FakeNvml) -> None:
    """As on a GPU host: no path is given to nvidia-ml-py, the loader finds the library."""
    command = [sys.executable, "-m", "tesserabench.agent.main", "check"]
    environment = {**os.environ, **fake.environment, "TESSERABENCH_AGENT_DEVICES": "cuda"}
    environment |= {"TESSERABENCH_AGENT_COLLECTOR": "127.0.0.1:1", "CUDA_LAUNCH_BLOCKING": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "device cuda:1 NVIDIA H100 80GB HBM3, 81920 MiB" in done.stdout, done.stdout + done.stderr
    assert "warning: the variable CUDA_LAUNCH_BLOCKING is set" in done.stdout
