"""A CUDA device through CuPy, which is imported when a device is opened, never before.

Nothing here reads NVML: the process that watches the device does. `device` holds the device itself; `timing` chooses
among the `ways` of timing, of which `graph` is the best, and falls back visibly; `lineup` is what each of them puts on
the stream; `stamps`, `flush` and `calibration` surround the samples; `compiling` and `kernels` make kernels that tell
what they are; `peaks` knows what a device could do at most; `profile` reads what Nsight Compute sees.
"""

import importlib

from tesserabench.bench.device.cuda.device import CudaDevice
from tesserabench.bench.device.cuda.facts import version_text
from tesserabench.bench.errors import CaseFailure, DeviceUnavailable

__all__ = ["CudaDevice", "open"]


def open(argument: str | None, *, threads: int | None) -> CudaDevice:  # noqa: A001, ARG001 - read as cuda.open
    """Open a CUDA device by its index (0 by default); raise DeviceUnavailable with the remedy when there is none."""
    try:
        index = int(argument or 0)
    except ValueError:
        raise DeviceUnavailable(f"device 'cuda:{argument}' is no index; use cuda or cuda:0") from None
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceUnavailable(
            f"device cuda needs CuPy, which cannot be imported ({error}); "
            "install tesserabench[cuda13] or, for a CUDA 12 driver, tesserabench[cuda12]"
        ) from None
    runtime = cupy.cuda.runtime
    try:
        count = int(runtime.getDeviceCount())
    except runtime.CUDARuntimeError as error:
        raise DeviceUnavailable(
            f"device cuda cannot be opened: {error}; check that the NVIDIA driver is loaded and new enough for CUDA "
            f"{version_text(runtime.runtimeGetVersion())}"
        ) from None
    if not 0 <= index < count:
        raise DeviceUnavailable(f"device 'cuda:{index}' does not exist; this process sees {count} device(s), from 0")
    try:
        return CudaDevice(cupy, index)
    except (runtime.CUDARuntimeError, MemoryError) as error:
        raise DeviceUnavailable(
            f"device 'cuda:{index}' cannot be used: {error}; check with nvidia-smi whether another process holds it"
        ) from None
    except (ImportError, CaseFailure) as error:
        raise DeviceUnavailable(
            f"device 'cuda:{index}' cannot be used: {error}; it needs NVRTC, which tesserabench[cuda13] and "
            "tesserabench[cuda12] bring"
        ) from None
