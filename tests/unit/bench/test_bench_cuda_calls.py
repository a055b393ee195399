"""The real CuPy has what the CUDA device calls, with these arguments; no device is needed to ask.

The stand-in of the other tests must not drift from it: whatever it offers exists in CuPy too.
"""

import re
from typing import Any

import cupy
import pytest
from support.fake_cupy import FakeGpu, fake_cupy
from tesserabench.bench.device.cuda.device import _allocations

CALLS = {
    "runtime": {
        "deviceGetAttribute": ("attrib", "device"),
        "streamBeginCapture": ("stream", "mode"),
        "streamEndCapture": ("stream",),
        "graphInstantiate": ("graph",),
        "graphUpload": ("graphExec", "stream"),
        "graphLaunch": ("graphExec", "stream"),
        "graphDestroy": ("graph",),
        "graphExecDestroy": ("graphExec",),
        "eventCreateWithFlags": ("flags",),
        "eventRecord": ("event", "stream"),
        "eventSynchronize": ("event",),
        "eventElapsedTime": ("start", "end"),
        "eventDestroy": ("event",),
        "memsetAsync": ("ptr", "value", "size", "stream"),
        "memcpyAsync": ("dst", "src", "size", "kind", "stream"),
        "deviceSynchronize": (),
        "memGetInfo": (),
        "profilerStart": (),
        "profilerStop": (),
    },
    "driver": {
        "funcGetAttribute": ("attribute", "f"),
        "funcSetAttribute": ("f", "attribute", "value"),
        "occupancyMaxActiveBlocksPerMultiprocessor": ("func", "blockSize", "dynamicSMemSize"),
        "check_status": ("status",),
    },
    "nvrtc": {
        "createProgram": ("src", "name", "headers", "include_names"),
        "compileProgram": ("prog", "options"),
        "destroyProgram": ("prog",),
        "getCUBIN": ("prog",),
        "getPTX": ("prog",),
        "getProgramLog": ("prog",),
        "getSupportedArchs": (),
        "getVersion": (),
    },
}
NUMBERS = {
    "streamCaptureModeThreadLocal": 1,
    "memcpyDeviceToHost": 2,
    "eventDefault": 0,
}


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [(module, name, arguments) for module, calls in CALLS.items() for name, arguments in calls.items()],
)
def test_cupy_has_the_call_with_these_arguments(module: str, name: str, arguments: tuple[str, ...]) -> None:
    signature = str(getattr(getattr(cupy.cuda, module), name).__doc__).splitlines()[0]
    found = re.match(rf"{name}\((.*?)\)", signature)
    assert found, signature
    named = [part.split("=")[0].split()[-1] for part in found.group(1).split(",") if part.strip()]
    assert tuple(named) == arguments


@pytest.mark.parametrize(("name", "value"), list(NUMBERS.items()))
def test_cupys_numbers_are_those_of_the_stand_in(name: str, value: int) -> None:
    assert getattr(cupy.cuda.runtime, name) == value


@pytest.mark.parametrize(
    "name",
    [
        "cudaDevAttrClockRate",
        "cudaDevAttrMemoryClockRate",
        "cudaDevAttrGlobalMemoryBusWidth",
        "cudaDevAttrMaxThreadsPerMultiProcessor",
    ],
)
def test_cupy_knows_the_attribute(name: str) -> None:
    assert isinstance(getattr(cupy.cuda.runtime, name), int)


def test_kernel_attributes_are_the_drivers() -> None:
    driver = cupy.cuda.driver
    assert (
        driver.CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
        driver.CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES,
        driver.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES,
        driver.CU_FUNC_ATTRIBUTE_NUM_REGS,
        driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
    ) == (1, 2, 3, 4, 8)


def test_stand_in_offers_nothing_that_cupy_lacks() -> None:
    stand_in: Any = fake_cupy(FakeGpu()).cuda
    for name, part in vars(stand_in).items():
        assert hasattr(cupy.cuda, name), name
        if name in {"runtime", "driver", "nvrtc", "function"}:
            for inner in vars(part):
                assert hasattr(getattr(cupy.cuda, name), inner), f"{name}.{inner}"
    assert {"ptr", "__call__"} <= set(dir(cupy.cuda.function.Function))
    assert {"load", "get_function"} <= set(dir(cupy.cuda.function.Module))
    assert {"total_bytes", "get_limit", "free_all_blocks"} <= set(dir(cupy.cuda.MemoryPool))


def test_allocations_are_counted_by_a_hook_that_cupy_accepts() -> None:
    hooks = cupy.cuda.memory_hook.get_memory_hooks
    with _allocations(cupy)() as seen:
        assert hooks()["tesserabench"] is seen
        for hook in hooks().values():
            hook.malloc_preprocess(device_id=0, size=1, mem_size=512)
            hook.alloc_preprocess(device_id=0, mem_size=512)
            hook.malloc_preprocess(device_id=0, size=1, mem_size=512)
    assert (seen.count, seen.grown) == (2, 1)
    assert "tesserabench" not in hooks()


def test_errors_of_cuda_have_a_status_and_a_name_that_is_known() -> None:
    from tesserabench.bench.device.cuda_failures import status_of  # noqa: PLC0415 - beside its only use

    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError) as caught:
        cupy.cuda.runtime.check_status(700)
    assert status_of(caught.value) == 700
    assert cupy.cuda.driver.CUDADriverError.__name__ == "CUDADriverError"
