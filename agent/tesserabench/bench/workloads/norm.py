"""Softmax and normalisations along rows: NumPy on a CPU, one kernel of ours on CUDA."""

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

INSTALLED.suite("norm", summary="softmax and normalisations along rows, wide and narrow")

_SHAPE = "rows,columns"
_PARAMETERS: Axes = {_SHAPE: ((1024, 1024),), "dtype": ("float32", "float16", "bfloat16")}
_LARGE = (8192, 8192)
_GPU_SHAPES = ((262144, 128), _LARGE, (65536, 1024))
_DEVICE_TIERS: dict[str, dict[str, Axes]] = {
    "cpu": {
        "smoke": {"dtype": ("float32",)},
        "full": {_SHAPE: ((16384, 64), (1024, 1024), (256, 8192))},
    },
    "cuda": {
        "smoke": {_SHAPE: (_LARGE,), "dtype": ("float32", "bfloat16")},
        "regression": {_SHAPE: _GPU_SHAPES},
        "full": {_SHAPE: (*_GPU_SHAPES, (4096, 16384)), "dtype": ("float32", "float16", "bfloat16")},
    },
    "simulated": {"smoke": {_SHAPE: (_LARGE,), "dtype": ("float32", "bfloat16")}},
}
_WIDE_TIERS = {
    **_DEVICE_TIERS,
    "cuda": {
        **_DEVICE_TIERS["cuda"],
        # The last row is a vocabulary: it fits into no register file.
        "full": {_SHAPE: (*_GPU_SHAPES, (2048, 128256)), "dtype": ("float32", "float16", "bfloat16")},
    },
}
_LIMITS = {"float32": 1e-5, "float16": 3e-3, "bfloat16": 1e-2}


def _cells(params: Params) -> int:
    return params.integer("rows") * params.integer("columns")


def _limit(params: Params) -> float:
    return _LIMITS[params.text("dtype")]


def _work(name: str, device: ArrayDevice, params: Params, seed: int) -> Workload:
    kind, dtype = device.info.kind, params.text("dtype")
    if kind is DeviceKind.CPU and dtype != "float32":
        raise CaseFailure(
            Outcome.UNSUPPORTED, f"dtype {dtype} has no arithmetic worth timing on a CPU; use float32, or device cuda"
        )
    # NumPy is imported when work is prepared, not when suites are listed.
    from tesserabench.bench.workloads import norm_cuda, norm_work  # noqa: PLC0415

    on_cuda = kind is DeviceKind.CUDA
    kinds: dict[str, Callable[[ArrayDevice, Params, int], Workload]] = {
        "softmax": norm_cuda.CudaSoftmax if on_cuda else norm_work.Softmax,
        "layernorm": norm_cuda.CudaLayerNorm if on_cuda else norm_work.LayerNorm,
        "rmsnorm": norm_cuda.CudaRmsNorm if on_cuda else norm_work.RmsNorm,
        "residual_rmsnorm": norm_cuda.CudaResidualRmsNorm if on_cuda else norm_work.ResidualRmsNorm,
    }
    return kinds[name](device, params, seed)


@benchmark(
    name="softmax",
    suite="norm",
    summary="softmax along rows; counts 5 operations, one read and one write for each element",
    parameters=_PARAMETERS,
    device_tiers=_WIDE_TIERS,
    flops=lambda params: 5 * _cells(params),
    bytes=lambda params: 2 * _cells(params) * itemsize(params),
    tolerance=_limit,
    device_modes={"cuda": "cold"},
)
def softmax(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the softmax's work."""
    return _work("softmax", device, params, seed)


@benchmark(
    name="layernorm",
    suite="norm",
    summary="(x - mean) / deviation * gamma + beta along rows; counts 8 operations, one read and one write each",
    parameters=_PARAMETERS,
    device_tiers=_DEVICE_TIERS,
    flops=lambda params: 8 * _cells(params),
    bytes=lambda params: (2 * _cells(params) + 2 * params.integer("columns")) * itemsize(params),
    tolerance=_limit,
    device_modes={"cuda": "cold"},
)
def layernorm(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the normalisation's work."""
    return _work("layernorm", device, params, seed)


@benchmark(
    name="rmsnorm",
    suite="norm",
    summary="x / root mean square * gamma along rows; counts 4 operations, one read and one write for each element",
    parameters=_PARAMETERS,
    device_tiers=_DEVICE_TIERS,
    flops=lambda params: 4 * _cells(params),
    bytes=lambda params: (2 * _cells(params) + params.integer("columns")) * itemsize(params),
    tolerance=_limit,
    device_modes={"cuda": "cold"},
)
def rmsnorm(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the normalisation's work."""
    return _work("rmsnorm", device, params, seed)


@benchmark(
    name="residual_rmsnorm",
    suite="norm",
    summary="h = x + residual, and rmsnorm of h, in one pass; counts 5 operations, two reads and two writes each",
    parameters=_PARAMETERS,
    device_tiers=_DEVICE_TIERS,
    flops=lambda params: 5 * _cells(params),
    bytes=lambda params: (4 * _cells(params) + params.integer("columns")) * itemsize(params),
    tolerance=_limit,
    device_modes={"cuda": "cold"},
)
def residual_rmsnorm(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the fused work."""
    return _work("residual_rmsnorm", device, params, seed)
