"""Runs on scripted GPUs: real agent, nvidia-ml-py and workers; only the driver's library and the kernels are not.

A worker measures on the simulated device, slowed down to real time, so that the readings of the scripted GPU and the
measured windows have something to meet.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.embedded_agent import running_agent
from support.fake_collector import FakeCollector
from support.fake_nvml import HW_THERMAL, POWER_BRAKE, POWER_CAP, FakeNvml, moving
from tesserabench.agent.app import Agent
from tesserabench.agent.runner.station import Station
from tesserabench.agent.runner.trial_log import TrialLog
from tesserabench.agent.settings import Cooling, Policy, Readiness, Settings
from tesserabench.bench import Measurement
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1 import run_pb2
from tesserabench.v1.ingest_service_pb2 import TrialFinished, TrialStarted
from tesserabench.v1.run_pb2 import RunSpec

MakeSettings = Callable[..., Settings]
Key = tuple[str, int]

ALL_THE_TIME = 1e9
"""Nanoseconds of a counter for each second: its limit is always active."""
REAL_TIME = "real_time_factor = 0.5\n"
ONE, OTHER = r"^gemm/matmul\[.*bfloat16", r"^memory/copy\["
"""Cases of suite core, one each."""


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvml]:
    """One idle GPU, whose workers measure on the simulated device."""
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(REAL_TIME, encoding="utf-8")
    monkeypatch.setattr(Station, "device_spec", lambda *_: f"simulated:{scenario}")
    fake = FakeNvml(tmp_path)
    with fake.loaded():
        yield fake


@pytest.fixture
def make_gpu_settings(make_settings: MakeSettings) -> MakeSettings:
    def make(**changes: object) -> Settings:
        quick = {"devices": ("cuda",), "cooling": Cooling(retries=1, pause_seconds=0.1), "device_wait_seconds": 5}
        return make_settings(**(quick | changes))

    return make


def write_script(folder: Path, text: str) -> None:
    """Change what the simulated device does from the next worker on."""
    (folder / "scenario.toml").write_text(text, encoding="utf-8")


def one_case(**changes: object) -> RunSpec:
    given: dict[str, object] = {
        "suite": "core",
        "tier": run_pb2.TIER_SMOKE,
        "device": "cuda",
        "seed": 5,
        "trials": 1,
        "include": [ONE],
        "mode": pb.TIMING_MODE_HOT,
    }
    return RunSpec(**(given | changes))  # type: ignore[arg-type]


async def carried_out(collector: FakeCollector, spec: RunSpec, number: int = 1) -> Key:
    key = await collector.assign(number, spec)
    await collector.until_closed(key)
    return key


def result_of(collector: FakeCollector, key: Key) -> pb.CaseResult:
    (item,) = collector.of(key).results
    return item.result


def started_of(collector: FakeCollector, key: Key) -> TrialStarted:
    return next(item.trial_started for item in collector.of(key).records if item.HasField("trial_started"))


def finished_of(collector: FakeCollector, key: Key) -> TrialFinished:
    return next(item.trial_finished for item in collector.of(key).records if item.HasField("trial_finished"))


async def test_trial_tells_under_what_it_ran(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml
) -> None:
    gpu.set(field__269=None, pcie_replay=3)
    near = min(os.sched_getaffinity(0))
    gpu.set(processors=f"{1 << near:x}", nodes="1")
    async with running_agent(make_gpu_settings()):
        key = await carried_out(collector, one_case())
    started, result, finished = started_of(collector, key), result_of(collector, key), finished_of(collector, key)
    assert result.outcome == pb.OUTCOME_OK, result.reason
    assert result.throttle == finished.throttle == pb.THROTTLE_CLASS_CLEAN
    assert result.throttle_fractions["hw_thermal"] == 0
    assert "sw_thermal" not in result.throttle_fractions
    assert result.backend == "virtual"
    assert result.cache.kind == "warm"
    assert result.target_half_width > 0
    assert result.warmup.calls > 0
    assert started.clock_policy == "observe"
    assert list(started.processors) == [near]
    facts = started.environment.facts
    assert facts["gpu.vbios"] == "96.00.74.00.01"
    assert facts["gpu.ecc"] == "true"
    assert facts["gpu.power_limit_watts"] == "700.0"
    assert facts["driver.cuda"] == "13.0"
    assert "gpu.serial" not in facts
    assert facts["cpu.cores_usable"] == "1"
    assert facts["env.CUDA_VISIBLE_DEVICES"] == started.device.uuid
    assert facts["env.CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert not {"env.CUPY_CACHE_DIR", "env.CUDA_CACHE_PATH"} & set(facts)
    assert finished.ceilings
    assert all(item.HasField("opening") and item.HasField("closing") for item in finished.ceilings)
    telemetry = finished.telemetry
    assert telemetry.readings >= 5
    assert telemetry.sm_clock_min_mhz == telemetry.sm_clock_median_mhz == telemetry.sm_clock_max_mhz == 1980
    assert telemetry.temperature_max_celsius == 41
    assert telemetry.power_mean_watts == pytest.approx(123)
    assert telemetry.energy_joules > 0
    assert {"pcie_replay", "ecc_corrected", "ecc_uncorrected", "remapped_correctable"} <= set(telemetry.fault_counts)
    assert set(telemetry.fault_counts.values()) == {0}
    assert {name for name in facts if "token" in name.lower() or "secret" in name.lower()} == set()


async def test_heat_that_stays_makes_the_case_throttled_and_is_a_finding(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml
) -> None:
    gpu.counter(HW_THERMAL, moving(0, ALL_THE_TIME))
    async with running_agent(make_gpu_settings()):
        key = await carried_out(collector, one_case())
        result, finished = result_of(collector, key), finished_of(collector, key)
        assert result.outcome == pb.OUTCOME_THROTTLED
        assert "after 1 further tries" in result.reason
        assert result.throttle == finished.throttle == pb.THROTTLE_CLASS_THERMAL
        assert result.throttle_fractions["hw_thermal"] == pytest.approx(1, abs=0.1)
        assert result.measurements[0].metric == "time"
        assert "worker_restarted" not in result.flags
        assert {sample & 2 for sample in result.measurements[0].samples.flags} == {2}
        await collector.until(
            lambda: any("thermal" in state.findings for state in collector.questions[-1].devices.values()),
            what="the finding to be told",
            seconds=30,
        )
        gpu.counter(HW_THERMAL, 0)
        gpu.counter(HW_THERMAL, 10**12)
        cool = await carried_out(collector, one_case(), 2)
        assert result_of(collector, cool).outcome == pb.OUTCOME_OK
        await collector.until(
            lambda: not any(state.findings for state in collector.questions[-1].devices.values()),
            what="the finding to be taken back",
            seconds=30,
        )


async def test_case_that_was_hot_is_measured_again_by_a_fresh_worker(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.counter(HW_THERMAL, moving(0, ALL_THE_TIME))
    judge = TrialLog.measured

    async def cools_after_the_first_try(log: TrialLog, measurement: Measurement) -> bool:
        written = await judge(log, measurement)
        if not written:
            gpu.counter(HW_THERMAL, 10**15)
        return written

    monkeypatch.setattr(TrialLog, "measured", cools_after_the_first_try)
    async with running_agent(make_gpu_settings()):
        key = await carried_out(collector, one_case(include=[ONE, OTHER]))
    results = {item.result.case.benchmark: item.result for item in collector.of(key).results}
    assert len(results) == len(collector.of(key).results) == 2
    assert {item.outcome for item in results.values()} == {pb.OUTCOME_OK}
    retried = [item for item in results.values() if "retried" in item.flags]
    assert len(retried) >= 1
    assert sorted(item.order for item in results.values()) == [0, 1]
    assert finished_of(collector, key).outcome == pb.OUTCOME_OK


async def test_brake_is_throttled_at_once(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml
) -> None:
    gpu.counter(POWER_BRAKE, moving(0, 0.005 * ALL_THE_TIME))
    async with running_agent(make_gpu_settings()):
        key = await carried_out(collector, one_case())
    result = result_of(collector, key)
    assert result.outcome == pb.OUTCOME_THROTTLED
    assert result.throttle == pb.THROTTLE_CLASS_BRAKE
    assert "power supply" in result.reason
    assert not any(sample & 2 for sample in result.measurements[0].samples.flags)


async def test_power_limit_is_flagged_except_where_it_is_what_is_measured(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml, tmp_path: Path
) -> None:
    gpu.counter(POWER_CAP, moving(0, ALL_THE_TIME))
    gpu.set(energy=moving(0, 300_000, period_ms=20), power=300_000)
    write_script(tmp_path, "real_time_factor = 0.6\n")
    async with running_agent(make_gpu_settings()):
        burst = result_of(collector, await carried_out(collector, one_case()))
        long = result_of(collector, await carried_out(collector, one_case(mode=pb.TIMING_MODE_SUSTAINED), 2))
    for result in (burst, long):
        assert result.outcome == pb.OUTCOME_OK, result.reason
        assert result.throttle == pb.THROTTLE_CLASS_POWER_LIMITED
        assert result.throttle_fractions["sw_power_cap"] == pytest.approx(1, abs=0.1)
    assert "power_limited" in burst.flags
    assert "power_limited" not in long.flags
    metrics = {item.metric: item for item in long.measurements}
    assert metrics["power"].value == pytest.approx(300, rel=0.05)
    assert metrics["power"].ci_low <= metrics["power"].value <= metrics["power"].ci_high
    assert metrics["energy"].value > 0
    assert metrics["efficiency"].unit == "FLOP/J"
    assert "energy_disagrees" not in long.flags
    assert {"power", "energy"}.isdisjoint(item.metric for item in burst.measurements)
    # The idle GPU drew as much before the trial, so that nothing is left above idle, or what the readings are off by.
    above = metrics.get("energy_above_idle")
    assert above is None or above.value < 0.05 * metrics["energy"].value


async def test_driver_that_was_loaded_anew_voids_the_trial(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml, tmp_path: Path
) -> None:
    gpu.counter(POWER_CAP, 5 * 10**12)
    write_script(tmp_path, "real_time_factor = 2.0\n")
    async with running_agent(make_gpu_settings()) as agent:
        key = await collector.assign(1, one_case())
        await _until_phase(agent, "measure")
        gpu.counter(POWER_CAP, 0)
        await collector.until_closed(key)
    result, finished = result_of(collector, key), finished_of(collector, key)
    assert result.outcome == finished.outcome == pb.OUTCOME_DEVICE_ERROR
    assert not result.measurements
    assert "loaded anew" in result.reason
    assert "void" in finished.flags


async def _until_phase(agent: Agent, phase: str) -> None:
    """Wait until the running attempt is in a phase."""
    async with asyncio.timeout(30):
        while not any(entry.progress.phase == phase for entry in agent.roster.entries()):
            agent.roster.changed.clear()
            with_timeout = asyncio.wait_for(agent.roster.changed.wait(), 0.05)
            try:
                await with_timeout
            except TimeoutError:
                continue


async def test_locked_clocks_are_recorded_and_reset(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml
) -> None:
    async with running_agent(make_gpu_settings()):
        free = started_of(collector, await carried_out(collector, one_case()))
    async with running_agent(make_gpu_settings(clocks="lock:1410")):
        key = await carried_out(collector, one_case(trials=2), 2)
    started = started_of(collector, key)
    assert started.clock_policy == "lock:1410"
    assert started.environment.facts["gpu.clock_policy"] == "lock:1410"
    assert started.environment.comparability != free.environment.comparability
    assert finished_of(collector, key).throttle == pb.THROTTLE_CLASS_LOCKED
    assert gpu.calls == [("lock", 0, 1410, 1410), ("reset", 0, 0, 0)] * 2
    assert gpu.locked() is None


async def test_same_gpu_stays_comparable_from_trial_to_trial(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml
) -> None:
    async with running_agent(make_gpu_settings()):
        first = started_of(collector, await carried_out(collector, one_case()))
        # An idle link falls back; so does the clock. Neither makes it another GPU.
        gpu.set(pcie_generation=1, temperature__0=55, clock__1=345, performance_state=8)
        second = started_of(collector, await carried_out(collector, one_case(), 2))
        gpu.set(power_limit=500_000)
        third = started_of(collector, await carried_out(collector, one_case(), 3))
    assert first.environment.comparability == second.environment.comparability
    assert first.environment.fingerprint != second.environment.fingerprint
    assert third.environment.comparability != first.environment.comparability


async def test_clocks_that_may_not_be_locked_refuse_the_run_and_more_work(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml
) -> None:
    gpu.fail("nvmlDeviceSetGpuLockedClocks", 4)
    async with running_agent(make_gpu_settings(clocks="lock:tdp")):
        key = await collector.assign(1, one_case())
        closing = await collector.until_closed(key)
        assert closing.outcome == pb.OUTCOME_UNSUPPORTED
        assert "set clocks to observe" in closing.reason
        await collector.until(
            lambda: "clocks" in collector.questions[-1].unready_reason, what="the host to be unready", seconds=30
        )
    assert gpu.calls == []


async def test_work_of_others_keeps_the_run_waiting_and_then_ends_it_as_busy(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml
) -> None:
    gpu.set(processes=str(os.getppid()))
    async with running_agent(make_gpu_settings(device_wait_seconds=0.5)):
        key = await collector.assign(1, one_case())
        closing = await collector.until_closed(key)
        assert closing.outcome == pb.OUTCOME_BUSY
        assert str(os.getppid()) in closing.reason
        assert "policy.on_foreign_process" in closing.reason
        gpu.set(processes=",", utilization=30)
        hidden = await collector.assign(2, one_case())
        assert "30% busy" in (await collector.until_closed(hidden)).reason
        gpu.set(utilization=0, memory_used=70 << 30)
        full = await collector.assign(3, one_case())
        assert "memory_fraction" in (await collector.until_closed(full)).reason
        gpu.set(memory_used=1 << 30)
        free = await collector.assign(4, one_case())
        assert (await collector.until_closed(free)).outcome == pb.OUTCOME_OK


async def test_hot_gpu_is_waited_for(collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml) -> None:
    gpu.set(temperature__0=80)
    settings = make_gpu_settings(device_wait_seconds=30, readiness=Readiness(temperature_celsius=60))
    async with running_agent(settings):
        key = await collector.assign(1, one_case())
        await collector.until(
            lambda: any("80 degrees" in item.progress.phase for item in collector.held.values()),
            what="the reason for waiting to be told",
            seconds=20,
        )
        gpu.set(temperature__0=45)
        assert (await collector.until_closed(key)).outcome == pb.OUTCOME_OK


@pytest.mark.parametrize(("policy", "flags"), [("flag", ["contended"]), ("ignore", [])])
async def test_policy_lets_work_of_others_pass(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml, policy: str, flags: list[str]
) -> None:
    gpu.set(processes=str(os.getppid()))
    async with running_agent(make_gpu_settings(policy=Policy(on_foreign_process=policy))):  # type: ignore[arg-type]
        key = await carried_out(collector, one_case())
    assert result_of(collector, key).outcome == pb.OUTCOME_OK
    assert [flag for flag in result_of(collector, key).flags if flag == "contended"] == flags
    assert list(finished_of(collector, key).flags) == flags


async def test_work_of_others_that_begins_meanwhile_is_remarked(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml, tmp_path: Path
) -> None:
    write_script(tmp_path, "real_time_factor = 1.0\n")
    async with running_agent(make_gpu_settings()) as agent:
        key = await collector.assign(1, one_case())
        await _until_phase(agent, "measure")
        gpu.set(processes=str(os.getppid()))
        await collector.until_closed(key)
    assert "contended" in finished_of(collector, key).flags


async def test_driver_error_explains_a_failure_and_can_mean_that_the_gpu_is_lost(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml, tmp_path: Path
) -> None:
    write_script(tmp_path, '[[rules]]\nfault = "segfault"\n')
    async with running_agent(make_gpu_settings()) as agent:
        key = await collector.assign(1, one_case())
        await _until_phase(agent, "measure")
        gpu.xid(31)
        await collector.until_closed(key)
        program = result_of(collector, key)
        assert program.outcome == pb.OUTCOME_DEVICE_ERROR
        assert "Xid 31" in program.reason
        assert "compute-sanitizer" in program.reason
        assert finished_of(collector, key).telemetry.fault_counts["xid"] == 1
    write_script(tmp_path, '[[rules]]\nfault = "segfault"\n')
    async with running_agent(make_gpu_settings()) as agent:
        lost = await collector.assign(2, one_case(trials=3))
        await _until_phase(agent, "measure")
        gpu.xid(79)
        closing = await collector.until_closed(lost)
        assert closing.outcome == pb.OUTCOME_DEVICE_LOST
        assert "fallen off the bus" in result_of(collector, lost).reason


async def test_worker_that_takes_too_much_memory_is_stopped(
    collector: FakeCollector, make_gpu_settings: MakeSettings, gpu: FakeNvml, tmp_path: Path
) -> None:
    assert gpu.locked() is None
    write_script(tmp_path, "real_time_factor = 30.0\n")
    async with running_agent(make_gpu_settings(worker_memory_bytes=4 << 20)):
        key = await carried_out(collector, one_case())
    result = result_of(collector, key)
    assert result.outcome == pb.OUTCOME_OUT_OF_MEMORY
    assert "worker_memory_bytes" in result.reason


LOCK_AND_WAIT = """
import sys, time
from pathlib import Path
from tesserabench.agent.host.clocks import ClockKeeper
from tesserabench.agent.host.gpus import open_gpus
gpus = open_gpus()
with ClockKeeper("lock:1410", Path(sys.argv[1]), gpus).handled(gpus.devices[0].uuid):
    print("locked", flush=True)
    time.sleep(600)
"""


def lock_and_die(fake: FakeNvml, state_dir: Path) -> None:
    """Lock the first GPU in a process that is killed meanwhile."""
    command = [sys.executable, "-c", LOCK_AND_WAIT, str(state_dir)]
    environment = {**os.environ, **fake.environment}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "locked\n" in iter(process.stdout.readline, "")
        finally:
            process.kill()


async def test_clocks_that_a_killed_agent_left_locked_are_freed_and_no_others(
    collector: FakeCollector, make_gpu_settings: MakeSettings, tmp_path: Path
) -> None:
    fake = FakeNvml(tmp_path, count=2)
    settings = make_gpu_settings()
    lock_and_die(fake, settings.state_dir)
    assert fake.locked(0) == (1410, 1410)
    with fake.loaded() as pynvml:
        pynvml.nvmlInit()
        pynvml.nvmlDeviceSetGpuLockedClocks(pynvml.nvmlDeviceGetHandleByIndex(1), 900, 900)
        async with running_agent(settings):
            assert fake.locked(0) is None
    assert fake.locked(1) == (900, 900)
    assert [call for call in fake.calls if call[0] == "reset"] == [("reset", 0, 0, 0)]
    assert not list((settings.state_dir / "clocks").glob("*"))
