"""The benchmarks that come with the engine; importing this package registers them."""

from tesserabench.bench.workloads import core, fft, gemm, memory

__all__ = ["core", "fft", "gemm", "memory"]
