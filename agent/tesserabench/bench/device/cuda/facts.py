"""What a CUDA device says about itself and its software."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tesserabench.bench.device.cuda.peaks import peak_bandwidth, peak_flops
from tesserabench.bench.device.protocol import DeviceInfo, Fact
from tesserabench.bench.vocabulary import DeviceKind

WARP = 32
_LIBRARIES = {
    "cublas": ("nvidia-cublas", "nvidia-cublas-cu12"),
    "cufft": ("nvidia-cufft", "nvidia-cufft-cu12"),
    "nccl": ("nvidia-nccl-cu13", "nvidia-nccl-cu12"),
}
"""Packages whose versions may change results."""


def describe(runtime: Any, index: int, uuid: bytes | None = None) -> DeviceInfo:
    """Return what the device is; `uuid` is what the driver itself says, where it could be asked."""
    found = runtime.getDeviceProperties(index)
    name, uuid = found["name"], uuid or found.get("uuid")
    capability = f"{found['major']}.{found['minor']}"
    processors = int(found["multiProcessorCount"])
    clock, memory_clock = attribute(runtime, index, "ClockRate"), attribute(runtime, index, "MemoryClockRate")
    bus = attribute(runtime, index, "GlobalMemoryBusWidth")
    return DeviceInfo(
        kind=DeviceKind.CUDA,
        model=name.decode() if isinstance(name, bytes) else str(name),
        uuid=_uuid_text(uuid) if isinstance(uuid, bytes) and len(uuid) == 16 else None,
        index=index,
        memory_bytes=int(found["totalGlobalMem"]),
        driver=version_text(runtime.driverGetVersion()),
        compute_capability=capability,
        processors=processors,
        cache_bytes=int(found["l2CacheSize"]) or None,
        peak_bandwidth=peak_bandwidth(memory_clock * 1e3, bus) if memory_clock and bus else None,
        peak_flops=peak_flops(capability, processors, clock * 1e3) if clock else {},
    )


def attribute(runtime: Any, index: int, name: str) -> int | None:
    """Return an attribute of the device by the name CUDA gives it, or None where it is unknown or zero."""
    number = getattr(runtime, f"cudaDevAttr{name}", None)
    if number is None:
        return None
    try:
        return int(runtime.deviceGetAttribute(number, index)) or None
    except runtime.CUDARuntimeError:
        # Drivers stop telling things: a virtual machine's may not know the clock.
        return None


def most_warps(runtime: Any, index: int) -> int | None:
    """Return how many warps a multiprocessor holds."""
    threads = attribute(runtime, index, "MaxThreadsPerMultiProcessor")
    return threads // WARP if threads else None


def software(cupy: Any) -> dict[str, Fact]:
    """Return the versions of runtime, compiler, CuPy and what libraries are installed as packages."""
    found: dict[str, Fact] = {
        "software.cuda_runtime": version_text(cupy.cuda.runtime.runtimeGetVersion()),
        "software.nvrtc": nvrtc_text(cupy),
        "software.cupy": cupy.__version__,
    }
    for name, packages in _LIBRARIES.items():
        for package in packages:
            try:
                found[f"software.{name}"] = version(package)
            except PackageNotFoundError:
                continue
            break
    return found


def nvrtc_text(cupy: Any) -> str:
    """Return the version of the compiler."""
    return ".".join(map(str, cupy.cuda.nvrtc.getVersion()))


def version_text(number: int) -> str:
    """Return a version as people write it."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _uuid_text(raw: bytes) -> str:
    """Return a UUID as NVML and nvidia-smi write it."""
    text = raw.hex()
    return f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
