"""Building blocks of parallel programs: scan, sort, histogram, the largest of a row, and the reduction."""

from typing import TYPE_CHECKING

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    _Prepare = Callable[[ArrayDevice, Params, int], Workload]

MI = 1 << 20

INSTALLED.suite(
    "primitives",
    summary="scan, sort, histogram, largest of a row, and the reduction of suite memory",
    members=("memory/reduction",),
)

_SIZES = {"int32": 4, "uint32": 4, "float32": 4, "float64": 8, "uint64": 8}
_DEVICE_MODES = {"cuda": "cold"}
BINS = (256, 2048)
LARGEST = (1, 8, 16)
"""What the kernels are compiled for."""
MOST_COUNTED, MOST_SUMMED = 1 << 31, 1 << 28
"""Elements that counters of 32 bits, and sums of int32, can still hold."""


def _work(name: str, device: ArrayDevice, params: Params, seed: int) -> Workload:
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads import primitives_cuda, primitives_work  # noqa: PLC0415

    kinds: dict[str, tuple[_Prepare, _Prepare]] = {
        "scan": (primitives_work.Scan, primitives_cuda.CudaScan),
        "sort": (primitives_work.Sort, primitives_cuda.CudaSort),
        "histogram": (primitives_work.Histogram, primitives_cuda.CudaHistogram),
        "topk": (primitives_work.TopK, primitives_cuda.CudaTopK),
    }
    return kinds[name][device.info.kind is DeviceKind.CUDA](device, params, seed)


def _require_at_most(most: int, params: Params) -> None:
    count = params.integer("n")
    if count > most:
        raise CaseFailure(Outcome.UNSUPPORTED, f"n is {count}; it must be at most {most}, for results are of 32 bits")


def _lengths(*cuda: int) -> dict[str, dict[str, Axes]]:
    """Return the lengths of each tier; `cuda` gives those of smoke and regression, and of full."""
    small, large = cuda
    return {
        "cpu": {"full": {"n": (MI, 4 * MI, 16 * MI)}},
        "cuda": {"smoke": {"n": (small,)}, "full": {"n": (small, large)}},
        "simulated": {"smoke": {"n": (small,)}},
    }


def _scan_limit(params: Params) -> float:
    """Return the error of a sequential sum whose roundings are independent; whole numbers have none."""
    unit = {"float32": 2.0**-24, "float64": 2.0**-53}.get(params.text("dtype"), 0.0)
    return float(unit * max(16.0, params.integer("n") ** 0.5))


@benchmark(
    name="scan",
    suite="primitives",
    summary="the inclusive sum, in three passes (reduce, scan, apply); counts one read and one write for each element",
    parameters={"n": (MI,), "dtype": ("int32", "float32", "float64")},
    tiers={"smoke": {"dtype": ("int32", "float32")}, "full": {"dtype": ("int32", "float32", "float64")}},
    device_tiers=_lengths(64 * MI, 256 * MI),
    device_modes=_DEVICE_MODES,
    bytes=lambda params: 2 * params.integer("n") * _SIZES[params.text("dtype")],
    items=lambda params: params.integer("n"),
    tolerance=_scan_limit,
    inputs="uniform",
)
def scan(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the scan's work."""
    if params.text("dtype") == "int32":
        _require_at_most(MOST_SUMMED, params)
    return _work("scan", device, params, seed)


@benchmark(
    name="sort",
    suite="primitives",
    summary="a copy of random keys, then sorted by the platform's library; uint64 is a 32-bit key with its payload",
    parameters={"n": (MI,), "dtype": ("uint32", "float32", "uint64")},
    tiers={"smoke": {"dtype": ("uint32",)}, "regression": {"dtype": ("uint32", "float32", "uint64")}},
    device_tiers={
        "cpu": {"full": {"n": (MI, 4 * MI)}},
        "cuda": {"smoke": {"n": (16 * MI,)}, "full": {"n": (MI, 16 * MI, 64 * MI)}},
        "simulated": {"smoke": {"n": (16 * MI,)}},
    },
    device_modes=_DEVICE_MODES,
    bytes=lambda params: 2 * params.integer("n") * _SIZES[params.text("dtype")],
    items=lambda params: params.integer("n"),
    tolerance=lambda _: 0.0,
    inputs="uniform",
)
def sort(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the sort's work."""
    return _work("sort", device, params, seed)


@benchmark(
    name="histogram",
    suite="primitives",
    summary="counts of 32-bit values by their low bits; skewed: half of all in one bin, constant: all",
    parameters={"n": (MI,), "bins": BINS, "distribution": ("uniform", "skewed", "constant")},
    tiers={"smoke": {"bins": BINS[:1]}, "full": {"bins": BINS}},
    device_tiers=_lengths(64 * MI, 256 * MI),
    device_modes=_DEVICE_MODES,
    bytes=lambda params: 4 * params.integer("n"),
    items=lambda params: params.integer("n"),
    tolerance=lambda _: 0.0,
    inputs="by_parameter",
)
def histogram(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the histogram's work."""
    _require_at_most(MOST_COUNTED, params)
    if params.integer("bins") not in BINS:
        raise CaseFailure(
            Outcome.UNSUPPORTED, f"bins is {params.integer('bins')}; it must be one of: {', '.join(map(str, BINS))}"
        )
    return _work("histogram", device, params, seed)


@benchmark(
    name="topk",
    suite="primitives",
    summary="the k largest of every float32 row, largest first, with their columns",
    parameters={"rows,columns": ((256, 4096),), "k": LARGEST},
    tiers={"smoke": {"k": (8,)}, "full": {"k": LARGEST}},
    device_tiers={
        "cuda": {
            "smoke": {"rows,columns": ((2048, 32768), (262_144, 128))},
            "full": {"rows,columns": ((2048, 32768), (262_144, 128), (64, 131_072), (4096, 50_257))},
        },
        "simulated": {"smoke": {"rows,columns": ((2048, 32768),)}},
    },
    device_modes=_DEVICE_MODES,
    bytes=lambda params: 4 * params.integer("rows") * (params.integer("columns") + 2 * params.integer("k")),
    items=lambda params: params.integer("rows"),
    tolerance=lambda _: 0.0,
)
def topk(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work of finding the largest."""
    k, columns = params.integer("k"), params.integer("columns")
    if k not in LARGEST or k > columns:
        known = ", ".join(map(str, LARGEST))
        raise CaseFailure(
            Outcome.UNSUPPORTED, f"k is {k} of {columns} columns; it must be one of {known} and at most the columns"
        )
    return _work("topk", device, params, seed)
