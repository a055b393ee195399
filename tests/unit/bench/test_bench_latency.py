"""The latency suite: CUDA's part against a stand-in that does everything at once, the CPU's part for real."""

import gc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.cuda_stand_in import CudaStandIn
from tesserabench.bench import (
    CaseFailure,
    DeviceKind,
    MeasureOptions,
    Mode,
    Outcome,
    expand,
    find_benchmark,
    find_suite,
    run_locally,
    summarise,
)
from tesserabench.bench.verification import compare
from tesserabench.bench.workloads.latency_cpu import Call, WakeProcess, WakeThread
from tesserabench.bench.workloads.latency_work import GraphLaunch, Launches, allocation_work, event_work

TINY = replace(
    MeasureOptions.for_tier("smoke"),
    budget_seconds=0.5,
    min_device_seconds=0.0,
    warmup_min_seconds=0.0,
    warmup_cap_seconds=0.05,
    probe_ceilings=False,
)


def check(work: Any) -> bool:
    """Poison, launch once, and compare exactly."""
    work.poison()
    work.launch()
    return compare(work.outputs(), work.reference(), 0.0, poisoned=True).passed


@pytest.mark.parametrize("count", [1, 256])
def test_launches_count_themselves(count: int) -> None:
    cuda = CudaStandIn()
    work = Launches(cuda.device(), kernel="step", count=count)
    assert check(work)
    assert cuda.calls == ["step"] * count
    work.launch()
    assert compare(work.outputs(), work.reference(), 0.0, poisoned=False).passed


@pytest.mark.parametrize("through", ["cupy", "driver"])
@pytest.mark.parametrize("kernel", ["empty", "step"])
def test_launches_of_others_are_free_of_what_ours_cost(kernel: str, through: str) -> None:
    cuda = CudaStandIn()
    work = Launches(cuda.device(), kernel=kernel, count=5, through=through)
    work.poison()
    work.launch()
    assert compare(work.outputs(), work.reference(), 0.0, poisoned=True).passed
    assert cuda.calls == [f"{through} {kernel}"] * 5
    assert len(work.reference()) == (kernel == "step")


def test_a_launch_that_is_lost_is_seen() -> None:
    cuda = CudaStandIn()
    work = Launches(cuda.device(), kernel="step", count=3)
    work.poison()
    assert not compare(work.outputs(), work.reference(), 0.0, poisoned=True).passed
    work.launch()
    work._calls.pop()
    work.launch()
    assert not compare(work.outputs(), work.reference(), 0.0, poisoned=True).passed


def test_empty_kernel_has_nothing_to_check() -> None:
    work = Launches(CudaStandIn().device(), kernel="empty", count=2)
    work.launch()
    assert work.reference() == {}


def test_one_of_many_launches_is_told_apart() -> None:
    statistics = summarise((2_560_000,) * 30)
    assert statistics is not None
    work = Launches(CudaStandIn().device(), kernel="empty", count=256)
    (told,) = work.metrics(statistics)
    assert (told.name, told.unit, told.value) == ("item_time", "ns", 10_000)
    assert tuple(Launches(CudaStandIn().device(), kernel="empty", count=1).metrics(statistics)) == ()


@pytest.mark.parametrize("nodes", [1, 10, 100, 1000])
def test_graph_runs_every_node_of_its_chain(nodes: int) -> None:
    cuda = CudaStandIn()
    work = GraphLaunch(cuda.device(), nodes=nodes)
    cuda.calls.clear()
    assert check(work)
    assert cuda.calls == ["graph"]


@pytest.mark.parametrize(
    ("action", "count", "calls"),
    [
        ("record", 3, ["record"] * 3),
        ("record_and_synchronize", 1, ["record", "event.synchronize"]),
        ("stream_wait", 2, ["wait_event"] * 2),
    ],
)
def test_events_are_used_as_named(action: str, count: int, calls: list[str]) -> None:
    cuda = CudaStandIn()
    work = event_work(cuda.device(), action, count)
    cuda.calls.clear()
    work.launch()
    assert cuda.calls == calls


@pytest.mark.parametrize("allocator", ["malloc", "stream_ordered", "stream_ordered_kept", "pool", "pinned"])
def test_whatever_is_allocated_is_freed(allocator: str) -> None:
    cuda = CudaStandIn(threshold=77)
    work: Any = allocation_work(cuda.device(), allocator, 4096)
    work.launch()
    work.launch()
    assert cuda.calls[:4] == ["allocate", "free"] * 2
    assert cuda.live == set()
    if hasattr(work, "close"):
        assert cuda.threshold == (1 << 64) - 1
        work.close()
    assert cuda.threshold == 77


def test_every_name_on_cuda_prepares_what_its_parameters_say() -> None:
    suite = find_suite("latency")
    for case in expand(suite, tier="full", device_kind="cuda"):
        work: Any = find_benchmark(case.benchmark).prepare(CudaStandIn().device(), case.params, 1)
        work.poison()
        work.launch()
        if "count" in case.params or "nodes" in case.params or "launches" in case.params:
            count = next(case.params.integer(name) for name in ("count", "nodes", "launches") if name in case.params)
            assert work.count == count
        assert work.capturable == (case.params.get("queue") == "graph")


def test_only_the_device_gap_is_timed_by_the_device() -> None:
    for item in find_suite("latency").benchmarks:
        if DeviceKind.CUDA in item.devices:
            wanted = {Mode.HOT} if item.name == "latency/device_gap" else {Mode.HOST}
            assert item.modes == wanted


def test_cpu_cases_are_measured_and_checked() -> None:
    result = run_locally("latency", device="cpu", tier="smoke", options=TINY)
    assert result.outcome is Outcome.OK
    found = {item.case.benchmark: item for item in result.measurements}
    assert set(found) == {"latency/call", "latency/wake", "latency/first_touch"}
    for measurement in result.measurements:
        assert measurement.outcome is Outcome.OK, measurement.reason
        assert measurement.correctness is not None


@pytest.mark.parametrize("partner", [WakeThread, WakeProcess])
def test_round_trip_notices_an_answer_that_never_came(partner: type[WakeThread | WakeProcess]) -> None:
    work = partner()
    try:
        assert check(work)
        work.poison()
        assert not compare(work.outputs(), work.reference(), 0.0, poisoned=True).passed
    finally:
        work.close()


def test_round_trip_to_a_process_that_died_is_a_failure_with_a_reason() -> None:
    work = WakeProcess()
    try:
        work.process.kill()
        work.process.wait()
        with pytest.raises(CaseFailure, match="the partner of the round trip ended"):
            work.launch()
    finally:
        work.close()


def test_a_closed_round_trip_leaves_no_descriptor_open() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    for partner in (WakeThread, WakeProcess):
        partner().close()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_work_that_is_dropped_ends_its_process() -> None:
    work = WakeProcess()
    process = work.process
    del work
    gc.collect()
    assert process.poll() == 0


@pytest.mark.parametrize("elements", [1, 64])
def test_small_call_is_checked_against_python(elements: int) -> None:
    device: Any = SimpleNamespace(xp=np)
    assert check(Call(device, elements, seed=3))
