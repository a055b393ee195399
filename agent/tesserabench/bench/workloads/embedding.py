"""Embedding look-ups: rows of a table chosen by number."""

from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.dtypes import itemsize
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind

KI = 1 << 10
INDEX_BYTES = 4

INSTALLED.suite("embedding", summary="rows of a large table chosen by number")


def _bytes(params: Params) -> int:
    return params.integer("lookups") * (2 * params.integer("width") * itemsize(params) + INDEX_BYTES)


@benchmark(
    name="gather",
    suite="embedding",
    summary="out[i] = table[rows[i]]; zipf: rows are asked for as often as words of a text, so caches help",
    parameters={
        "rows,width,lookups": ((64 * KI, 64, 16 * KI),),
        "distribution": ("uniform", "zipf"),
        "dtype": ("float32", "float16"),
    },
    tiers={"smoke": {"dtype": ("float32",)}, "full": {"dtype": ("float32", "float16")}},
    device_tiers={
        "cuda": {
            "smoke": {"rows,width,lookups": ((1024 * KI, 256, 512 * KI),)},
            "full": {
                "rows,width,lookups": ((1024 * KI, 256, 512 * KI), (8192 * KI, 64, 2048 * KI), (50_257, 4096, 64 * KI))
            },
        },
        "simulated": {"smoke": {"rows,width,lookups": ((1024 * KI, 256, 512 * KI),)}},
    },
    device_modes={"cuda": "cold"},
    bytes=_bytes,
    items=lambda params: params.integer("lookups"),
    tolerance=lambda _: 0.0,
    inputs="by_parameter",
)
def gather(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the look-ups' work."""
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.embedding_work import CudaGather, Gather  # noqa: PLC0415

    return (CudaGather if device.info.kind is DeviceKind.CUDA else Gather)(device, params, seed)
