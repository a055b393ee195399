"""The compiler as a workload: how long our own kernels take to compile, and to load.

Compiling needs NVRTC, but neither a GPU nor a driver: it is offered on the CPU device as well.
"""

from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.registry import INSTALLED, benchmark

INSTALLED.suite("compile", summary="run-time compilation of our own CUDA kernels with NVRTC, and loading them")

_SOURCES = ("copy", "reduction", "tick")


@benchmark(
    name="nvrtc",
    suite="compile",
    summary="CUDA source to a binary for one architecture, every time anew",
    parameters={"source": _SOURCES, "architecture": ("sm_80", "sm_90", "sm_100", "sm_120")},
    tiers={
        "smoke": {"source": ("reduction",), "architecture": ("sm_90",)},
        "regression": {"source": _SOURCES},
        "full": {"architecture": ("sm_80", "sm_90", "sm_100", "sm_120")},
    },
    devices=("cpu", "cuda"),
    mode="host",
    modes=("host",),
    tolerance=lambda _: 0.0,
    inputs="none",
)
def nvrtc(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return the compilation; unsupported where NVRTC is not installed."""
    # NVRTC is looked for when work is prepared, not when suites are listed; likewise below.
    from tesserabench.bench.workloads.compiler_work import Compilation  # noqa: PLC0415

    return Compilation(params.text("source"), params.text("architecture"))


@benchmark(
    name="load",
    suite="compile",
    summary="a binary, compiled before, into the device and out again",
    parameters={"source": _SOURCES},
    tiers={"smoke": {"source": ("reduction",)}, "full": {"source": _SOURCES}},
    devices=("cuda",),
    mode="host",
    modes=("host",),
    inputs="none",
)
def load(device: ArrayDevice, params: Params, seed: int) -> Workload:  # noqa: ARG001 - nothing is random here
    """Return the loading of a module."""
    from tesserabench.bench.workloads.compiler_work import load_work  # noqa: PLC0415

    return load_work(device, params.text("source"))
