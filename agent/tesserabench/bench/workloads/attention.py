"""Attention forward: with the scores in memory, without them (flash), and for one query a sequence (decode)."""

from typing import TYPE_CHECKING

from tesserabench.bench.case import Params
from tesserabench.bench.definition import Axes
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.dtypes import itemsize
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.registry import INSTALLED, benchmark
from tesserabench.bench.vocabulary import DeviceKind, Outcome

if TYPE_CHECKING:
    from tesserabench.bench.workloads.attention_work import Heads

INSTALLED.suite("attention", summary="attention forward of language models: prompts and single tokens")

LIMITS = {"float32": 1e-5, "float16": 3e-3, "bfloat16": 1e-2}
_SHAPE = "batch,heads,length,head_dim"
_GROUPED = "batch,heads,kv_heads,length,head_dim"


def _heads(params: Params, *, queries: int) -> "Heads":
    from tesserabench.bench.workloads.attention_work import Heads  # noqa: PLC0415 - it needs NumPy

    heads = params.integer("heads")
    kv_heads = params.integer("kv_heads") if "kv_heads" in params else heads
    if heads % kv_heads:
        raise CaseFailure(
            Outcome.UNSUPPORTED, f"heads is {heads} and kv_heads {kv_heads}; heads must be a multiple of kv_heads"
        )
    return Heads(
        batch=params.integer("batch"),
        heads=heads,
        kv_heads=kv_heads,
        queries=queries,
        keys=params.integer("length"),
        head_dim=params.integer("head_dim"),
        causal="causal" in params and bool(params["causal"]),
        dtype=params.text("dtype"),
    )


def _pairs(params: Params) -> int:
    """Return how many queries meet a key, over all heads: half of all where a causal mask hides the later ones."""
    count = params.integer("batch") * params.integer("heads") * params.integer("length") ** 2
    return count // 2 if params["causal"] else count


def _flops(params: Params) -> int:
    return 4 * _pairs(params) * params.integer("head_dim")


def _naive_bytes(params: Params) -> int:
    length, heads = params.integer("length"), params.integer("batch") * params.integer("heads")
    return (4 * heads * length * params.integer("head_dim") + 4 * heads * length**2) * itemsize(params)


def _flash_bytes(params: Params) -> int:
    rows = params.integer("batch") * params.integer("length") * params.integer("head_dim")
    return 2 * (params.integer("heads") + params.integer("kv_heads")) * rows * itemsize(params)


def _decode_bytes(params: Params) -> int:
    one = params.integer("batch") * params.integer("head_dim") * itemsize(params)
    return 2 * one * (params.integer("kv_heads") * params.integer("length") + params.integer("heads"))


def _require_dtype(device: ArrayDevice, dtype: str) -> None:
    if device.info.kind is DeviceKind.CPU and dtype != "float32":
        raise CaseFailure(
            Outcome.UNSUPPORTED, f"dtype {dtype} has no arithmetic worth timing on a CPU; use float32, or device cuda"
        )


_CAUSAL: Axes = {"causal": (False, True)}


@benchmark(
    name="naive",
    suite="attention",
    summary="softmax(Q K^T) V with the scores in memory; counts 4 operations a pair and element, half if causal",
    parameters={
        _SHAPE: ((1, 4, 256, 64),),
        **_CAUSAL,
        "dtype": ("float32", "float16", "bfloat16"),
    },
    device_tiers={
        "cpu": {"smoke": {"causal": (True,), "dtype": ("float32",)}, "full": _CAUSAL},
        "cuda": {
            "smoke": {_SHAPE: ((4, 16, 2048, 128),), "causal": (True,), "dtype": ("bfloat16",)},
            "regression": _CAUSAL,
            "full": {_SHAPE: ((16, 16, 1024, 128), (4, 16, 2048, 128), (1, 16, 8192, 128)), "dtype": ("bfloat16",)},
        },
        "simulated": {"smoke": {_SHAPE: ((4, 16, 2048, 128),), "causal": (True,), "dtype": ("bfloat16",)}},
    },
    flops=_flops,
    bytes=_naive_bytes,
    tolerance=lambda params: LIMITS[params.text("dtype")],
)
def naive(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work: two batched products and a softmax between them."""
    _require_dtype(device, params.text("dtype"))
    heads = _heads(params, queries=params.integer("length"))
    if device.info.kind is DeviceKind.CUDA:
        from tesserabench.bench.workloads.attention_cuda import CudaNaive  # noqa: PLC0415 - it needs NumPy

        return CudaNaive(device, heads, seed)
    from tesserabench.bench.workloads.attention_work import CpuNaive  # noqa: PLC0415 - it needs NumPy

    return CpuNaive(device, heads, seed)


_PROMPT = (4, 16, 16, 4096, 128)
_PROMPTS = ((16, 16, 16, 1024, 128), _PROMPT, (1, 16, 16, 16384, 128), (4, 32, 32, 4096, 64), (4, 32, 8, 4096, 128))


@benchmark(
    name="flash",
    suite="attention",
    summary="the same without the scores, by our own tensor-core kernel; counts as the naive form does",
    parameters={_GROUPED: (_PROMPT,), **_CAUSAL, "dtype": ("bfloat16", "float16")},
    tiers={
        "smoke": {"dtype": ("bfloat16",)},
        "regression": {_GROUPED: _PROMPTS},
        "full": {"dtype": ("bfloat16", "float16")},
    },
    devices=("cuda", "simulated"),
    flops=_flops,
    bytes=_flash_bytes,
    tolerance=lambda params: LIMITS[params.text("dtype")],
)
def flash(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work: one kernel."""
    from tesserabench.bench.workloads.attention_cuda import CudaFlash  # noqa: PLC0415 - it needs NumPy

    return CudaFlash(device, _heads(params, queries=params.integer("length")), seed)


@benchmark(
    name="decode",
    suite="attention",
    summary="one query a sequence over its cache of keys and values; counts 4 operations a pair and element",
    parameters={_GROUPED: ((2, 8, 2, 512, 64),), "dtype": ("bfloat16", "float16", "float32")},
    device_tiers={
        "cpu": {"smoke": {"dtype": ("float32",)}},
        "cuda": {
            "smoke": {_GROUPED: ((16, 32, 8, 8192, 128),), "dtype": ("bfloat16",)},
            "regression": {_GROUPED: ((1, 32, 8, 32768, 128), (16, 32, 8, 8192, 128), (64, 32, 32, 1024, 128))},
            "full": {"dtype": ("bfloat16", "float16")},
        },
        "simulated": {"smoke": {_GROUPED: ((16, 32, 8, 8192, 128),), "dtype": ("bfloat16",)}},
    },
    flops=lambda params: (
        4 * params.integer("batch") * params.integer("heads") * params.integer("length") * params.integer("head_dim")
    ),
    bytes=_decode_bytes,
    tolerance=lambda params: LIMITS[params.text("dtype")],
    device_modes={"cuda": "cold"},
)
def decode(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work: a pass over the cache, split over blocks, and a kernel that joins the parts."""
    _require_dtype(device, params.text("dtype"))
    heads = _heads(params, queries=1)
    if device.info.kind is DeviceKind.CUDA:
        from tesserabench.bench.workloads.attention_cuda import CudaDecode  # noqa: PLC0415 - it needs NumPy

        return CudaDecode(device, heads, seed)
    from tesserabench.bench.workloads.attention_work import CpuDecode  # noqa: PLC0415 - it needs NumPy

    return CpuDecode(device, heads, seed)
