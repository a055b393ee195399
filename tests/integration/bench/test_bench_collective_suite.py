"""The collectives suite as the engine runs it: real rank processes, sockets in NCCL's place, NumPy in CuPy's."""

import gc
import tempfile
import types
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tesserabench.bench import (
    CaseFailure,
    MeasureOptions,
    Outcome,
    Params,
    SilentObserver,
    expand,
    find_suite,
    measure_trial,
    open_device,
    plan_trial,
    summarise,
)
from tesserabench.bench.collective.group import Limits
from tesserabench.bench.collective.supervision import Stage
from tesserabench.bench.device.cpu import CpuDevice
from tesserabench.bench.registry import Registry
from tesserabench.bench.vocabulary import DeviceKind
from tesserabench.bench.workloads import collectives_work
from tesserabench.bench.workloads.collectives_work import CollectiveWork, devices_of

TRANSPORT = "support.socket_collective"
LIMITS = Limits(answer=60.0, patience=60.0, leave=10.0)
TINY = replace(
    MeasureOptions.for_tier("smoke"),
    budget_seconds=0.5,
    min_device_seconds=0.0,
    warmup_min_seconds=0.0,
    warmup_cap_seconds=0.05,
    probe_ceilings=False,
)


@pytest.fixture(autouse=True)
def _ranks_find_the_transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ranks-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture
def device() -> Iterator[Any]:
    """The CPU with a runtime that counts three devices."""
    with open_device("cpu") as opened:
        assert isinstance(opened, CpuDevice)
        runtime = types.SimpleNamespace(getDevice=lambda: 1, getDeviceCount=lambda: 3)
        opened.xp = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
        yield opened
        group = collectives_work._GROUPS.pop(opened, None)
        if group is not None:
            group.close()
    gc.collect()


def registry() -> Registry:
    """The suite on the CPU device, over sockets."""
    found = Registry()
    found.suite("collectives", summary="over sockets")
    for item in find_suite("collectives").benchmarks:
        prepare = partial(_prepare, item.short_name)
        found.add(replace(item, devices=(DeviceKind.CPU,), prepare=prepare))
    return found


def _prepare(operation: str, device: Any, params: Params, seed: int) -> Any:
    return CollectiveWork(device, operation, params, seed, transport=TRANSPORT, limits=LIMITS)


def test_every_operation_is_measured_checked_and_told_in_both_bandwidths(device: Any) -> None:
    own = registry()
    plan = plan_trial(
        "collectives",
        tier="smoke",
        device_kind="cpu",
        overrides={"ranks": "2,3", "size": "4096"},
        options=TINY,
        registry=own,
    )
    result = measure_trial(plan, device, observer=SilentObserver(), registry=own)
    assert result.outcome is Outcome.OK, result.reason
    assert len(result.measurements) == 12
    for measurement in result.measurements:
        assert measurement.outcome is Outcome.OK, measurement.reason
        assert measurement.correctness is not None
        assert measurement.correctness.value == 0


def test_a_rank_that_dies_ends_its_case_and_the_next_one_works(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERABENCH_TEST_FAULT", "1:4:kill")
    own = registry()
    plan = plan_trial(
        "collectives",
        tier="smoke",
        device_kind="cpu",
        overrides={"ranks": "2", "size": "4096"},
        include="all_reduce|broadcast",
        options=TINY,
        registry=own,
    )

    class Observer(SilentObserver):
        def measurement(self, measurement: Any) -> None:
            monkeypatch.delenv("TESSERABENCH_TEST_FAULT", raising=False)

    result = measure_trial(plan, device, observer=Observer(), registry=own)
    assert result.outcome is Outcome.OK
    first, second = result.measurements
    assert first.outcome is Outcome.DEVICE_ERROR
    assert "rank 1 ended by signal 9" in first.reason
    assert second.outcome is Outcome.OK, second.reason


def test_bandwidths_follow_the_formulas(device: Any) -> None:
    params = Params({"ranks": 2, "size": 1 << 16, "dtype": "float32"})
    work = CollectiveWork(device, "all_reduce", params, 1, transport=TRANSPORT, limits=LIMITS)
    statistics = summarise((1000,) * 30)
    assert statistics is not None
    told = {item.name: item.value for item in work.metrics(statistics)}
    assert told["algorithm_bandwidth"] == pytest.approx((1 << 16) / 1e-6)
    assert told["bus_bandwidth"] == pytest.approx((1 << 16) / 1e-6)
    work.close()


def test_cases_share_a_group_until_the_number_of_ranks_changes(device: Any) -> None:
    pids = []
    for ranks in (2, 2, 3):
        params = Params({"ranks": ranks, "size": 64, "dtype": "int32"})
        work = CollectiveWork(device, "broadcast", params, 1, transport=TRANSPORT, limits=LIMITS)
        pids.append(collectives_work._GROUPS[device].pids)
        work.close()
    assert pids[0] == pids[1] != pids[2]


def test_two_arms_that_are_there_at_once_have_a_group_each(device: Any) -> None:
    params = Params({"ranks": 2, "size": 4096, "dtype": "int32"})
    arms = [CollectiveWork(device, "all_reduce", params, 1, transport=TRANSPORT, limits=LIMITS) for _ in range(2)]
    shared = collectives_work._GROUPS[device]
    for _ in range(3):
        for arm in arms:
            arm.launch()
    for arm in arms:
        assert np.array_equal(arm.outputs()["wrong"], arm.reference()["wrong"])
    for arm in arms:
        arm.close()
    assert shared.stage is Stage.READY
    again = CollectiveWork(device, "all_reduce", params, 1, transport=TRANSPORT, limits=LIMITS)
    assert collectives_work._GROUPS[device] is shared
    again.close()


def test_ranks_take_the_devices_from_this_one_on() -> None:
    assert devices_of(1, 3, 4) == (1, 2, 3)
    assert devices_of(3, 2, 4) == (3, 0)


def test_too_few_devices_are_unsupported_with_the_remedy() -> None:
    with pytest.raises(
        CaseFailure, match=r"ranks is 2, but this process sees 1 device\(s\).*CUDA_VISIBLE_DEVICES"
    ) as no:
        devices_of(0, 2, 1)
    assert no.value.outcome is Outcome.UNSUPPORTED


def test_sizes_reach_from_eight_bytes_to_eight_gibibytes() -> None:
    suite = find_suite("collectives")
    assert {item.short_name for item in suite.benchmarks} == {
        "all_reduce",
        "all_gather",
        "reduce_scatter",
        "broadcast",
        "all_to_all",
        "send_recv",
    }
    sizes = {case.params["size"] for case in expand(suite, tier="nightly", device_kind="cuda")}
    assert (min(sizes), max(sizes)) == (8, 8 << 30)
