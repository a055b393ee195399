"""Matrix products: NumPy's BLAS on a CPU, cuBLAS and cuBLASLt on CUDA.

Which library multiplies is part of a benchmark's name and dtype, never of what happens to be installed: `matmul` is
cuBLAS's (cuBLASLt's for float8_e4m3, which cuBLAS lacks), all others are cuBLASLt's. In `matmul`, 8-bit types have B
stored transposed, (n, k): the only form that the tensor cores of every generation multiply.
"""

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.dtypes import itemsize, product_itemsize, product_limit
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind, Outcome

INSTALLED.suite("gemm", summary="dense matrix products")

_SIZE = "m,n,k"
_DTYPES = ("float32", "float64", "float16", "tf32", "bfloat16", "float8_e4m3", "int8")
_EIGHT_BITS = ("float8_e4m3", "int8")
_CPU_DTYPES = ("float32", "float64")
_SQUARE = ((4096, 4096, 4096), (8192, 8192, 8192))
_LONG = (1024, 1024, 65536)
_GPU_TIERS: dict[str, Axes] = {
    "smoke": {_SIZE: ((4096, 4096, 4096),), "dtype": ("float32", "tf32", "float16", "bfloat16")},
    "regression": {_SIZE: _SQUARE, "dtype": _DTYPES},
    "full": {_SIZE: ((1024, 1024, 1024), *_SQUARE, (64, 8192, 8192), _LONG)},
}
_ROTATING = {"cuda": "rotating"}


def _flops(params: Params) -> int:
    return 2 * params.integer("m") * params.integer("n") * params.integer("k")


def _bytes(params: Params) -> int:
    m, n, k = params.integer("m"), params.integer("n"), params.integer("k")
    return (m * k + k * n) * itemsize(params) + m * n * product_itemsize(params.text("dtype"))


def _limit(params: Params) -> float:
    return product_limit(params.text("dtype"), params.integer("k"))


def _require_dtype(device: ArrayDevice, dtype: str) -> None:
    if device.info.kind is DeviceKind.CPU and dtype not in _CPU_DTYPES:
        raise CaseFailure(
            Outcome.UNSUPPORTED,
            f"dtype {dtype} has no library product on a CPU; use float32 or float64, or device cuda",
        )


def _work(  # noqa: PLR0913 - what makes a product, all keyword-only but the first three
    device: ArrayDevice,
    params: Params,
    seed: int,
    *,
    batch: int = 1,
    a_transposed: bool = False,
    b_transposed: bool = False,
    lt: bool = True,
) -> Workload:
    dtype = params.text("dtype")
    _require_dtype(device, dtype)
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads.gemm_cuda import CublasLtProduct, CublasProduct  # noqa: PLC0415
    from tesserabench.bench.workloads.gemm_work import CpuProduct, Product  # noqa: PLC0415

    product = Product(
        m=params.integer("m"),
        n=params.integer("n"),
        k=params.integer("k"),
        dtype=dtype,
        batch=batch,
        a_transposed=a_transposed,
        b_transposed=b_transposed,
    )
    if device.info.kind is not DeviceKind.CUDA:
        return CpuProduct(device, product, seed)
    return (CublasLtProduct if lt else CublasProduct)(device, product, seed)


@benchmark(
    name="matmul",
    suite="gemm",
    summary="C = A B with the platform's BLAS; counts 2 m n k operations",
    parameters={_SIZE: ((512, 512, 512),), "dtype": _DTYPES},
    tiers={"smoke": {_SIZE: ((512, 512, 512),), "dtype": ("float32",)}},
    device_tiers={
        "cpu": {
            "regression": {_SIZE: ((512, 512, 512), (1024, 1024, 1024)), "dtype": ("float32", "float64")},
            "full": {_SIZE: ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (64, 4096, 1024))},
        },
        "cuda": _GPU_TIERS,
        "simulated": {
            "smoke": {_SIZE: ((4096, 4096, 4096),)},
            "regression": {_SIZE: _SQUARE, "dtype": ("float32", "float16")},
            "full": {"dtype": _DTYPES},
        },
    },
    flops=_flops,
    bytes=_bytes,
    tolerance=_limit,
)
def matmul(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the product's work: row-major operands, for 8-bit types B transposed."""
    dtype = params.text("dtype")
    return _work(device, params, seed, b_transposed=dtype in _EIGHT_BITS, lt=dtype == "float8_e4m3")


@benchmark(
    name="matmul_lt",
    suite="gemm",
    summary="the same by cuBLASLt, which a CUDA graph can hold; counts 2 m n k operations",
    parameters={_SIZE: ((4096, 4096, 4096),), "dtype": _DTYPES},
    tiers={
        "smoke": {"dtype": ("bfloat16",)},
        "regression": _GPU_TIERS["regression"],
        "full": _GPU_TIERS["full"],
    },
    devices=("cuda", "simulated"),
    flops=_flops,
    bytes=_bytes,
    tolerance=_limit,
)
def matmul_lt(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the product's work: row-major operands, for 8-bit types B transposed."""
    return _work(device, params, seed, b_transposed=params.text("dtype") in _EIGHT_BITS)


# Layers of a language model of eight thousand million parameters: attention input, feed-forward up and down; from one
# token (memory bound) to a prompt (arithmetic).
_LAYERS = ((6144, 4096), (28672, 4096), (4096, 14336))


@benchmark(
    name="linear",
    suite="gemm",
    summary="Y = X W^T for m tokens and weights (n, k), as in layers of language models; counts 2 m n k operations",
    parameters={_SIZE: ((16, 1024, 1024),), "dtype": ("bfloat16", "float32", "float16", "float8_e4m3", "int8")},
    device_tiers={
        "cpu": {
            "smoke": {"dtype": ("float32",)},
            "full": {_SIZE: ((1, 1024, 1024), (16, 1024, 1024), (256, 1024, 1024))},
        },
        "cuda": {
            "smoke": {_SIZE: ((1, 28672, 4096), (64, 28672, 4096)), "dtype": ("bfloat16",)},
            "regression": {
                _SIZE: tuple((m, n, k) for n, k in _LAYERS for m in (1, 16, 128, 4096)),
                "dtype": ("bfloat16", "float8_e4m3"),
            },
            "full": {"dtype": ("bfloat16", "float16", "float8_e4m3", "int8")},
        },
        "simulated": {"smoke": {_SIZE: ((1, 28672, 4096),), "dtype": ("bfloat16",)}},
    },
    flops=_flops,
    bytes=_bytes,
    tolerance=_limit,
    device_modes=_ROTATING,
)
def linear(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the layer's work."""
    return _work(device, params, seed, b_transposed=True)


_LAYOUTS = {"nn": (False, False), "nt": (False, True), "tn": (True, False), "tt": (True, True)}


@benchmark(
    name="layouts",
    suite="gemm",
    summary="C = A B with A, B stored as they are (n) or transposed (t); counts 2 m n k operations",
    parameters={_SIZE: ((512, 512, 512),), "layout": tuple(_LAYOUTS), "dtype": ("float32", "float16", "bfloat16")},
    device_tiers={
        "cpu": {"smoke": {"layout": ("nt",), "dtype": ("float32",)}, "full": {"layout": tuple(_LAYOUTS)}},
        "cuda": {
            "smoke": {_SIZE: ((4096, 4096, 4096),), "layout": ("nt",), "dtype": ("bfloat16",)},
            "full": {"layout": tuple(_LAYOUTS), "dtype": ("float32", "bfloat16")},
        },
        "simulated": {
            "smoke": {_SIZE: ((4096, 4096, 4096),), "layout": ("nt",), "dtype": ("bfloat16",)},
            "full": {"layout": tuple(_LAYOUTS)},
        },
    },
    flops=_flops,
    bytes=_bytes,
    tolerance=_limit,
)
def layouts(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the product's work."""
    a_transposed, b_transposed = _LAYOUTS[params.text("layout")]
    return _work(device, params, seed, a_transposed=a_transposed, b_transposed=b_transposed)


_MANY = "batch,m,n,k"


@benchmark(
    name="batched",
    suite="gemm",
    summary="many small products, one after the other in memory; counts 2 batch m n k operations",
    parameters={_MANY: ((64, 64, 64, 64),), "dtype": ("float32", "float64", "float16", "tf32", "bfloat16")},
    device_tiers={
        "cpu": {
            "smoke": {"dtype": ("float32",)},
            "full": {_MANY: ((64, 64, 64, 64), (1024, 32, 32, 32)), "dtype": ("float32", "float64")},
        },
        "cuda": {
            "smoke": {_MANY: ((64, 512, 512, 512),), "dtype": ("bfloat16",)},
            "regression": {_MANY: ((64, 512, 512, 512), (1024, 64, 64, 64)), "dtype": ("float32", "bfloat16")},
            "full": {
                _MANY: ((64, 512, 512, 512), (256, 128, 128, 128), (1024, 64, 64, 64), (1024, 32, 32, 32)),
                "dtype": ("float32", "float64", "float16", "tf32", "bfloat16"),
            },
        },
        "simulated": {"smoke": {_MANY: ((64, 512, 512, 512),), "dtype": ("bfloat16",)}},
    },
    flops=lambda params: params.integer("batch") * _flops(params),
    bytes=lambda params: params.integer("batch") * _bytes(params),
    tolerance=_limit,
    device_modes=_ROTATING,
)
def batched(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the products' work."""
    return _work(device, params, seed, batch=params.integer("batch"))
