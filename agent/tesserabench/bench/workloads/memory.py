"""Memory traffic: streams over arrays far larger than the caches in the larger tiers, and what fits into a cache."""

from typing import TYPE_CHECKING

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.dtypes import itemsize
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    _Prepare = Callable[[ArrayDevice, Params, int], Workload]

KI, MI = 1 << 10, 1 << 20

WIDTHS = (1, 2, 4, 8, 16)
"""Bytes of one access that CUDA has instructions for."""

INSTALLED.suite("memory", summary="streams, random accesses and chains of loads: how fast memory is")

_PARAMETERS: Axes = {"n": (4 * MI,), "dtype": ("float32", "float64")}
_TIERS: dict[str, Axes] = {"smoke": {"dtype": ("float32",)}}
_DEVICE_TIERS: dict[str, dict[str, Axes]] = {
    "cpu": {"regression": {"n": (4 * MI, 16 * MI)}, "full": {"n": (4 * MI, 16 * MI, 64 * MI)}},
    "cuda": {"smoke": {"n": (256 * MI,)}, "full": {"n": (4 * MI, 256 * MI), "dtype": ("float32", "float64")}},
    "simulated": {"smoke": {"n": (256 * MI,)}},
}
_ONE_TYPE: dict[str, dict[str, Axes]] = {
    **_DEVICE_TIERS,
    "cuda": {"smoke": {"n": (256 * MI,)}, "full": {"dtype": ("float32", "float64")}},
}
"""Streams whose speed hardly depends on the type are measured with one of them below tier full."""
_DEVICE_MODES = {"cuda": "cold"}
"""Nothing of a stream should come out of a cache; on a CPU the arrays are larger than the cache instead."""


def _work(name: str, device: ArrayDevice, params: Params, seed: int) -> Workload:
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads import memory_cuda, memory_streams, memory_work  # noqa: PLC0415

    kinds: dict[str, tuple[_Prepare, _Prepare]] = {
        "copy": (memory_work.Copy, memory_cuda.CudaCopy),
        "triad": (memory_work.Triad, memory_cuda.CudaTriad),
        "reduction": (memory_work.Reduction, memory_cuda.CudaReduction),
        "read": (memory_streams.Read, memory_streams.CudaRead),
        "fill": (memory_streams.Fill, memory_streams.CudaFill),
        "scale": (memory_streams.Scale, memory_streams.CudaScale),
        "transpose": (memory_streams.Transpose, memory_streams.CudaTranspose),
    }
    return kinds[name][device.info.kind is DeviceKind.CUDA](device, params, seed)


@benchmark(
    name="copy",
    suite="memory",
    summary="b = a; counts one read and one write for each element",
    parameters=_PARAMETERS,
    tiers=_TIERS,
    device_tiers=_DEVICE_TIERS,
    device_modes=_DEVICE_MODES,
    inputs="uniform",
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
    device_modes=_DEVICE_MODES,
    inputs="uniform",
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
    device_modes=_DEVICE_MODES,
    inputs="uniform",
    flops=lambda params: params.integer("n"),
    bytes=lambda params: params.integer("n") * itemsize(params),
)
def reduction(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the reduction's work."""
    return _work("reduction", device, params, seed)


@benchmark(
    name="read",
    suite="memory",
    summary="the exclusive or of all words; counts one read for each element",
    parameters=_PARAMETERS,
    tiers=_TIERS,
    device_tiers=_ONE_TYPE,
    device_modes=_DEVICE_MODES,
    inputs="uniform",
    bytes=lambda params: params.integer("n") * itemsize(params),
    tolerance=lambda _: 0.0,
)
def read(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work of reading."""
    return _work("read", device, params, seed)


@benchmark(
    name="fill",
    suite="memory",
    summary="b = 3; counts one write for each element",
    parameters=_PARAMETERS,
    tiers=_TIERS,
    device_tiers=_ONE_TYPE,
    device_modes=_DEVICE_MODES,
    inputs="none",
    bytes=lambda params: params.integer("n") * itemsize(params),
    tolerance=lambda _: 0.0,
)
def fill(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work of filling."""
    return _work("fill", device, params, seed)


@benchmark(
    name="scale",
    suite="memory",
    summary="b = 3 a; counts one read and one write for each element",
    parameters=_PARAMETERS,
    tiers=_TIERS,
    device_tiers=_ONE_TYPE,
    device_modes=_DEVICE_MODES,
    inputs="uniform",
    flops=lambda params: params.integer("n"),
    bytes=lambda params: 2 * params.integer("n") * itemsize(params),
)
def scale(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work of scaling."""
    return _work("scale", device, params, seed)


@benchmark(
    name="cached",
    suite="memory",
    summary="b = a for arrays that together fit the last-level cache, launched over and over",
    parameters={"n": (64 * KI,), "dtype": ("float32", "float64")},
    tiers=_TIERS,
    device_tiers={
        "cuda": {"smoke": {"n": (2 * MI,)}, "full": {"n": (512 * KI, MI, 2 * MI, 4 * MI)}},
        "simulated": {"smoke": {"n": (2 * MI,)}},
    },
    modes=("hot", "sustained"),
    inputs="uniform",
    bytes=lambda params: 2 * params.integer("n") * itemsize(params),
    tolerance=lambda _: 0.0,
)
def cached(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the copy's work."""
    return _work("copy", device, params, seed)


@benchmark(
    name="width",
    suite="memory",
    summary="a float32 copy with one access of `width` bytes for each thread and step",
    parameters={"n": (256 * MI,), "width": WIDTHS},
    tiers={"smoke": {"width": (4,)}, "full": {"width": WIDTHS}},
    devices=("cuda", "simulated"),
    device_modes=_DEVICE_MODES,
    inputs="uniform",
    bytes=lambda params: 8 * params.integer("n"),
    tolerance=lambda _: 0.0,
)
def width(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the copy's work."""
    n, step = params.integer("n"), params.integer("width")
    if step not in WIDTHS or n * 4 % step:
        raise CaseFailure(
            Outcome.UNSUPPORTED,
            f"width is {step} and n is {n}; width must be one of {', '.join(map(str, WIDTHS))} and divide 4 n",
        )
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.memory_streams import CudaWidth  # noqa: PLC0415

    return CudaWidth(device, params, seed)


@benchmark(
    name="transpose",
    suite="memory",
    summary="b (n, m) = the transpose of a (m, n); counts one read and one write, so its ceiling is the copy",
    parameters={"m,n": ((2048, 2048),), "dtype": ("float32", "float64", "float16")},
    tiers={"smoke": {"dtype": ("float32",)}},
    device_tiers={
        "cpu": {"full": {"m,n": ((2048, 2048), (512, 8192)), "dtype": ("float32", "float64")}},
        "cuda": {
            "smoke": {"m,n": ((16384, 16384),)},
            "full": {"m,n": ((16384, 16384), (1024, 65536), (8191, 8193)), "dtype": ("float32", "float64", "float16")},
        },
        "simulated": {"smoke": {"m,n": ((16384, 16384),)}},
    },
    device_modes=_DEVICE_MODES,
    inputs="uniform",
    bytes=lambda params: 2 * params.integer("m") * params.integer("n") * itemsize(params),
    tolerance=lambda _: 0.0,
)
def transpose(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the transposition's work."""
    return _work("transpose", device, params, seed)
