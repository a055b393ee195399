"""Matrix products by the platform's library: OpenBLAS through NumPy, cuBLAS through CuPy."""

from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.dtypes import itemsize
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind, Outcome

INSTALLED.suite("gemm", summary="dense matrix products")


def _flops(params: Params) -> int:
    return 2 * params.integer("m") * params.integer("n") * params.integer("k")


def _bytes(params: Params) -> int:
    m, n, k = params.integer("m"), params.integer("n"), params.integer("k")
    return (m * k + k * n + m * n) * itemsize(params)


@benchmark(
    name="matmul",
    suite="gemm",
    summary="C = A B with the platform's BLAS; counts 2 m n k operations",
    parameters={"m,n,k": ((512, 512, 512),), "dtype": ("float32", "float64", "float16")},
    tiers={"smoke": {"m,n,k": ((512, 512, 512),), "dtype": ("float32",)}},
    device_tiers={
        "cpu": {
            "regression": {"m,n,k": ((512, 512, 512), (1024, 1024, 1024)), "dtype": ("float32", "float64")},
            "full": {"m,n,k": ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (64, 4096, 1024))},
        },
        "cuda": {
            "smoke": {"m,n,k": ((4096, 4096, 4096),), "dtype": ("float32", "float16")},
            "regression": {"m,n,k": ((4096, 4096, 4096), (8192, 8192, 8192))},
            "full": {
                "m,n,k": ((1024, 1024, 1024), (4096, 4096, 4096), (8192, 8192, 8192), (64, 8192, 8192)),
                "dtype": ("float32", "float64", "float16"),
            },
        },
        "simulated": {
            "smoke": {"m,n,k": ((4096, 4096, 4096),)},
            "regression": {"m,n,k": ((4096, 4096, 4096), (8192, 8192, 8192)), "dtype": ("float32", "float16")},
        },
    },
    flops=_flops,
    bytes=_bytes,
)
def matmul(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the product's work; NumPy has no float16 product worth timing."""
    if device.info.kind is DeviceKind.CPU and params.text("dtype") == "float16":
        raise CaseFailure(
            Outcome.UNSUPPORTED, "dtype float16 has no library product on a CPU; use float32 or float64, or device cuda"
        )
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.gemm_work import MatmulWork  # noqa: PLC0415

    return MatmulWork(device, params, seed)
