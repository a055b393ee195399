"""Small parts of the CUDA device: peaks, failures, the driver's two calls, kernels and their compilation."""

import ctypes
import json
from pathlib import Path
from typing import Any

import pytest
from support.fake_cupy import CUDARuntimeError, FakeDriverLibrary, FakeGpu, fake_cupy
from tesserabench.bench import Outcome
from tesserabench.bench.device.cuda.compiling import Compiler, cache_folder
from tesserabench.bench.device.cuda.driver import Driver, load_driver
from tesserabench.bench.device.cuda.facts import attribute, describe
from tesserabench.bench.device.cuda.kernels import Kernels
from tesserabench.bench.device.cuda.peaks import peak_bandwidth, peak_flops
from tesserabench.bench.device.cuda_failures import LOST, STICKY, UNSUPPORTED, ends_process, translate
from tesserabench.bench.errors import CaseFailure

SOURCE = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }'


@pytest.mark.parametrize(
    ("capability", "processors", "ghz", "dtype", "teraflops"),
    [
        ("8.0", 108, 1.41, "float16", 312),
        ("8.0", 108, 1.41, "float64", 19.5),
        ("9.0", 132, 1.83, "bfloat16", 989.4),
        ("9.0", 132, 1.83, "float8_e4m3", 1979),
        ("9.0", 132, 1.83, "tf32", 494.7),
        ("9.0", 132, 1.98, "float32", 66.9),
        ("10.0", 148, 1.85, "bfloat16", 2250),
        ("8.9", 142, 2.52, "int8", 733),
    ],
)
def test_peaks_are_those_of_the_data_sheets(
    capability: str, processors: int, ghz: float, dtype: str, teraflops: float
) -> None:
    assert peak_flops(capability, processors, ghz * 1e9)[dtype] == pytest.approx(teraflops * 1e12, rel=0.01)


def test_unknown_device_has_no_peak() -> None:
    assert peak_flops("7.5", 40, 1.5e9) == {}
    assert peak_bandwidth(2.619e9, 5120) == pytest.approx(3.35e12, rel=0.01)


def test_what_the_driver_does_not_tell_is_absent() -> None:
    gpu = FakeGpu(device_attributes={4: 0})
    runtime = fake_cupy(gpu).cuda.runtime
    info = describe(runtime, 0)
    assert (info.peak_bandwidth, info.peak_flops) == (None, {})
    assert attribute(runtime, 0, "MaxThreadsPerMultiProcessor") is None
    assert attribute(runtime, 0, "NeverHeardOf") is None


class CUBLASError(RuntimeError):
    pass


class CompileException(RuntimeError):  # noqa: N818 - CuPy's name
    pass


class OutOfMemoryError(MemoryError):
    pass


@pytest.mark.parametrize(
    ("error", "outcome", "words"),
    [
        (MemoryError(), Outcome.OUT_OF_MEMORY, "host memory ran out (half is free)"),
        (OutOfMemoryError("out of memory to allocate 8 bytes"), Outcome.OUT_OF_MEMORY, "8 bytes (half is free)"),
        (CUBLASError("CUBLAS_STATUS_ALLOC_FAILED"), Outcome.OUT_OF_MEMORY, "half is free"),
        (CUBLASError("CUBLAS_STATUS_NOT_SUPPORTED"), Outcome.UNSUPPORTED, "cannot do this on this device"),
        (CUBLASError("CUBLAS_STATUS_EXECUTION_FAILED"), Outcome.DEVICE_ERROR, "match the driver"),
        (CompileException("a.cu(1): error: x\nmore"), Outcome.UNSUPPORTED, "a.cu(1): error: x; more"),
        (ImportError("libcublas.so.13: no such file"), Outcome.UNSUPPORTED, "libcublas.so.13"),
    ],
)
def test_library_errors_become_outcomes_with_advice(error: Exception, outcome: Outcome, words: str) -> None:
    failure = translate(error, lambda: "half is free")
    assert isinstance(failure, CaseFailure)
    assert (failure.outcome, failure.fatal) == (outcome, False)
    assert words in str(failure)


@pytest.mark.parametrize("status", [*STICKY, *LOST, *UNSUPPORTED])
def test_every_known_status_says_what_to_make_of_it(status: int) -> None:
    failure = translate(CUDARuntimeError(status))
    assert isinstance(failure, CaseFailure)
    assert failure.fatal is (status in STICKY or status in LOST) is ends_process(CUDARuntimeError(status))
    wanted = Outcome.DEVICE_ERROR if status in STICKY else Outcome.UNSUPPORTED
    assert failure.outcome is (Outcome.DEVICE_LOST if status in LOST else wanted)
    assert len(str(failure)) > len("cudaErrorScripted: scripted; ")


def test_unknown_errors_and_outcomes_stay_what_they_are() -> None:
    odd, known = ValueError("odd"), CaseFailure(Outcome.BUSY, "busy")
    assert translate(odd) is odd
    assert translate(known) is known
    assert not ends_process(odd)


def test_driver_that_cannot_be_found_is_no_driver() -> None:
    assert load_driver(lambda _: None, "libtesserabench-nowhere.so.1") is None


def test_driver_reports_a_status_that_is_not_zero() -> None:
    seen: list[int] = []
    gpu = FakeGpu()
    library: Any = FakeDriverLibrary(gpu)
    driver = Driver(library, seen.append)
    driver.record_external(7, 8)
    assert seen == [1]
    assert driver.reset_persisting_cache()
    bare: Any = FakeDriverLibrary(FakeGpu(external_events=False))
    old = Driver(bare, seen.append)
    assert not old.records_external_events
    assert not old.reset_persisting_cache()


class UuidLibrary:
    """The part of libcuda that tells UUIDs."""

    def __init__(self, uuid: bytes, status: int = 0) -> None:
        self._uuid, self._status = uuid, status

    def cuDeviceGet(self, device: Any, ordinal: ctypes.c_int) -> int:  # noqa: N802 - CUDA's name
        device._obj.value = ordinal.value + 40
        return 0

    def cuDeviceGetUuid_v2(self, found: Any, device: ctypes.c_int) -> int:  # noqa: N802 - CUDA's name
        assert device.value == 41
        found[:] = self._uuid
        return self._status


def test_uuid_with_a_zero_in_it_is_whole() -> None:
    uuid = bytes((0x9A, 0x00, *range(14)))
    assert uuid_of(UuidLibrary(uuid)) == uuid
    assert uuid_of(UuidLibrary(uuid, status=101)) is None
    assert uuid_of(FakeDriverLibrary(FakeGpu())) is None
    runtime = fake_cupy(FakeGpu()).cuda.runtime
    assert describe(runtime, 0, uuid).uuid == "GPU-9a000001-0203-0405-0607-08090a0b0c0d"


def uuid_of(library: Any) -> bytes | None:
    return Driver(library, lambda _: None).uuid(1)


def compiler(gpu: FakeGpu, capability: str = "90", folder: Path | None = None) -> Compiler:
    return Compiler(fake_cupy(gpu).cuda.nvrtc, capability, ("1", "2"), folder)


@pytest.mark.parametrize(
    ("capability", "written_for", "chosen"),
    [
        ("90", (), "sm_90"),
        ("90", ("80", "90", "100", "120"), "sm_90"),
        ("90", ("90a", "100a"), "sm_90a"),
        ("90", ("80",), "sm_90"),
        ("103", (), "compute_100"),
        ("75", ("80", "90", "100", "120"), "sm_75"),
    ],
)
def test_kernel_is_compiled_for_the_device_at_hand(capability: str, written_for: tuple[str, ...], chosen: str) -> None:
    gpu = FakeGpu()
    binary = compiler(gpu, capability).compile(SOURCE, "twice", ("--std=c++17",), written_for)
    assert binary.architecture == chosen
    assert gpu.compiled == [("--std=c++17", f"--gpu-architecture={chosen}")]
    assert binary.image.startswith(b"\x7fELF" if chosen.startswith("sm_") else b".version")


@pytest.mark.parametrize("written_for", [("90a",), ("100",), ("120",)])
def test_kernel_for_another_architecture_is_unsupported(written_for: tuple[str, ...]) -> None:
    with pytest.raises(CaseFailure, match="this device is sm_80; choose another variant or device") as caught:
        compiler(FakeGpu(), "80").compile(SOURCE, "twice", (), written_for)
    assert caught.value.outcome is Outcome.UNSUPPORTED


def test_compilers_words_reach_the_reader() -> None:
    with pytest.raises(CaseFailure, match=r"kernel bad does not compile for sm_90: shown.cu\(1\): error") as caught:
        compiler(FakeGpu()).compile("#error no", "bad", (), ())
    assert caught.value.outcome is Outcome.UNSUPPORTED


def test_cache_lies_beside_cupys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", "/somewhere")
    assert cache_folder() == Path("/somewhere/tesserabench")
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    assert cache_folder() is None


def kernels(gpu: FakeGpu, warps: int | None = 64) -> Kernels:
    cupy = fake_cupy(gpu)
    return Kernels(cupy, Compiler(cupy.cuda.nvrtc, "90", (), None), warps)


def test_module_is_compiled_once_and_says_so_once() -> None:
    gpu = FakeGpu()
    held = kernels(gpu)
    first = held.own("copy", "copy", {"ELEMENT": "float"})
    assert held.own("copy", "copy", {"ELEMENT": "float"}) is first
    held.own("copy", "copy", {"ELEMENT": "double"})
    assert len(gpu.compiled) == 2
    seconds = [fact.compile_seconds for fact in held.facts()]
    assert all(second is not None and second > 0 for second in seconds)
    held.forget()
    held.own("copy", "copy", {"ELEMENT": "float"})
    (fact,) = held.facts()
    assert (fact.compile_seconds, fact.block_threads, fact.occupancy) == (None, None, None)
    assert fact.options == ("--std=c++17", "-DELEMENT=float")


def test_timings_own_kernels_are_not_told() -> None:
    held = kernels(FakeGpu())
    held.service("spin", "spin")
    assert held.facts() == ()


def test_main_launch_decides_the_occupancy() -> None:
    held = kernels(FakeGpu())
    kernel = held.own("reduction", "reduction", {"ELEMENT": "float"})
    arrays = (fake_cupy(FakeGpu()).zeros(4), fake_cupy(FakeGpu()).zeros(4), 4)
    kernel((64,), (128,), arrays)
    kernel((1,), (1024,), arrays)
    (fact,) = held.facts()
    assert (fact.block_threads, fact.occupancy) == (128, 0.5)
    assert held.launches() == 2
    assert kernel.num_regs == 40


def test_more_shared_memory_is_asked_for_by_itself() -> None:
    gpu = FakeGpu()
    kernel = kernels(gpu).own("copy", "copy", {"ELEMENT": "float"})
    array = fake_cupy(gpu).zeros(4)
    kernel((1,), (32,), (array, array, 4), shared_mem=1024)
    assert gpu.attributes == {}
    kernel((1,), (32,), (array, array, 4), shared_mem=64 << 10)
    assert gpu.attributes == {"copy": 64 << 10}
    assert json.dumps(gpu.launched) == '["copy", "copy"]'


def test_source_of_a_bundle_declares_its_architectures_itself() -> None:
    held = kernels(FakeGpu())
    with pytest.raises(CaseFailure, match="is written for sm_100a, this device is sm_90"):
        held.other(f"// architectures: 100a\n{SOURCE}", "twice", "mine", ())
    assert held.other(SOURCE, "twice", "mine", ()).name == "twice"
