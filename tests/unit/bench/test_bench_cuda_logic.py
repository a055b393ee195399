"""The CUDA device's bookkeeping against a stand-in for CuPy: NumPy arrays, Python kernels and a clock of its own.

What only a device can show (real times, real kernels) stands in tests/gpu.
"""

import itertools
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pytest
from tesserabench.bench import (
    DeviceUnavailable,
    MeasureOptions,
    Outcome,
    TrialResult,
    open_device,
    run_locally,
)

COPY_NS, SWEEP_NS, DOT_NS = 40_000, 900_000, 250_000
OPTIONS = replace(MeasureOptions.for_tier("smoke"), warmup_min_seconds=0.0, min_device_seconds=0.0)
SIZES = {
    "matmul.m": "16",
    "matmul.n": "16",
    "matmul.k": "16",
    "matmul.dtype": "float32",
    "copy.n": "1001",
    "triad.n": "1001",
    "reduction.n": "1001",
    "c2c.n": "64",
    "c2c.batch": "4",
}


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class FakeGpu:
    """A device whose every kernel takes a fixed time."""

    devices: int = 1
    now_ns: int = 0
    launched: list[str] = field(default_factory=list)
    failure: CUDARuntimeError | None = None
    ticks: Iterator[int] = field(default_factory=lambda: itertools.cycle((0, 32, 64)))

    def run(self, name: str, duration_ns: int) -> None:
        if self.failure is not None:
            raise self.failure
        self.launched.append(name)
        self.now_ns += duration_ns

    def kernel(self, name: str) -> Callable[..., None]:
        def launch(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
            assert grid[0] > 0
            assert 0 < block[0] <= 1024
            self.run(name, int(args[0]) if name == "spin" else SWEEP_NS if name == "sweep" else COPY_NS)
            if name == "copy":
                args[1][:] = args[0]
            elif name == "triad":
                args[2][:] = args[0] + args[3] * args[1]
            elif name == "reduction":
                args[1][:] = 0
                args[1][0] = args[0].sum(dtype=np.float64)

        return launch


class FakeEvent:
    gpu: FakeGpu

    def record(self, stream: object) -> None:
        assert stream is not None
        self.at_ns = self.gpu.now_ns + next(self.gpu.ticks)

    def synchronize(self) -> None:
        assert self.at_ns >= 0


class FakeStream:
    def __init__(self, *, non_blocking: bool) -> None:
        assert non_blocking

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        pass


def fake_cupy(gpu: FakeGpu) -> Any:
    def count() -> int:
        if gpu.devices == 0:
            raise CUDARuntimeError(35, "cudaErrorInsufficientDriver: too old")
        return gpu.devices

    def dot(a: Any, b: Any, out: Any) -> None:
        gpu.run("dot", DOT_NS)
        np.dot(a, b, out=out)

    class Event(FakeEvent):
        pass

    Event.gpu = gpu
    properties = {
        "name": b"NVIDIA Fake 100",
        "uuid": bytes(range(16)),
        "totalGlobalMem": 80 << 30,
        "major": 9,
        "minor": 0,
        "multiProcessorCount": 4,
        "l2CacheSize": 50 << 20,
    }
    runtime = types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=count,
        getDeviceProperties=lambda _: properties,
        runtimeGetVersion=lambda: 13020,
        driverGetVersion=lambda: 13000,
        memGetInfo=lambda: (70 << 30, 80 << 30),
    )
    cupy: Any = types.ModuleType("cupy")
    for name in dir(np):
        if not name.startswith("__"):
            setattr(cupy, name, getattr(np, name))
    cupy.__version__ = "14.fake"
    cupy.dot = dot
    cupy.RawModule = lambda code, options: types.SimpleNamespace(
        get_function=lambda name: gpu.kernel(name) if f"void {name}(" in code and options else None
    )
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
    cupy.cuda = types.SimpleNamespace(
        runtime=runtime,
        Device=lambda _: types.SimpleNamespace(use=lambda: None),
        Stream=FakeStream,
        Event=Event,
        get_elapsed_time=lambda begin, end: (end.at_ns - begin.at_ns) / 1e6,
        nvrtc=types.SimpleNamespace(getVersion=lambda: (13, 2)),
    )
    return cupy


def fake_cufft(gpu: FakeGpu) -> Any:
    def transform(x: Any, y: Any, direction: int) -> None:
        assert direction == -1
        gpu.run("fft", COPY_NS)
        y[...] = np.fft.fft(x, axis=1)

    module: Any = types.ModuleType("cupy.cuda.cufft")
    module.CUFFT_C2C, module.CUFFT_Z2Z, module.CUFFT_FORWARD = 41, 105, -1
    module.Plan1d = lambda _n, _kind, _batch: types.SimpleNamespace(fft=transform)
    return module


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    fake = FakeGpu()
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(fake))
    monkeypatch.setitem(sys.modules, "cupy.cuda.cufft", fake_cufft(fake))
    return fake


def measure(**arguments: Any) -> TrialResult:
    return run_locally(
        "core",
        **{"device": "cuda", "overrides": SIZES, "options": replace(OPTIONS, probe_ceilings=False), **arguments},
    )


@pytest.mark.parametrize("mode", ["hot", "cold", "host"])
def test_every_benchmark_runs_through(gpu: FakeGpu, mode: str) -> None:
    result = measure(mode=mode)
    assert [(item.outcome, item.reason) for item in result.measurements] == [(Outcome.OK, "")] * 5
    assert {"copy", "triad", "reduction", "dot", "fft"} <= set(gpu.launched)
    assert ("sweep" in gpu.launched) is (mode == "cold")


@pytest.mark.parametrize("mode", ["hot", "cold"])
def test_time_is_that_of_the_launches_alone(gpu: FakeGpu, mode: str) -> None:
    (measurement,) = measure(include="copy", mode=mode).measurements
    assert measurement.statistics is not None
    assert measurement.statistics.median == pytest.approx(COPY_NS, abs=64)
    assert measurement.sampling is not None
    assert measurement.sampling.cache.bytes == (100 << 20 if mode == "cold" else None)
    assert gpu.now_ns > 0


def test_drill_spins_for_the_missing_time(gpu: FakeGpu) -> None:
    options = replace(OPTIONS, probe_ceilings=False, drill={"copy": 1.5})
    (measurement,) = measure(include="copy", options=options).measurements
    assert measurement.statistics is not None
    assert measurement.statistics.median == pytest.approx(1.5 * COPY_NS, abs=100)
    assert measurement.flags == ("drill",)
    assert gpu.launched[-2:] == ["copy", "spin"]


def test_timer_is_calibrated_with_empty_pairs(gpu: FakeGpu) -> None:
    with open_device("cuda") as device:
        assert (device.timer.name, device.timer.quantum_ns) == ("cuda_event", 96.0)
        assert gpu.launched == []


def test_device_describes_itself(gpu: FakeGpu) -> None:
    with open_device("cuda:0") as device:
        info, facts = device.info, device.environment()
        free = device.state().memory_free_bytes
    assert (info.model, info.driver, info.compute_capability) == ("NVIDIA Fake 100", "13.0", "9.0")
    assert info.uuid == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert facts["software.cuda_runtime"] == "13.2"
    assert facts["software.nvrtc"] == "13.2"
    assert free == 70 << 30
    assert gpu.devices == 1


@pytest.mark.parametrize(
    ("status", "outcome", "fatal"),
    [
        (2, Outcome.OUT_OF_MEMORY, False),
        (46, Outcome.BUSY, True),
        (209, Outcome.UNSUPPORTED, False),
        (214, Outcome.DEVICE_LOST, True),
        (700, Outcome.DEVICE_ERROR, True),
        (1, Outcome.DEVICE_ERROR, False),
    ],
)
def test_cuda_error_becomes_an_outcome(gpu: FakeGpu, status: int, outcome: Outcome, fatal: bool) -> None:
    gpu.failure = CUDARuntimeError(status, "cudaErrorScripted: scripted")
    result = measure(include="memory/")
    first = result.measurements[0]
    assert first.outcome is outcome
    assert "cudaErrorScripted" in first.reason
    assert (result.outcome is outcome) is fatal
    assert len(result.not_run) == (2 if fatal else 0)


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
