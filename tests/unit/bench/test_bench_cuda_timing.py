"""Ways of timing on a CUDA device against a stand-in for CuPy: each way, and every step down to a lesser one."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from support.fake_cupy import CALL_NS, GAP_NS, STAMP_NS, CUDARuntimeError, FakeGpu, Operation, install
from tesserabench.bench import Backend, CacheKind, Mode, Outcome, TimingOrder, open_device
from tesserabench.bench.device.cuda import CudaDevice
from tesserabench.bench.device.cuda.graph import GRAPHS_MOST
from tesserabench.bench.device.cuda.timing import CudaTiming
from tesserabench.bench.device.cuda.ways import HOLD_LIMIT_NS, candidates, watched
from tesserabench.bench.device.protocol import Drill
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Flag
from tesserabench.bench.workloads.bare import BareWork

WORK_NS = 10_000
TICKS_NS = 32


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    fake = FakeGpu()
    install(monkeypatch, fake)
    return fake


@pytest.fixture
def device(gpu: FakeGpu) -> Iterator[CudaDevice]:
    with open_device("cuda") as opened:
        assert isinstance(opened, CudaDevice)
        yield opened


def work(gpu: FakeGpu, name: str = "work", nanoseconds: int = WORK_NS, *, capturable: bool = True) -> BareWork:
    return BareWork(lambda: gpu.enqueue(Operation(name, nanoseconds)), capturable=capturable)


def copying(device: CudaDevice) -> BareWork:
    """Work that launches kernel `copy`, whose misbehaviour the stand-in scripts."""
    kernel = device.kernel("copy", "copy", defines={"ELEMENT": "float"})
    arrays = (device.xp.zeros(4, dtype="float32"), device.xp.zeros(4, dtype="float32"), 4)
    return BareWork(lambda: kernel((1,), (32,), arrays))


def order(mode: Mode = Mode.HOT, **more: Any) -> TimingOrder:
    return TimingOrder(mode=mode, **more)


def armed(device: CudaDevice, item: BareWork, asked: TimingOrder) -> CudaTiming:
    timing = device.arm((item,), asked)
    assert isinstance(timing, CudaTiming)
    return timing


@pytest.mark.parametrize("backend", [Backend.GRAPH, Backend.BLOCKED, Backend.EVENTS])
@pytest.mark.parametrize("mode", [Mode.HOT, Mode.COLD])
def test_every_way_reads_the_work_alone(gpu: FakeGpu, device: CudaDevice, mode: Mode, backend: Backend) -> None:
    asked = order(mode, iterations=3, backend=backend)
    with closing(device.arm((work(gpu),), asked)) as timing:
        block = timing.take(4)
        assert (timing.backend, timing.remarks) == (backend, ())
    pairs = 3 if mode is Mode.COLD else 1
    assert len(block.total_ns) == 4
    for total in block.total_ns:
        assert 3 * WORK_NS <= total <= 3 * WORK_NS + pairs * (GAP_NS + TICKS_NS)


@pytest.mark.parametrize("backend", [Backend.GRAPH, Backend.BLOCKED, Backend.EVENTS])
def test_every_way_tells_clocks_begins_and_the_hosts_time(gpu: FakeGpu, device: CudaDevice, backend: Backend) -> None:
    with closing(device.arm((work(gpu, nanoseconds=200_000),), order(Mode.COLD, backend=backend))) as timing:
        block = timing.take(4)
    assert block.clock_hz == pytest.approx([gpu.clock_mhz * 1e6] * 4, rel=1e-3)
    assert list(block.begin_ns) == sorted(block.begin_ns)
    assert block.host_ns is not None
    assert block.host_ns < 2 * sum(block.total_ns)


def test_device_without_stamps_tells_times_alone(gpu: FakeGpu, device: CudaDevice) -> None:
    gpu.stamped = False
    with closing(device.arm((work(gpu),), order())) as timing:
        block = timing.take(2)
    assert len(block.total_ns) == 2
    assert (block.clock_hz, block.begin_ns, block.host_ns) == ((), (), None)


def test_graph_and_hold_leave_no_launch_gaps_where_events_have_them(gpu: FakeGpu, device: CudaDevice) -> None:
    read: dict[Backend, int] = {}
    for backend in (Backend.GRAPH, Backend.BLOCKED, Backend.EVENTS):
        with closing(device.arm((work(gpu, nanoseconds=1000),), order(iterations=40, backend=backend))) as timing:
            gpu.slow_host_ns = 20_000
            (read[backend],) = timing.take(1).total_ns
            gpu.slow_host_ns = 0
    assert read[Backend.GRAPH] < 41_000
    assert read[Backend.BLOCKED] < 41_000
    assert read[Backend.EVENTS] > 200_000


def test_lead_keeps_the_host_ahead_of_short_launches(gpu: FakeGpu, device: CudaDevice) -> None:
    with closing(device.arm((work(gpu, nanoseconds=1000),), order(iterations=40, backend=Backend.EVENTS))) as timing:
        (total,) = timing.take(1).total_ns
    assert total < 41_000
    assert 40 * CALL_NS > 41_000


def test_graph_is_replayed_in_powers_of_two(gpu: FakeGpu, device: CudaDevice) -> None:
    with closing(device.arm((work(gpu),), order())) as timing:
        gpu.replays.clear()
        assert [len(timing.take(asked).total_ns) for asked in (1, 7, 20, 7)] == [1, 4, 16, 4]
        assert gpu.replays == [5, 20, 80, 20]


def test_graph_of_long_samples_stays_small(gpu: FakeGpu, device: CudaDevice) -> None:
    with closing(device.arm((work(gpu),), order(iterations=900))) as timing:
        assert len(timing.take(64).total_ns) == 2
    with pytest.raises(CaseFailure, match="one sample has 12004 operations"):
        device.arm((work(gpu),), order(iterations=12_000, backend=Backend.GRAPH))


def test_more_operations_than_a_held_stream_takes_are_timed_by_events(gpu: FakeGpu, device: CudaDevice) -> None:
    with closing(armed(device, work(gpu, capturable=False), order(iterations=300))) as timing:
        assert timing.backend is Backend.EVENTS
        assert timing.remarks == (Flag.GRAPH_REFUSED, Flag.HOLD_REFUSED)
        assert "304 operations" in timing.refusals[1]


@pytest.mark.parametrize("backend", [Backend.GRAPH, Backend.BLOCKED, Backend.EVENTS])
@pytest.mark.parametrize(("copies", "iterations"), [(5, 1), (5, 2), (6, 4), (9, 2), (64, 1), (3, 7)])
def test_rotation_never_loses_its_turn(
    gpu: FakeGpu, device: CudaDevice, copies: int, iterations: int, backend: Backend
) -> None:
    works = [work(gpu, f"set{index}") for index in range(copies)]
    asked = order(Mode.ROTATING, iterations=iterations, backend=backend)
    with closing(device.arm(works, asked)) as timing:
        gpu.launched.clear()
        blocks = [timing.take(size) for size in (3, 16, -(-copies // iterations), 1, 5)]
        visits = [name for name in gpu.launched if name.startswith("set")]
        assert timing.cache.kind is CacheKind.ROTATION
        assert timing.cache.copies == copies
    turns = [int(name.removeprefix("set")) for name in visits]
    assert all((later - earlier) % copies == 1 % copies for earlier, later in itertools.pairwise(turns))
    assert len(turns) == iterations * sum(len(block.total_ns) for block in blocks)
    assert len(blocks[2].total_ns) * iterations >= copies


@pytest.mark.parametrize("backend", [Backend.GRAPH, Backend.BLOCKED, Backend.EVENTS])
def test_several_workloads_take_turns_in_mode_cold_too(gpu: FakeGpu, device: CudaDevice, backend: Backend) -> None:
    works = [work(gpu, f"set{index}") for index in range(2)]
    with closing(device.arm(works, order(Mode.COLD, iterations=3, backend=backend))) as timing:
        gpu.launched.clear()
        taken = sum(len(timing.take(3).total_ns) for _ in range(2))
    visits = [name for name in gpu.launched if name.startswith("set")]
    assert visits == ["set0", "set1"] * (3 * taken // 2) + ["set0"] * (3 * taken % 2)


def test_old_graphs_are_given_back(gpu: FakeGpu, device: CudaDevice) -> None:
    works = [work(gpu, f"set{index}") for index in range(60)]
    with closing(device.arm(works, order(Mode.ROTATING, iterations=7))) as timing:
        for size in range(1, 8):
            for _ in range(20):
                timing.take(size)
        assert len(gpu.graphs) <= GRAPHS_MOST
    assert gpu.graphs == {}


def test_work_that_says_so_is_not_captured(gpu: FakeGpu, device: CudaDevice) -> None:
    with closing(device.arm((work(gpu, capturable=False),), order())) as timing:
        assert timing.backend is Backend.BLOCKED
        assert timing.remarks == (Flag.GRAPH_REFUSED,)


@pytest.mark.parametrize(
    "error",
    [NotImplementedError("cuBLAS cannot be captured"), CUDARuntimeError(900, "cudaErrorStreamCaptureUnsupported")],
)
@pytest.mark.parametrize("void", [False, True])
def test_refused_capture_falls_back_to_a_held_stream(
    gpu: FakeGpu, device: CudaDevice, error: Exception, void: bool
) -> None:
    gpu.refuse_capture = error
    a = device.xp.zeros((2, 2))
    device.timer_of(Backend.GRAPH)
    gpu.void_captures = void
    with closing(armed(device, BareWork(lambda: device.xp.dot(a, a, out=a)), order())) as timing:
        assert timing.backend is Backend.BLOCKED
        assert timing.remarks == (Flag.GRAPH_REFUSED,)
        assert type(error).__name__ in timing.refusals[0]
        assert len(timing.take(3).total_ns) == 3
    assert gpu.capturing is None
    assert gpu.graphs == {}


def test_error_that_ends_the_process_is_no_refusal(gpu: FakeGpu, device: CudaDevice) -> None:
    gpu.refuse_capture = CUDARuntimeError(700, "cudaErrorIllegalAddress")
    a = device.xp.zeros((2, 2))
    with pytest.raises(CUDARuntimeError, match="IllegalAddress"):
        device.arm((BareWork(lambda: device.xp.dot(a, a, out=a)),), order())


def test_launch_that_allocates_is_marked_and_not_captured(gpu: FakeGpu, device: CudaDevice) -> None:
    gpu.allocate_in_copy = True
    with closing(armed(device, copying(device), order())) as timing:
        assert timing.backend is Backend.BLOCKED
        assert timing.remarks == (Flag.ALLOCATES, Flag.GRAPH_REFUSED)
        assert "allocate memory" in timing.refusals[0]


def test_graph_that_is_refused_later_makes_room_for_the_next_way(gpu: FakeGpu, device: CudaDevice) -> None:
    with closing(armed(device, copying(device), order())) as timing:
        assert len(timing.take(1).total_ns) == 1
        gpu.allocate_in_copy = True
        assert len(timing.take(8).total_ns) == 8
        assert timing.backend is Backend.BLOCKED
        assert timing.remarks == (Flag.GRAPH_REFUSED,)
    with closing(armed(device, copying(device), order(Mode.SUSTAINED))) as timing:
        assert timing.backend is Backend.EVENTS
    gpu.allocate_in_copy = False
    with closing(armed(device, copying(device), order(Mode.SUSTAINED))) as timing:
        taken = len(timing.take(2).total_ns)
        gpu.allocate_in_copy = True
        taken += len(timing.take(4).total_ns) + len(timing.take(4).total_ns)
        assert (timing.backend, taken) == (Backend.EVENTS, 2 + 2 + 4)
    assert (gpu.graphs, gpu.events) == ({}, {})


def test_ordered_graph_that_is_refused_later_is_said(gpu: FakeGpu, device: CudaDevice) -> None:
    with closing(armed(device, copying(device), order(backend=Backend.GRAPH))) as timing:
        gpu.allocate_in_copy = True
        with pytest.raises(CaseFailure, match="backend graph cannot time this work in mode hot: its launches allocate"):
            timing.take(8)


def test_capture_that_became_void_in_silence_is_no_graph(gpu: FakeGpu, device: CudaDevice) -> None:
    device.timer_of(Backend.GRAPH)
    gpu.void_captures = True
    with closing(armed(device, work(gpu), order())) as timing:
        assert timing.backend is Backend.BLOCKED
        assert timing.refusals[0].startswith("what was captured makes no graph: cudaErrorStreamCaptureInvalidated")


def test_launch_for_which_the_pool_grows_is_not_held_back(gpu: FakeGpu, device: CudaDevice) -> None:
    gpu.grow_in_copy = True
    with closing(armed(device, copying(device), order())) as timing:
        assert timing.backend is Backend.EVENTS
        assert timing.remarks == (Flag.ALLOCATES, Flag.GRAPH_REFUSED, Flag.HOLD_REFUSED)
        assert "allocate device memory" in timing.refusals[1]
    assert gpu.expired_holds == 0


def test_launch_that_waits_for_the_device_is_found_before_anything_is_timed(gpu: FakeGpu, device: CudaDevice) -> None:
    gpu.synchronize_in_copy = True
    with closing(armed(device, copying(device), order())) as timing:
        assert timing.backend is Backend.EVENTS
        assert timing.refusals[1] == "its launches wait for the device"
        assert gpu.expired_holds == 1
        timing.take(4)
    assert gpu.expired_holds == 1


def test_void_block_is_taken_once_more(gpu: FakeGpu, device: CudaDevice) -> None:
    calls = 0

    def launch() -> None:
        nonlocal calls
        calls += 1
        gpu.enqueue(Operation("work", WORK_NS), CALL_NS + (HOLD_LIMIT_NS if calls == slow else 0))

    slow = 0
    with closing(device.arm((BareWork(launch, capturable=False),), order())) as timing:
        slow = calls + 1
        (total,) = timing.take(1).total_ns
        assert (timing.backend, timing.remarks) == (Backend.BLOCKED, (Flag.GRAPH_REFUSED,))
    assert gpu.expired_holds == 1
    assert total < WORK_NS + GAP_NS + TICKS_NS


def test_stream_that_cannot_be_held_any_more_is_timed_by_events(gpu: FakeGpu, device: CudaDevice) -> None:
    with closing(device.arm((work(gpu, capturable=False),), order())) as timing:
        gpu.slow_host_ns = HOLD_LIMIT_NS
        assert len(timing.take(2).total_ns) == 2
        assert timing.backend is Backend.EVENTS
        assert timing.remarks == (Flag.GRAPH_REFUSED, Flag.HOLD_REFUSED)
        assert timing.timer == device.timer
        gpu.slow_host_ns = 0
    assert gpu.expired_holds == 2
    assert gpu.events == {}


def test_ordered_hold_that_expires_is_said_and_not_replaced(gpu: FakeGpu, device: CudaDevice) -> None:
    timing = device.arm((work(gpu),), order(backend=Backend.BLOCKED))
    gpu.slow_host_ns = HOLD_LIMIT_NS
    with pytest.raises(CaseFailure, match="the hold expired") as caught:
        timing.take(1)
    assert caught.value.outcome is Outcome.UNSUPPORTED


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"CUDA_LAUNCH_BLOCKING": "1"}, "CUDA_LAUNCH_BLOCKING"),
        ({"CUDA_INJECTION64_PATH": "/opt/x.so"}, "CUDA_INJECTION64_PATH"),
        ({"NSYS_PROFILING_SESSION_ID": "7"}, "NSYS_PROFILING_SESSION_ID"),
        ({"NV_TPS_LAUNCH_TOKEN": "7"}, "NV_TPS_LAUNCH_TOKEN"),
        ({"LD_PRELOAD": "/opt/compute-sanitizer/libsanitizer-collection.so"}, "LD_PRELOAD"),
        ({"CUDA_LAUNCH_BLOCKING": "0", "LD_PRELOAD": "libjemalloc.so", "NSYS_X": ""}, ""),
    ],
)
def test_profilers_and_blocking_launches_are_seen(environ: dict[str, str], name: str) -> None:
    assert watched(environ) == name


def test_stream_is_not_held_back_under_a_profiler(
    gpu: FakeGpu, device: CudaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    with closing(device.arm((work(gpu, capturable=False),), order())) as timing:
        assert timing.backend is Backend.EVENTS
        assert Flag.HOLD_REFUSED in timing.remarks
    assert "hold" not in gpu.launched


def test_driver_without_external_events_has_no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(external_events=False)
    install(monkeypatch, gpu)
    with open_device("cuda") as device, closing(device.arm((work(gpu),), order(Mode.COLD))) as timing:
        assert timing.backend is Backend.BLOCKED
        assert timing.remarks == (Flag.GRAPH_REFUSED,)
    assert gpu.reset_persisting == 0


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (order(backend=Backend.VIRTUAL), "a CUDA device has: graph, blocked, events, host"),
        (order(Mode.HOST, backend=Backend.GRAPH), "only the host's clock sees it"),
        (order(backend=Backend.GRAPH), "the work says that it cannot be captured"),
    ],
)
def test_way_that_cannot_be_had_is_refused_in_words(
    gpu: FakeGpu, device: CudaDevice, asked: TimingOrder, why: str
) -> None:
    with pytest.raises(CaseFailure, match=why) as caught:
        device.arm((work(gpu, capturable=False),), asked)
    assert caught.value.outcome is Outcome.UNSUPPORTED
    assert "leave the backend out" in str(caught.value)


@pytest.mark.parametrize("mode", [Mode.HOT, Mode.HOST, Mode.COLD])
def test_hosts_clock_includes_the_wait(gpu: FakeGpu, device: CudaDevice, mode: Mode) -> None:
    with closing(device.arm((work(gpu),), order(mode, iterations=2, backend=Backend.HOST))) as timing:
        block = timing.take(3)
        assert timing.timer.name == "perf_counter_ns"
    waits = 1 if mode is Mode.HOT else 2
    assert len(block.begin_ns) == 3
    for total in block.total_ns:
        assert total >= 2 * WORK_NS + waits * CALL_NS
        assert total < 2 * WORK_NS + 4 * CALL_NS * waits
    assert ("sweep" in gpu.launched) is (mode is Mode.COLD)


def test_drill_is_captured_with_the_work(gpu: FakeGpu, device: CudaDevice) -> None:
    drill = Drill(factor=1.5, launch_ns=WORK_NS)
    with closing(device.arm((work(gpu),), order(iterations=2, drill=drill))) as timing:
        (total,) = timing.take(1).total_ns
    assert total == pytest.approx(3 * WORK_NS, abs=GAP_NS + TICKS_NS)


@pytest.mark.parametrize(("flush", "kind"), [("read", CacheKind.READ_SWEEP), ("write", CacheKind.WRITE_SWEEP)])
def test_cold_launch_follows_a_sweep_of_twice_the_cache(
    gpu: FakeGpu, device: CudaDevice, flush: str, kind: CacheKind
) -> None:
    with closing(device.arm((work(gpu),), order(Mode.COLD, iterations=2, flush=flush))) as timing:
        gpu.launched.clear()
        timing.take(1)
        assert (timing.cache.kind, timing.cache.bytes) == (kind, 100 << 20)
    sweep = "sweep" if flush == "read" else "sweep_write"
    assert gpu.launched == ["graph", "stamp", sweep, "work", sweep, "work", "stamp"]


def test_timers_are_read_once_by_the_way_that_uses_them(gpu: FakeGpu, device: CudaDevice) -> None:
    assert gpu.replays == []
    with closing(device.arm((work(gpu),), order())) as timing:
        timer = timing.timer
    calibrating = len(gpu.replays)
    assert calibrating > 0
    with closing(device.arm((work(gpu),), order())) as again:
        assert again.timer is timer
    assert len(gpu.replays) == calibrating
    assert (timer.name, timer.quantum_ns) == ("cuda_event_node", 32.0)
    assert timer.floor_ns == pytest.approx(GAP_NS, abs=TICKS_NS)
    assert timer.launch_floor_ns == pytest.approx(GAP_NS + 500, abs=TICKS_NS)
    assert device.timer.name == "cuda_event"


def test_sustained_work_is_always_one_replay_ahead(gpu: FakeGpu, device: CudaDevice) -> None:
    timing = device.arm((work(gpu, nanoseconds=1_000_000),), order(Mode.SUSTAINED))
    taken = 0
    for asked in (4, 4, 2, 2, 2):
        before = len(gpu.replays)
        taken += len(timing.take(asked).total_ns)
        assert len(gpu.replays) > before
        assert gpu.free_ns > gpu.host_ns + 1_000_000
    assert taken == 14
    timing.close()
    assert gpu.free_ns <= gpu.host_ns
    assert (gpu.events, gpu.graphs) == ({}, {})
    assert candidates(Mode.SUSTAINED) == (Backend.GRAPH, Backend.EVENTS)


def test_sustained_work_that_is_not_captured_has_no_leads(gpu: FakeGpu, device: CudaDevice) -> None:
    with closing(device.arm((work(gpu, capturable=False),), order(Mode.SUSTAINED))) as timing:
        gpu.launched.clear()
        timing.take(3)
        timing.take(3)
        assert timing.backend is Backend.EVENTS
    assert "spin" not in gpu.launched


def test_at_least_one_sample_is_asked_for(gpu: FakeGpu, device: CudaDevice) -> None:
    with (
        closing(device.arm((work(gpu),), order())) as timing,
        pytest.raises(ValueError, match="at least one can be taken"),
    ):
        timing.take(0)


def test_stamps_stand_outside_the_timed_regions(gpu: FakeGpu, device: CudaDevice) -> None:
    for backend in (Backend.GRAPH, Backend.BLOCKED, Backend.EVENTS):
        with closing(device.arm((work(gpu),), order(backend=backend))) as timing:
            (total,) = timing.take(1).total_ns
        assert total < WORK_NS + STAMP_NS


def test_interrupted_capture_leaves_the_stream_usable(gpu: FakeGpu, device: CudaDevice) -> None:
    def interrupt() -> None:
        if gpu.capturing is not None:
            raise KeyboardInterrupt
        gpu.enqueue(Operation("work", WORK_NS))

    device.timer_of(Backend.GRAPH)
    with pytest.raises(KeyboardInterrupt):
        device.arm((BareWork(interrupt),), order())
    assert gpu.capturing is None
    launch: Callable[[], None] = work(gpu).launch
    launch()
    device.synchronize()
    assert gpu.events == {}
