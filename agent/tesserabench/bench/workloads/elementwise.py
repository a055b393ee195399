"""Elementwise functions: what fusing a chain of them saves, and what a transcendental one costs."""

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind, Outcome

MI = 1 << 20
STEPS = (2, 8, 32)
"""Lengths of the chain that the kernel is compiled for."""
FLOAT_BYTES = 4

INSTALLED.suite("elementwise", summary="chains of elementwise functions, fused and not, and single ones")

_LENGTHS: dict[str, dict[str, Axes]] = {
    "cuda": {"smoke": {"n": (64 * MI,)}, "full": {"n": (4 * MI, 64 * MI)}},
    "simulated": {"smoke": {"n": (64 * MI,)}},
}


def _bytes(params: Params) -> int:
    return 2 * params.integer("n") * FLOAT_BYTES


@benchmark(
    name="chain",
    suite="elementwise",
    summary="a chain of float32 multiply-adds, in one pass (fused) or one after the other; counts one read, one write",
    parameters={"n": (MI,), "steps": STEPS, "fused": (True, False)},
    tiers={"smoke": {"steps": (8,)}, "full": {"steps": STEPS}},
    device_tiers={**_LENGTHS, "cpu": {"smoke": {"fused": (False,)}}},
    device_modes={"cuda": "cold"},
    flops=lambda params: 2 * params.integer("n") * params.integer("steps"),
    bytes=_bytes,
    tolerance=lambda _: 1e-6,
)
def chain(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the chain's work; NumPy cannot fuse."""
    if params.integer("steps") not in STEPS:
        known = ", ".join(map(str, STEPS))
        raise CaseFailure(Outcome.UNSUPPORTED, f"steps is {params.integer('steps')}; it must be one of: {known}")
    on_cuda = device.info.kind is DeviceKind.CUDA
    if params["fused"] and not on_cuda:
        raise CaseFailure(Outcome.UNSUPPORTED, "NumPy cannot fuse a chain; set fused=false, or use device cuda")
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.elementwise_work import Chain, CudaChain  # noqa: PLC0415

    return (CudaChain if on_cuda else Chain)(device, params, seed)


@benchmark(
    name="map",
    suite="elementwise",
    summary="y = f(x) over float32 values; gelu is the form with tanh",
    parameters={"n": (MI,), "function": ("exp", "gelu")},
    tiers={"smoke": {}},
    device_tiers=_LENGTHS,
    device_modes={"cuda": "cold"},
    bytes=_bytes,
    tolerance=lambda _: 1e-6,
)
def map_function(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the function's work."""
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.elementwise_work import CudaMap, Map  # noqa: PLC0415

    return (CudaMap if device.info.kind is DeviceKind.CUDA else Map)(device, params, seed)
