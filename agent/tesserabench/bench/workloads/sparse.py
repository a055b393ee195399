"""Sparse matrices: the product with a vector."""

from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.dtypes import itemsize
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind, Outcome

KI, MI = 1 << 10, 1 << 20
INDEX_BYTES = 4
MOST_ENTRIES = 1 << 31

INSTALLED.suite("sparse", summary="products of a sparse matrix with a vector")


def _entries(params: Params) -> int:
    return params.integer("rows") * params.integer("per_row")


def _bytes(params: Params) -> int:
    rows, size = params.integer("rows"), itemsize(params)
    return _entries(params) * (size + INDEX_BYTES) + INDEX_BYTES * (rows + 1) + 2 * rows * size


@benchmark(
    name="spmv",
    suite="sparse",
    summary="y = A x, A square in compressed rows: a band, or power-law row lengths with random columns",
    parameters={
        "rows,per_row": ((64 * KI, 16),),
        "pattern": ("banded", "power_law"),
        "dtype": ("float32", "float64"),
    },
    tiers={"smoke": {"dtype": ("float32",)}, "full": {"dtype": ("float32", "float64")}},
    device_tiers={
        "cuda": {
            "smoke": {"rows,per_row": ((MI, 32),)},
            "full": {"rows,per_row": ((MI, 32), (4 * MI, 8), (128 * KI, 256))},
        },
        "simulated": {"smoke": {"rows,per_row": ((MI, 32),)}},
    },
    device_modes={"cuda": "cold"},
    flops=lambda params: 2 * _entries(params),
    bytes=_bytes,
    items=_entries,
)
def spmv(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the product's work."""
    if _entries(params) >= MOST_ENTRIES or params.integer("per_row") > params.integer("rows"):
        raise CaseFailure(
            Outcome.UNSUPPORTED,
            f"rows x per_row is {_entries(params)}; it must be below {MOST_ENTRIES}, and per_row at most rows",
        )
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.sparse_work import CudaSpmv, Spmv  # noqa: PLC0415

    return (CudaSpmv if device.info.kind is DeviceKind.CUDA else Spmv)(device, params, seed)
