"""The suite to begin with: arithmetic, memory and a mix of both, on every device."""

from tesserabench.bench.registry import INSTALLED

INSTALLED.suite(
    "core",
    summary="matrix product, copy, triad, reduction and Fourier transform",
    members=("gemm/matmul", "memory/copy", "memory/triad", "memory/reduction", "fft/c2c"),
)
