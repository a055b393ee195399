"""What surrounds kernels, on real hardware: launches, copies, compilation, collectives. No times are asserted."""

import importlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cupy
import pytest
from tesserabench.bench import Backend, CaseFailure, MeasureOptions, Outcome, TrialResult, open_device, run_locally
from tesserabench.bench.collective.group import Group, Limits
from tesserabench.bench.collective.operation import Operation, shape_of

AVAILABLE = cupy.is_available()
DEVICES = cupy.cuda.runtime.getDeviceCount() if AVAILABLE else 0
NCCL = bool(getattr(importlib.import_module("cupy.cuda.nccl"), "available", False)) if AVAILABLE else False
QUICK = replace(
    MeasureOptions.for_tier("smoke"),
    budget_seconds=0.2,
    warmup_cap_seconds=0.2,
    warmup_min_seconds=0.01,
    probe_ceilings=False,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not AVAILABLE, reason="no CUDA device on this machine"),
]
several = pytest.mark.skipif(DEVICES < 2, reason=f"needs two CUDA devices; this process sees {DEVICES}")
with_nccl = pytest.mark.skipif(not NCCL, reason="NCCL is not installed: tesserabench[collectives]")


def measured(suite: str, **wanted: Any) -> TrialResult:
    result = run_locally(suite, device="cuda", options=QUICK, **wanted)
    assert result.outcome is Outcome.OK, result.reason
    return result


@pytest.fixture
def device() -> Iterator[Any]:
    with open_device("cuda") as opened:
        yield opened


@pytest.mark.parametrize("suite", ["latency", "compile"])
def test_every_case_is_right(suite: str) -> None:
    for measurement in measured(suite, tier="full").measurements:
        assert measurement.outcome is Outcome.OK, f"{measurement.case_id}: {measurement.reason}"


def test_pinned_pageable_and_tiny_copies_arrive() -> None:
    sizes = {"pinned.size": "64,1048576,67108864", "pageable.size": "64,1048576,67108864"}
    for measurement in measured("transfer", overrides=sizes, exclude="p2p").measurements:
        assert measurement.outcome is Outcome.OK, f"{measurement.case_id}: {measurement.reason}"
        assert {"payload_bandwidth"} <= {metric.name for metric in measurement.metrics}


def test_copies_both_ways_move_no_less_than_one_way() -> None:
    result = measured("transfer", include="pinned", overrides={"size": "67108864"})
    rates = {
        str(item.case.params["direction"]): metric.value
        for item in result.measurements
        for metric in item.metrics
        if metric.name == "payload_bandwidth"
    }
    assert rates["both"] > 0.9 * max(rates["h2d"], rates["d2h"])


def test_gap_between_kernels_is_seen_by_the_device() -> None:
    result = measured("latency", include="device_gap")
    backends = {str(item.case.params["queue"]): item.sampling.backend for item in result.measurements if item.sampling}
    assert backends["graph"] is Backend.GRAPH
    assert backends["stream"] is not Backend.GRAPH


@pytest.mark.skipif(DEVICES > 1, reason="there is a peer")
def test_copies_to_a_peer_are_unsupported_without_one() -> None:
    for measurement in measured("transfer", include="p2p").measurements:
        assert measurement.outcome is Outcome.UNSUPPORTED
        assert "CUDA_VISIBLE_DEVICES" in measurement.reason


@several
def test_copies_to_a_peer_arrive() -> None:
    for measurement in measured("transfer", include=r"p2p.*distance=1,").measurements:
        assert measurement.outcome in {Outcome.OK, Outcome.UNSUPPORTED}, measurement.reason
        assert measurement.outcome is Outcome.OK or "cannot reach the memory" in measurement.reason


@pytest.mark.skipif(DEVICES > 1, reason="there are two devices")
def test_collectives_are_unsupported_on_one_device() -> None:
    for measurement in measured("collectives").measurements:
        assert measurement.outcome is Outcome.UNSUPPORTED
        assert "sees 1 device" in measurement.reason


@several
@with_nccl
def test_collectives_are_exact_on_every_rank() -> None:
    sizes = {"size": "8,65536,16777216", "dtype": "float32,float16,int32", "ranks": "2"}
    for measurement in measured("collectives", overrides=sizes).measurements:
        assert measurement.outcome is Outcome.OK, f"{measurement.case_id}: {measurement.reason}"
        assert {"algorithm_bandwidth", "bus_bandwidth"} <= {metric.name for metric in measurement.metrics}


@several
@with_nccl
def test_a_rank_that_is_killed_fails_the_group_and_the_next_group_works(device: Any) -> None:
    limits = Limits(answer=60.0, patience=5.0, leave=10.0)
    shape = shape_of(Operation.ALL_REDUCE, 2, "float32", 1 << 20)
    group = Group((0, 1), limits=limits)
    try:
        share = group.prepare(shape, 1 << 20, seed=1)
        group.launch(share)
        assert group.wrong(share) == [0, 0]
        os.kill(group.pids[0], signal.SIGKILL)
        with pytest.raises(CaseFailure, match="rank 1 ended by signal 9"):
            group.wrong(share)
    finally:
        group.close()
    device.synchronize()
    again = Group((0, 1), limits=limits)
    try:
        share = again.prepare(shape, 1 << 20, seed=2)
        again.launch(share)
        assert again.wrong(share) == [0, 0]
    finally:
        again.close()
