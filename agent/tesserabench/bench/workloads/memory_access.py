"""Accesses to memory one at a time: random ones that may overlap, and a chain of which none may."""

from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.registry import benchmark
from tesserabench.bench.vocabulary import DeviceKind, Outcome
from tesserabench.bench.workloads import memory

KI, MI = memory.KI, memory.MI

LARGE_HOPS = 64 * KI
SMALL_HOPS = 256 * KI
"""Hops of the chase where one takes some ten nanoseconds: enough that the cold start of the cache does not matter."""
_CHASES = ((32 * KI, SMALL_HOPS), (16 * MI, LARGE_HOPS), (1024 * MI, LARGE_HOPS))


@benchmark(
    name="random",
    suite="memory",
    summary="accesses to random 8-byte entries of a table: gather reads them, update counts them up atomically",
    parameters={"op": ("gather", "update"), "entries": (4 * MI,), "accesses": (MI,)},
    tiers={"smoke": {}},
    device_tiers={
        "cuda": {
            "smoke": {"entries": (128 * MI,), "accesses": (16 * MI,)},
            "full": {"entries": (2 * MI, 128 * MI, 256 * MI)},
        },
        "simulated": {"smoke": {"entries": (128 * MI,), "accesses": (16 * MI,)}},
    },
    items=lambda params: params.integer("accesses"),
    tolerance=lambda _: 0.0,
    device_modes={"cuda": "cold"},
    inputs="uniform",
)
def random(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work of random accesses; a table must have a power of two entries."""
    if params.integer("entries").bit_count() != 1:
        raise CaseFailure(
            Outcome.UNSUPPORTED, f"entries is {params.integer('entries')}; it must be a power of two, such as {4 * MI}"
        )
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads import memory_access_work as work  # noqa: PLC0415

    update = params.text("op") == "update"
    if device.info.kind is DeviceKind.CUDA:
        return work.CudaUpdate(device, params, seed) if update else work.CudaGather(device, params, seed)
    return work.CpuUpdate(device, params, seed) if update else work.CpuGather(device, params, seed)


@benchmark(
    name="chase",
    suite="memory",
    summary="a chain of dependent loads along a random cycle through every line of `size` bytes: latency of a load",
    parameters={"size,hops": _CHASES},
    tiers={"smoke": {}},
    device_tiers={
        "cuda": {
            "full": {"size,hops": (*_CHASES[:1], (4 * MI, LARGE_HOPS), *_CHASES[1:], (256 * MI, LARGE_HOPS))},
        }
    },
    devices=("cuda", "simulated"),
    items=lambda params: params.integer("hops"),
    tolerance=lambda _: 0.0,
    modes=("hot", "sustained"),
    inputs="permutation",
)
def chase(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the chase's work."""
    if params.integer("size") < 2 * 128:
        raise CaseFailure(
            Outcome.UNSUPPORTED, f"size is {params.integer('size')} bytes; a chase needs two lines of 128 or more"
        )
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.memory_access_work import CudaChase  # noqa: PLC0415

    return CudaChase(device, params, seed)
