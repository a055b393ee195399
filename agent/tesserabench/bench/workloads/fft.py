"""Batched one-dimensional Fourier transforms: pocketfft through NumPy, cuFFT through CuPy."""

import math

from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.dtypes import itemsize
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind

INSTALLED.suite("fft", summary="batched one-dimensional Fourier transforms")


def _flops(params: Params) -> int:
    n = params.integer("n")
    return round(5 * n * math.log2(n)) * params.integer("batch")


def _bytes(params: Params) -> int:
    return 2 * params.integer("n") * params.integer("batch") * itemsize(params)


@benchmark(
    name="c2c",
    suite="fft",
    summary="batched complex transform; counts 5 n log2 n operations for each row",
    parameters={"n": (4096,), "batch": (128,), "dtype": ("complex64", "complex128")},
    tiers={"smoke": {"dtype": ("complex64",)}},
    device_tiers={
        "cpu": {
            "regression": {"n": (1024, 4096), "dtype": ("complex64", "complex128")},
            "full": {"n": (1024, 4096, 65536), "batch": (16, 128)},
        },
        "cuda": {
            "smoke": {"n": (4096,), "batch": (16384,)},
            "regression": {"n": (256, 4096, 65536), "batch": (4096,)},
            "full": {"dtype": ("complex64", "complex128")},
        },
        "simulated": {"smoke": {"n": (4096,), "batch": (16384,)}},
    },
    device_modes={"cuda": "cold"},
    flops=_flops,
    bytes=_bytes,
)
def c2c(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the transform's work."""
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.fft_work import CudaFftWork, FftWork  # noqa: PLC0415

    return (CudaFftWork if device.info.kind is DeviceKind.CUDA else FftWork)(device, params, seed)


def _real_flops(params: Params) -> int:
    n = params.integer("n")
    return round(2.5 * n * math.log2(n)) * params.integer("batch")


def _real_bytes(params: Params) -> int:
    n = params.integer("n")
    return params.integer("batch") * itemsize(params) * (n + 2 * (n // 2 + 1))


@benchmark(
    name="r2c",
    suite="fft",
    summary="batched real transform; counts 2.5 n log2 n operations for each row, half those of a complex one",
    parameters={"n": (4096,), "batch": (128,), "dtype": ("float32", "float64")},
    tiers={"smoke": {"dtype": ("float32",)}},
    device_tiers={
        "cpu": {
            "regression": {"n": (1024, 4096), "dtype": ("float32", "float64")},
            "full": {"n": (1024, 4096, 65536), "batch": (16, 128)},
        },
        "cuda": {
            "smoke": {"n": (4096,), "batch": (16384,)},
            "regression": {"n": (256, 4096, 65536), "batch": (4096,)},
            "full": {"dtype": ("float32", "float64")},
        },
        "simulated": {"smoke": {"n": (4096,), "batch": (16384,)}},
    },
    device_modes={"cuda": "cold"},
    flops=_real_flops,
    bytes=_real_bytes,
)
def r2c(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the transform's work."""
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.fft_work import CudaRealFftWork, RealFftWork  # noqa: PLC0415

    return (CudaRealFftWork if device.info.kind is DeviceKind.CUDA else RealFftWork)(device, params, seed)
