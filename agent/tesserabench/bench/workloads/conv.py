"""Two-dimensional convolution by a kernel of our own: its arithmetic without a library and its transforms."""

from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.dtypes import itemsize
from tesserabench.bench.registry import INSTALLED, benchmark

INSTALLED.suite("conv", summary="two-dimensional convolution")

LIMITS = {"float32": 1e-5, "float16": 3e-3, "bfloat16": 1e-2}
_SHAPE = "images,size,channels,filters,taps,stride"
_LAYERS = ((32, 56, 64, 64, 3, 1), (32, 28, 256, 512, 1, 2), (32, 14, 256, 256, 3, 1))


def out_size(params: Params) -> int:
    """Return rows (and columns) of the result; the borders are padded by half a filter."""
    taps, stride = params.integer("taps"), params.integer("stride")
    return (params.integer("size") + 2 * (taps // 2) - taps) // stride + 1


def _weights(params: Params) -> int:
    return params.integer("filters") * params.integer("channels") * params.integer("taps") ** 2


def _bytes(params: Params) -> int:
    read = params.integer("images") * params.integer("size") ** 2 * params.integer("channels")
    written = params.integer("images") * out_size(params) ** 2 * params.integer("filters")
    return (read + _weights(params) + written) * itemsize(params)


@benchmark(
    name="direct",
    suite="conv",
    summary="images (n, h, w, c) with square filters, on the ordinary cores; counts 2 operations a product",
    parameters={_SHAPE: _LAYERS[:1], "dtype": ("float32", "float16", "bfloat16")},
    tiers={
        "smoke": {"dtype": ("float32",)},
        "regression": {"dtype": ("float32", "bfloat16")},
        "full": {_SHAPE: _LAYERS, "dtype": ("float32", "float16", "bfloat16")},
    },
    devices=("cuda", "simulated"),
    flops=lambda params: 2 * _weights(params) * params.integer("images") * out_size(params) ** 2,
    bytes=_bytes,
    tolerance=lambda params: LIMITS[params.text("dtype")],
)
def direct(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the convolution's work."""
    from tesserabench.bench.workloads.conv_cuda import CudaDirect  # noqa: PLC0415 - it needs NumPy

    return CudaDirect(device, params, seed, rows=out_size(params))
