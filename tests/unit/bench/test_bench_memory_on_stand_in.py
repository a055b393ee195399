"""Memory-bound work on the CUDA device, captured and replayed: CuPy's stand-in times it, our kernels run as fibers."""

from typing import Any

import pytest
from support.cuda_on_cpu import EmulatedCuda, needs_gxx
from support.fake_cupy import COPY_NS, FakeGpu, Operation, install
from tesserabench.bench import Case, Mode, Params, TimingOrder, find_benchmark, open_device
from tesserabench.bench.device.cuda.kernels import Kernels
from tesserabench.bench.verification import compare, limit_of
from tesserabench.bench.vocabulary import Backend

pytestmark = needs_gxx

CASES: list[tuple[str, dict[str, Any], int]] = [
    ("memory/read", {"n": 1001, "dtype": "float32"}, 1),
    ("memory/fill", {"n": 1001, "dtype": "float64"}, 1),
    ("memory/scale", {"n": 1001, "dtype": "float32"}, 1),
    ("memory/cached", {"n": 1001, "dtype": "float32"}, 1),
    ("memory/width", {"n": 1002, "width": 8}, 1),
    ("memory/transpose", {"m": 33, "n": 70, "dtype": "float32"}, 1),
    ("memory/random", {"op": "gather", "entries": 256, "accesses": 1001}, 1),
    ("memory/random", {"op": "update", "entries": 256, "accesses": 1001}, 1),
    ("memory/chase", {"size": 1280, "hops": 7}, 1),
    ("primitives/scan", {"n": 1001, "dtype": "int32"}, 3),
    ("primitives/histogram", {"n": 1001, "bins": 256, "distribution": "skewed"}, 2),
    ("primitives/topk", {"rows": 3, "columns": 100, "k": 8}, 1),
    ("embedding/gather", {"rows": 50, "width": 3, "lookups": 99, "distribution": "zipf", "dtype": "float16"}, 1),
    ("elementwise/chain", {"n": 1001, "steps": 8, "fused": True}, 1),
    ("elementwise/chain", {"n": 1001, "steps": 8, "fused": False}, 8),
    ("elementwise/map", {"n": 1001, "function": "gelu"}, 1),
    ("sparse/spmv", {"rows": 99, "per_row": 5, "pattern": "power_law", "dtype": "float64"}, 1),
    ("fft/r2c", {"n": 60, "batch": 7, "dtype": "float32"}, 1),
]
SAMPLES = 3


class EmulatedFunction:
    """A function of the stand-in's driver whose launches really run."""

    def __init__(self, gpu: FakeGpu, function: Any, kernel: Any) -> None:
        self._gpu, self._kernel, self.name, self.ptr = gpu, kernel, function.name, function.ptr

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared_mem: int) -> None:
        def run() -> None:
            self._kernel(grid, block, args, shared_mem=shared_mem)

        self._gpu.enqueue(Operation(self.name, COPY_NS, run))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    fake = FakeGpu()
    install(monkeypatch, fake)
    compiled = Kernels.own

    def own(self: Kernels, module: str, function: str, defines: Any) -> Any:
        kernel = compiled(self, module, function, defines)
        run = EmulatedCuda().kernel(module, function, defines=defines)
        kernel._function = EmulatedFunction(fake, kernel._function, run)
        return kernel

    monkeypatch.setattr(Kernels, "own", own)
    return fake


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1].values()))}")
@pytest.mark.parametrize("mode", [Mode.HOT, Mode.COLD])
def test_replayed_launches_do_the_whole_work(gpu: FakeGpu, case: tuple[str, dict[str, Any], int], mode: Mode) -> None:
    name, params, launches = case
    found = find_benchmark(name)
    whole = Case(benchmark=name, params=Params(params), version=found.version)
    with open_device("cuda") as device:
        work = device.prepare(found, whole, 3)
        timing = device.arm((work,), TimingOrder(mode=mode))
        try:
            work.poison()
            block = timing.take(SAMPLES)
        finally:
            timing.close()
        device.synchronize()
        assert timing.backend is Backend.GRAPH, timing.remarks
        assert all(total == pytest.approx(launches * COPY_NS, rel=0.05) for total in block.total_ns)
        checked = compare(work.outputs(), work.reference(), limit_of(found, whole), poisoned=True)
        assert checked.passed, checked
        facts = device.kernels()
    assert gpu.replays
    assert bool(facts) is (name != "fft/r2c")
