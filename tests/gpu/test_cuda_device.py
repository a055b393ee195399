"""The CUDA device on real hardware."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cupy
import numpy as np
import pytest
from tesserabench.bench import (
    Backend,
    Case,
    MeasureOptions,
    Mode,
    Outcome,
    Params,
    TimingOrder,
    TrialResult,
    open_device,
    run_locally,
)
from tesserabench.bench.device.cuda import CudaDevice
from tesserabench.bench.device.cuda.profile import find_ncu, profile_case
from tesserabench.bench.device.cuda.ways import WAYS
from tesserabench.bench.errors import ProfileFailed
from tesserabench.bench.kernels import ARCHITECTURES, find, modules
from tesserabench.bench.vocabulary import Flag
from tesserabench.bench.workloads.bare import BareWork

QUICK = replace(
    MeasureOptions.for_tier("smoke"), budget_seconds=0.2, warmup_cap_seconds=0.1, min_samples=30, probe_ceilings=False
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not cupy.is_available(), reason="no CUDA device on this machine"),
]


@pytest.fixture(scope="module")
def device() -> Iterator[CudaDevice]:
    with open_device("cuda") as opened:
        assert isinstance(opened, CudaDevice)
        yield opened


@pytest.mark.parametrize("mode", ["hot", "cold", "host"])
def test_smoke_tier_gives_right_results_on_every_benchmark(mode: str) -> None:
    result = run_locally("core", device="cuda", mode=mode)
    assert result.outcome is Outcome.OK, result.reason
    for measurement in result.measurements:
        assert measurement.outcome is Outcome.OK, f"{measurement.case_id}: {measurement.reason}"


@pytest.fixture(scope="module")
def core() -> TrialResult:
    return run_locally("core", device="cuda")


def test_rates_do_not_exceed_what_was_probed(core: TrialResult) -> None:
    for measurement in core.measurements:
        ratio = next(metric.value for metric in measurement.metrics if metric.name == "ceiling_ratio")
        assert 0.01 < ratio < 1.2, measurement.case_id


def test_every_kernel_of_ours_loads(device: CudaDevice) -> None:
    capability = (device.info.compute_capability or "").replace(".", "")
    for module in modules():
        found = find(module)
        if found.architectures != ARCHITECTURES and capability not in {
            name.rstrip("af") for name in found.architectures
        }:
            continue
        for variant in found.variants:
            for function in found.functions:
                assert device.kernel(module, function, defines=variant).num_regs > 0, f"{module} {dict(variant)}"


def spinning(device: CudaDevice, nanoseconds: int) -> BareWork:
    spin, given = device.kernel("spin", "spin", defines={}), (np.uint64(nanoseconds),)
    return BareWork(lambda: spin((1,), (1,), given))


@pytest.mark.parametrize("nanoseconds", [200_000, 1_000_000])
@pytest.mark.parametrize("mode", [Mode.HOT, Mode.COLD])
@pytest.mark.parametrize("backend", WAYS)
def test_every_way_reads_a_known_time(device: CudaDevice, backend: Backend, mode: Mode, nanoseconds: int) -> None:
    asked = TimingOrder(mode=mode, iterations=5, backend=backend)
    with closing(device.arm((spinning(device, nanoseconds),), asked)) as timing:
        block = timing.take(4)
        assert (timing.backend, timing.remarks) == (backend, ())
    for total in block.total_ns:
        assert total / 5 == pytest.approx(nanoseconds, rel=0.05)


def test_each_sample_of_a_replay_has_its_own_time(device: CudaDevice) -> None:
    durations = (50_000, 100_000, 200_000, 400_000)
    works = [spinning(device, duration) for duration in durations]
    asked = TimingOrder(mode=Mode.ROTATING, backend=Backend.GRAPH)
    with closing(device.arm(works, asked)) as timing:
        totals = [total for _ in range(3) for total in timing.take(4).total_ns]
    assert totals == pytest.approx(durations * 3, rel=0.1)


@pytest.mark.parametrize("backend", WAYS)
def test_samples_have_clocks_and_begins(device: CudaDevice, backend: Backend) -> None:
    asked = TimingOrder(mode=Mode.COLD, backend=backend)
    with closing(device.arm((spinning(device, 300_000),), asked)) as timing:
        before = device.now_ns()
        block = timing.take(16)
        after = device.now_ns()
    assert len(block.clock_hz) == len(block.begin_ns) == len(block.total_ns)
    assert all(1e8 < clock < 4e9 for clock in block.clock_hz)
    assert list(block.begin_ns) == sorted(block.begin_ns)
    assert before < block.begin_ns[0] < block.begin_ns[-1] < after
    assert block.host_ns is not None
    assert block.host_ns < 3 * sum(block.total_ns)


@pytest.mark.parametrize("backend", WAYS)
def test_timers_have_a_floor_and_a_step(device: CudaDevice, backend: Backend) -> None:
    timer = device.timer_of(backend)
    assert 0 < timer.quantum_ns <= 2000
    assert 0 <= timer.floor_ns < 50_000
    assert timer.launch_floor_ns is not None
    assert timer.floor_ns <= timer.launch_floor_ns < 50_000


def test_host_waits_longer_for_work_on_another_stream(device: CudaDevice) -> None:
    other, work = cupy.cuda.Stream(non_blocking=True), spinning(device, 20_000_000)

    def launch() -> None:
        with other:
            work.launch()

    with closing(device.arm((BareWork(launch),), TimingOrder(mode=Mode.HOT, backend=Backend.EVENTS))) as timing:
        block = timing.take(1)
    assert block.host_ns is not None
    assert block.host_ns > sum(block.total_ns) + 10_000_000


def test_work_that_waits_for_the_device_is_timed_by_events(device: CudaDevice) -> None:
    work = spinning(device, 100_000)

    def launch() -> None:
        work.launch()
        device.synchronize()

    with closing(device.arm((BareWork(launch),), TimingOrder(mode=Mode.HOT))) as timing:
        assert timing.backend is Backend.EVENTS
        assert timing.remarks == (Flag.GRAPH_REFUSED, Flag.HOLD_REFUSED)
        assert timing.take(2).total_ns[0] >= 100_000


def test_launch_that_allocates_is_marked(device: CudaDevice) -> None:
    source = cupy.zeros(1 << 20, dtype="float32")
    with closing(device.arm((BareWork(lambda: source + 1),), TimingOrder(mode=Mode.HOT))) as timing:
        assert Flag.ALLOCATES in timing.remarks
        assert timing.backend is not Backend.GRAPH
        assert timing.take(1).total_ns[0] > 0


def test_sustained_work_leaves_no_pause(device: CudaDevice) -> None:
    asked = TimingOrder(mode=Mode.SUSTAINED, iterations=10)
    with closing(device.arm((spinning(device, 500_000),), asked)) as timing:
        timing.take(8)
        began = device.now_ns()
        totals = [total for _ in range(6) for total in timing.take(8).total_ns]
        elapsed = device.now_ns() - began
    assert sum(totals) / elapsed > 0.97


def test_kernels_tell_what_they_are() -> None:
    (measurement,) = run_locally("memory", device="cuda", include="^memory/copy", options=QUICK).measurements[:1]
    (kernel,) = measurement.kernels
    assert kernel.registers is not None
    assert kernel.registers > 0
    assert kernel.local_bytes == 0
    assert kernel.occupancy is not None
    assert 0 < kernel.occupancy <= 1
    assert kernel.architecture is not None
    assert len(kernel.binary_hash or "") == 64


def test_peaks_are_above_what_is_reached(device: CudaDevice, core: TrialResult) -> None:
    header = core.header
    assert header is not None
    assert device.info.peak_bandwidth is not None
    assert header.ceilings.bandwidth is not None
    assert 0.5 < header.ceilings.bandwidth / device.info.peak_bandwidth < 1.0
    for dtype, rate in header.ceilings.flops.items():
        assert rate < 1.05 * device.info.peak_flops.get(dtype, float("inf")), dtype


_STRAY = """
import cupy
from tesserabench.bench import open_device
with open_device("cuda") as device:
    source = 'extern "C" __global__ void stray(unsigned long long* x) { x[threadIdx.x] = 1; }'
    stray = device.compile(source, "stray", name="stray", defines={})
    try:
        stray((1,), (32,), (cupy.uint64(64),))
        device.synchronize()
    except Exception as error:
        failure = device.failure(error)
        print(failure.outcome, failure.fatal)
"""


def test_stray_write_ends_its_process_and_no_other(device: CudaDevice) -> None:
    done = subprocess.run([sys.executable, "-c", _STRAY], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "device_error True", done.stderr[-2000:]
    device.synchronize()


@pytest.mark.skipif(find_ncu() is None, reason="Nsight Compute (ncu) is not on PATH")
def test_achieved_occupancy_is_counted(tmp_path: Path) -> None:
    case = Case(benchmark="memory/copy", params=Params({"n": 1 << 24, "dtype": "float32"}))
    try:
        profile = profile_case(case, tmp_path)
    except ProfileFailed as error:
        if "ERR_NVGPUCTRPERM" in str(error):
            pytest.skip("this user may not read performance counters")
        raise
    (metric,) = profile.metrics()
    assert 0.1 < metric.value <= 1
    assert profile.artifact.stat().st_size > 0


@pytest.mark.parametrize("count", [1, 3, 1001, 1 << 20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_own_kernels_handle_any_length(count: int, dtype: str) -> None:
    overrides = {"n": str(count), "dtype": dtype}
    streams = r"^memory/(copy|triad|reduction)\["
    result = run_locally("memory", device="cuda", include=streams, overrides=overrides, options=QUICK)
    assert len(result.measurements) == 3
    for measurement in result.measurements:
        assert measurement.outcome is Outcome.OK, measurement.reason


def test_cold_copy_is_slower_than_hot_copy_of_what_fits_the_cache() -> None:
    def median(mode: str) -> float:
        (found,) = run_locally(
            "memory", device="cuda", mode=mode, include="copy", overrides={"n": "2097152"}, options=QUICK
        ).measurements
        assert found.statistics is not None
        return found.statistics.median

    assert median("cold") > 1.05 * median("hot")


def test_planted_slow_down_is_visible() -> None:
    def median(**drill: float) -> float:
        options = replace(QUICK, drill=drill)
        (found,) = run_locally("memory", device="cuda", include="copy", options=options).measurements
        assert found.statistics is not None
        return found.statistics.median

    assert median(copy=1.3) / median() == pytest.approx(1.3, rel=0.1)


def test_too_large_work_is_out_of_memory_and_spares_the_next_case() -> None:
    streams = r"^memory/(copy|triad|reduction)\["
    result = run_locally("memory", device="cuda", include=streams, overrides={"copy.n": str(1 << 40)}, options=QUICK)
    found = {item.case.benchmark: item.outcome for item in result.measurements}
    assert found.pop("memory/copy") is Outcome.OUT_OF_MEMORY
    assert set(found.values()) == {Outcome.OK}


def test_device_tells_who_it_is(device: CudaDevice) -> None:
    info = device.info
    assert info.uuid is not None
    assert info.uuid.startswith("GPU-")
    assert info.memory_bytes is not None
    assert info.cache_bytes is not None
    assert device.timer.quantum_ns > 0
    assert np.isfinite(device.timer.floor_ns)
