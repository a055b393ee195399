"""Memory traffic: copy, triad and reduction over arrays far larger than the caches in the larger tiers."""

from typing import TYPE_CHECKING

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.dtypes import itemsize
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind

if TYPE_CHECKING:
    from collections.abc import Callable

MI = 1 << 20

INSTALLED.suite("memory", summary="copy, triad and reduction: how fast memory moves")

_PARAMETERS: Axes = {"n": (4 * MI,), "dtype": ("float32", "float64")}
_TIERS: dict[str, Axes] = {"smoke": {"dtype": ("float32",)}}
_DEVICE_TIERS: dict[str, dict[str, Axes]] = {
    "cpu": {"regression": {"n": (4 * MI, 16 * MI)}, "full": {"n": (4 * MI, 16 * MI, 64 * MI)}},
    "cuda": {"smoke": {"n": (256 * MI,)}, "full": {"n": (4 * MI, 256 * MI), "dtype": ("float32", "float64")}},
    "simulated": {"smoke": {"n": (256 * MI,)}},
}


def _work(name: str, device: ArrayDevice, params: Params, seed: int) -> Workload:
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads import memory_cuda, memory_work  # noqa: PLC0415

    kinds: dict[str, Callable[[ArrayDevice, Params, int], Workload]]
    if device.info.kind is DeviceKind.CUDA:
        kinds = {"copy": memory_cuda.CudaCopy, "triad": memory_cuda.CudaTriad, "reduction": memory_cuda.CudaReduction}
    else:
        kinds = {"copy": memory_work.Copy, "triad": memory_work.Triad, "reduction": memory_work.Reduction}
    return kinds[name](device, params, seed)


@benchmark(
    name="copy",
    suite="memory",
    summary="b = a; counts one read and one write for each element",
    parameters=_PARAMETERS,
    tiers=_TIERS,
    device_tiers=_DEVICE_TIERS,
    bytes=lambda params: 2 * params.integer("n") * itemsize(params),
    tolerance=lambda _: 0.0,
)
def copy(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the copy's work."""
    return _work("copy", device, params, seed)


@benchmark(
    name="triad",
    suite="memory",
    summary="c = a + 3 b; counts two reads and one write for each element",
    parameters=_PARAMETERS,
    tiers=_TIERS,
    device_tiers=_DEVICE_TIERS,
    flops=lambda params: 2 * params.integer("n"),
    bytes=lambda params: 3 * params.integer("n") * itemsize(params),
)
def triad(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the triad's work."""
    return _work("triad", device, params, seed)


@benchmark(
    name="reduction",
    suite="memory",
    summary="the sum of all elements; counts one read for each element",
    parameters=_PARAMETERS,
    tiers=_TIERS,
    device_tiers=_DEVICE_TIERS,
    flops=lambda params: params.integer("n"),
    bytes=lambda params: params.integer("n") * itemsize(params),
)
def reduction(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the reduction's work."""
    return _work("reduction", device, params, seed)
