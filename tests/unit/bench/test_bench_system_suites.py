"""The suites of what surrounds kernels, case by case through the engine: on a stand-in for CUDA, timed by the host."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.cuda_stand_in import CudaStandIn
from tesserabench.bench import (
    DeviceKind,
    Measurement,
    MeasureOptions,
    Outcome,
    SilentObserver,
    measure_trial,
    open_device,
    plan_trial,
)
from tesserabench.bench.device.cpu import CpuDevice

TINY = replace(
    MeasureOptions.for_tier("smoke"),
    budget_seconds=0.05,
    min_device_seconds=0.0,
    warmup_min_seconds=0.0,
    warmup_cap_seconds=0.01,
    probe_ceilings=False,
)
SIZES = {"size": "64,65536"}


@pytest.fixture
def machine() -> CudaStandIn:
    return CudaStandIn(devices=2)


@pytest.fixture
def device(machine: CudaStandIn) -> Iterator[Any]:
    """The CPU's clock around a stand-in for CuPy."""
    with open_device("cpu") as opened:
        assert isinstance(opened, CpuDevice)
        found: Any = opened
        shown = machine.device()
        found.xp, found.info, found.kernel = shown.xp, shown.info, machine.kernel
        yield found


def measured(suite: str, device: Any, **wanted: Any) -> tuple[Measurement, ...]:
    plan = plan_trial(suite, tier="full", device_kind=DeviceKind.CUDA, options=TINY, **wanted)
    result = measure_trial(plan, device, observer=SilentObserver())
    assert result.outcome is Outcome.OK, result.reason
    return result.measurements


def test_every_latency_case_is_measured_in_its_own_mode(device: Any, machine: CudaStandIn) -> None:
    found = measured("latency", device, overrides={"nodes": "1,10", "allocate.size": "4096"})
    assert len(found) > 20
    for item in found:
        assert item.outcome is Outcome.OK, f"{item.case_id}: {item.reason}"
        many = item.case.params.get("launches") or item.case.params.get("count") or item.case.params.get("nodes", 1)
        assert ("item_time" in {metric.name for metric in item.metrics}) == (many != 1), item.case_id
    assert machine.live == set()
    assert machine.threshold == 0


def test_every_copy_arrives_and_tells_its_bandwidth(device: Any) -> None:
    found = measured("transfer", device, overrides={**SIZES, "distance": "1"})
    assert len(found) == 6 + 4 + 8 + 6
    for item in found:
        assert item.outcome is Outcome.OK, f"{item.case_id}: {item.reason}"
        assert "payload_bandwidth" in {metric.name for metric in item.metrics}
        assert item.correctness is not None
        assert item.correctness.value == 0


def test_a_mode_that_means_nothing_is_not_measured(device: Any) -> None:
    for item in measured("transfer", device, include="pageable", overrides=SIZES, mode="cold"):
        assert item.mode == "host" or item.outcome is Outcome.UNSUPPORTED


def test_a_copy_that_loses_a_word_is_incorrect(
    device: Any, machine: CudaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(target: int, source: int, size: int, *rest: int) -> None:
        machine.copy(target, source, size - 4, *rest)

    monkeypatch.setattr(device.xp.cuda.runtime, "memcpyAsync", short)
    for item in measured("transfer", device, include="pinned|pageable", overrides=SIZES):
        assert item.outcome is Outcome.INCORRECT, item.case_id
