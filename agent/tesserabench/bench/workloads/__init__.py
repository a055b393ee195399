"""The benchmarks that come with the engine; importing this package registers them.

A module declares a suite; the module of the same name with `_work` holds what needs NumPy.
"""

from tesserabench.bench.workloads import (
    attention,
    collectives,
    compiler,
    conv,
    core,
    elementwise,
    embedding,
    fft,
    gemm,
    latency,
    llm,
    memory,
    memory_access,
    norm,
    primitives,
    sparse,
    transfer,
)

__all__ = [
    "attention",
    "collectives",
    "compiler",
    "conv",
    "core",
    "elementwise",
    "embedding",
    "fft",
    "gemm",
    "latency",
    "llm",
    "memory",
    "memory_access",
    "norm",
    "primitives",
    "sparse",
    "transfer",
]
