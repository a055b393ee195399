"""Work that spans GPUs: a real agent on a scripted driver with two, workers that look at what they may see."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.embedded_agent import running_agent
from support.fake_collector import FakeCollector
from support.fake_nvml import FakeNvml
from tesserabench.agent.errors import DeviceBusy
from tesserabench.agent.locks import device_lock, device_locks
from tesserabench.agent.runner.station import Station
from tesserabench.v1 import measurement_pb2 as pb
from tesserabench.v1 import run_pb2
from tesserabench.v1.host_pb2 import Device
from tesserabench.v1.run_pb2 import RunSpec


class Seen:
    """What workers were started with, and which locks were held then."""

    def __init__(self, locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.visible: list[str] = []
        self.locked: list[set[str]] = []
        self._locks = locks
        genuine = Station.environment

        def environment(
            station: Station, folder: Path, device: Device, companions: Sequence[Device] = ()
        ) -> Mapping[str, str]:
            found = genuine(station, folder, device, companions)
            self.visible.append(found["CUDA_VISIBLE_DEVICES"])
            self.locked.append({path.name for path in locks.iterdir()})
            return found

        monkeypatch.setattr(Station, "environment", environment)
        # There is no GPU: the worker measures on the simulated device, which these suites refuse with a reason.
        monkeypatch.setattr(Station, "device_spec", lambda *_: "simulated")


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(tmp_path / "locks", monkeypatch)


@pytest.mark.parametrize(("suite", "include", "both"), [("transfer", "p2p", True), ("transfer", "latency", False)])
async def test_only_work_that_spans_gpus_sees_and_locks_the_others(
    *, collector: FakeCollector, make_settings: Any, tmp_path: Path, seen: Seen, suite: str, include: str, both: bool
) -> None:
    fake = FakeNvml(tmp_path, count=2)
    with fake.loaded():
        async with running_agent(make_settings(devices=("cuda",), device_wait_seconds=5)):
            spec = RunSpec(suite=suite, include=[include], tier=run_pb2.TIER_SMOKE, device="cuda:1", seed=5, trials=1)
            key = await collector.assign(1, spec)
            await collector.until_closed(key)
    results = [item.result for item in collector.of(key).results]
    assert {item.outcome for item in results} == {pb.OUTCOME_UNSUPPORTED}
    assert seen.visible[0].startswith("GPU-1")
    assert len(seen.visible[0].split(",")) == len(seen.locked[0]) == (2 if both else 1)


async def test_several_locks_are_one_lock_after_the_other(tmp_path: Path) -> None:
    paths = [tmp_path / "b.lock", tmp_path / "a.lock", tmp_path / "b.lock"]
    async with device_locks(paths, 1):
        for path in set(paths):
            with pytest.raises(DeviceBusy):
                async with device_lock(path, 0.05):
                    pass
    async with device_lock(paths[1], 0):
        with pytest.raises(DeviceBusy):
            async with device_locks(paths, 0.05):
                pass
    # What was taken before the one that was busy is free again.
    async with device_locks(paths, 0):
        pass
