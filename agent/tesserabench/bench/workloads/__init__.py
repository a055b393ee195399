"""The benchmarks that come with the engine; importing this package registers them.

A module declares a suite; the module of the same name with `_work` holds what needs NumPy.
"""

from tesserabench.bench.workloads import (
    collectives,
    compiler,
    core,
    elementwise,
    embedding,
    fft,
    gemm,
    latency,
    memory,
    memory_access,
    norm,
    primitives,
    sparse,
    transfer,
)

__all__ = [
    "collectives",
    "compiler",
    "core",
    "elementwise",
    "embedding",
    "fft",
    "gemm",
    "latency",
    "memory",
    "memory_access",
    "norm",
    "primitives",
    "sparse",
    "transfer",
]
