"""Suites on the CUDA device, whole cases through the engine, against a stand-in for CuPy."""

import sys
from dataclasses import replace
from typing import Any

import pytest
from support.fake_cupy import COPY_NS, GAP_NS, CUDARuntimeError, FakeGpu, install
from tesserabench.bench import (
    DeviceUnavailable,
    MeasureOptions,
    Outcome,
    TrialResult,
    open_device,
    run_locally,
)
from tesserabench.bench.vocabulary import Flag

OPTIONS = replace(MeasureOptions.for_tier("smoke"), warmup_min_seconds=0.0, min_device_seconds=0.0)
SIZES = {"copy.n": "1001", "triad.n": "1001", "reduction.n": "1001"}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    fake = FakeGpu()
    install(monkeypatch, fake)
    return fake


def measure(**arguments: Any) -> TrialResult:
    plain = {"device": "cuda", "overrides": SIZES, "options": replace(OPTIONS, probe_ceilings=False)}
    return run_locally("core", **{"include": "memory/", **plain, **arguments})


@pytest.mark.parametrize("mode", ["hot", "cold", "host", "rotating"])
def test_every_own_kernel_runs_through(gpu: FakeGpu, mode: str) -> None:
    result = measure(mode=mode)
    assert [(item.outcome, item.reason) for item in result.measurements] == [(Outcome.OK, "")] * 3
    assert {"copy", "triad", "reduction"} <= set(gpu.launched)
    assert ("sweep" in gpu.launched) is (mode == "cold")


@pytest.mark.parametrize(("mode", "backend"), [("hot", "graph"), ("cold", "graph"), ("rotating", "graph")])
def test_time_is_that_of_the_launches_alone(gpu: FakeGpu, mode: str, backend: str) -> None:
    (measurement,) = measure(include="copy", mode=mode).measurements
    assert measurement.statistics is not None
    assert measurement.statistics.median == pytest.approx(COPY_NS, abs=GAP_NS + 64)
    assert measurement.sampling is not None
    assert measurement.sampling.backend == backend
    assert measurement.sampling.cache.bytes == (100 << 20 if mode == "cold" else measurement.sampling.cache.bytes)
    assert gpu.events == {}
    assert gpu.graphs == {}


def test_samples_have_clocks_and_begins(gpu: FakeGpu) -> None:
    (measurement,) = measure(include="copy", mode="cold").measurements
    assert len(measurement.clock_mhz) == len(measurement.samples)
    assert set(map(round, measurement.clock_mhz)) == {round(gpu.clock_mhz)}
    assert list(measurement.offset_us) == sorted(measurement.offset_us)
    assert measurement.offset_us[1] - measurement.offset_us[0] > COPY_NS / 1000


def test_case_in_cold_mode_is_no_escape_because_of_its_sweeps(gpu: FakeGpu) -> None:
    (measurement,) = measure(include="copy", mode="cold").measurements
    assert measurement.flags == ()
    assert gpu.reset_persisting > 0


def test_work_on_another_stream_is_noticed(gpu: FakeGpu) -> None:
    gpu.escaped_ns = 200_000_000
    (measurement,) = measure(include="copy", mode="hot").measurements
    assert Flag.ESCAPED_WORK in measurement.flags or measurement.outcome is Outcome.IMPLAUSIBLE


def test_drill_spins_for_the_missing_time(gpu: FakeGpu) -> None:
    options = replace(OPTIONS, probe_ceilings=False, drill={"copy": 1.5})
    (measurement,) = measure(include="copy", options=options).measurements
    assert measurement.statistics is not None
    assert measurement.statistics.median == pytest.approx(1.5 * COPY_NS, rel=0.02)
    assert "drill" in measurement.flags
    assert gpu.launched[-3:] == ["copy", "spin", "stamp"]


def test_kernels_tell_what_they_are(gpu: FakeGpu) -> None:
    (measurement,) = measure(include="copy").measurements
    (kernel,) = measurement.kernels
    assert (kernel.name, kernel.registers, kernel.shared_bytes, kernel.local_bytes) == ("copy", 40, 512, 0)
    assert (kernel.block_threads, kernel.occupancy, kernel.architecture) == (256, 0.5, "sm_90")
    assert kernel.compile_seconds is not None
    assert kernel.source_hash != kernel.binary_hash
    assert {metric.name for metric in measurement.metrics} >= {"registers", "occupancy"}
    assert gpu.device_attributes[4] == 2048


def test_sustained_work_leaves_the_device_no_pause(gpu: FakeGpu) -> None:
    options = replace(OPTIONS, probe_ceilings=False, sustained_seconds=2.0, sustained_warmup_cap_seconds=0.5)
    (measurement,) = measure(include="copy", mode="sustained", options=options).measurements
    assert measurement.outcome is Outcome.OK, measurement.reason
    assert measurement.sampling is not None
    window_ns = (measurement.sampling.launches - 1) * COPY_NS
    assert measurement.sampling.elapsed_seconds == pytest.approx(window_ns / 1e9, rel=0.05)
    assert gpu.now_ns() > 2_000_000_000


def test_device_describes_itself(gpu: FakeGpu) -> None:
    with open_device("cuda:0") as device:
        info, facts = device.info, device.environment()
        free = device.state().memory_free_bytes
    assert (info.model, info.driver, info.compute_capability) == ("NVIDIA Fake 100", "13.0", "9.0")
    assert info.uuid == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert facts["software.cuda_runtime"] == "13.2"
    assert facts["software.nvrtc"] == "13.2"
    assert info.peak_bandwidth == pytest.approx(3.352e12, rel=1e-3)
    assert info.peak_flops["bfloat16"] == pytest.approx(4096 * 4 * 1.98e9)
    assert free == 70 << 30
    assert gpu.devices == 1


@pytest.mark.parametrize(
    ("status", "outcome", "fatal", "advice"),
    [
        (2, Outcome.OUT_OF_MEMORY, False, "75161927680 of 85899345920 bytes are free, CuPy's pool holds 1048576"),
        (46, Outcome.DEVICE_LOST, True, "reset the device or drain the host"),
        (100, Outcome.DEVICE_LOST, True, "sees no device any more"),
        (999, Outcome.DEVICE_LOST, True, "Xid 79"),
        (209, Outcome.UNSUPPORTED, False, "other architectures"),
        (801, Outcome.UNSUPPORTED, False, "does not have what it needs"),
        (214, Outcome.DEVICE_ERROR, True, "look at ECC counters"),
        (700, Outcome.DEVICE_ERROR, True, "compute-sanitizer"),
        (710, Outcome.DEVICE_ERROR, True, "assertion"),
        (719, Outcome.DEVICE_ERROR, True, "exception"),
        (1, Outcome.DEVICE_ERROR, False, "Xid"),
    ],
)
def test_cuda_error_becomes_an_outcome(gpu: FakeGpu, status: int, outcome: Outcome, fatal: bool, advice: str) -> None:
    gpu.failure = CUDARuntimeError(status, "cudaErrorScripted: scripted")
    options = replace(OPTIONS, probe_ceilings=False)
    result = measure(include="copy|triad", options=options)
    first, *others = sorted(result.measurements, key=lambda item: item.case_id)
    assert first.outcome is outcome
    assert "cudaErrorScripted" in first.reason
    assert advice in first.reason
    assert (result.outcome is outcome) is fatal
    assert all(item.outcome is Outcome.OK for item in others) or fatal


def test_missing_device_says_what_to_check(gpu: FakeGpu) -> None:
    with (
        pytest.raises(DeviceUnavailable, match="'cuda:3' does not exist; this process sees 1 device"),
        open_device("cuda:3"),
    ):
        pass
    with pytest.raises(DeviceUnavailable, match="'cuda:first' is no index"), open_device("cuda:first"):
        pass
    gpu.devices = 0
    with pytest.raises(DeviceUnavailable, match="check that the NVIDIA driver is loaded"), open_device("cuda"):
        pass


def test_missing_cupy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceUnavailable, match=r"install tesserabench\[cuda13\]"), open_device("cuda"):
        pass
