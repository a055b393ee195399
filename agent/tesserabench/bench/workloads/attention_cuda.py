"""Attention on CUDA: by cuBLASLt and a softmax, by a fused tensor-core kernel, and for single queries."""

import math
from typing import Any

import numpy as np
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome
from tesserabench.bench.workloads.attention_work import AttentionWork, Heads
from tesserabench.bench.workloads.cublaslt import LtProduct
from tesserabench.bench.workloads.elements import storage
from tesserabench.bench.workloads.gemm_cuda import ColumnMajor, address
from tesserabench.bench.workloads.gemm_work import Product
from tesserabench.bench.workloads.norm_cuda import shape_of

LOG2_E = 1.4426950408889634
FLASH_ROWS, FLASH_KEYS, FLASH_THREADS = 128, 64, 128
"""As in kernels/attention_flash.cu."""
HEAD_DIMS = (64, 128)
DECODE_THREADS = 128
DECODE_GROUPS = tuple(range(1, 9))
BLOCKS_PER_PROCESSOR = 4
LEAST_SPLIT = 256
"""Keys a block of decode has at least: fewer are not worth joining."""


def _require(name: str, value: int, allowed: tuple[int, ...]) -> None:
    if value not in allowed:
        raise CaseFailure(
            Outcome.UNSUPPORTED, f"{name} is {value}; the kernel is made for: {', '.join(map(str, allowed))}"
        )


def _require_half(dtype: str) -> None:
    if dtype not in {"float16", "bfloat16"}:
        raise CaseFailure(Outcome.UNSUPPORTED, f"dtype is {dtype}; the kernel is made for: float16, bfloat16")


class CudaNaive(AttentionWork):
    """Q K^T by cuBLASLt, the softmax in place by our kernel, P V by cuBLASLt."""

    capturable = True

    def __init__(self, device: ArrayDevice, heads: Heads, seed: int) -> None:
        super().__init__(device, heads, seed)
        count = heads.batch * heads.heads
        self._scores: Any = device.xp.empty((count, heads.queries, heads.keys), dtype=storage(heads.dtype))
        shape = shape_of(heads.keys, heads.dtype)
        if not shape.fits:
            raise CaseFailure(
                Outcome.UNSUPPORTED, f"length is {heads.keys}; a row of scores must fit into the registers of a block"
            )
        self._kernel: Any = device.kernel("attention_softmax", "attention_softmax", defines=shape.defines(heads.dtype))
        self._shape = (shape.grid(count * heads.queries), (shape.block,))
        self._arguments = (
            self._scores,
            np.uint64(count * heads.queries),
            np.uint32(heads.keys),
            np.uint32(heads.queries),
            np.int32(heads.causal),
            np.float32(heads.scale * LOG2_E),
        )
        first = Product(
            m=heads.queries, n=heads.keys, k=heads.head_dim, dtype=heads.dtype, batch=count, b_transposed=True
        )
        second = Product(m=heads.queries, n=heads.head_dim, k=heads.keys, dtype=heads.dtype, batch=count)
        self._products = [
            LtProduct(device.xp, ColumnMajor.of(product), batch=count, operands=tuple(map(address, operands)))
            for product, operands in ((first, (self.k, self.q, self._scores)), (second, (self.v, self._scores, self.o)))
        ]

    def launch(self) -> None:
        """Enqueue all three."""
        self._products[0].enqueue()
        self._kernel(*self._shape, self._arguments)
        self._products[1].enqueue()

    def close(self) -> None:
        """Give the products' descriptors back."""
        for product in self._products:
            product.close()


class CudaFlash(AttentionWork):
    """One kernel; the scores never leave the registers."""

    def __init__(self, device: ArrayDevice, heads: Heads, seed: int) -> None:
        _require("head_dim", heads.head_dim, HEAD_DIMS)
        _require_half(heads.dtype)
        super().__init__(device, heads, seed)
        defines = {"ELEMENT": heads.dtype, "HEAD_DIM": str(heads.head_dim), "CAUSAL": str(int(heads.causal))}
        self._kernel: Any = device.kernel("attention_flash", "attention_flash", defines=defines)
        self._grid = (math.ceil(heads.queries / FLASH_ROWS), heads.heads, heads.batch)
        self._shared = (FLASH_ROWS + 2 * FLASH_KEYS) * heads.head_dim * 2
        sizes = map(np.int32, (heads.queries, heads.keys, heads.group))
        self._arguments = (self.q, self.k, self.v, self.o, *sizes, np.float32(heads.scale * LOG2_E))

    def launch(self) -> None:
        """Enqueue it."""
        self._kernel(self._grid, (FLASH_THREADS,), self._arguments, shared_mem=self._shared)


class CudaDecode(AttentionWork):
    """A kernel over parts of every cache, and one that joins the parts."""

    def __init__(self, device: ArrayDevice, heads: Heads, seed: int) -> None:
        _require("head_dim", heads.head_dim, HEAD_DIMS)
        _require("heads for each of kv_heads", heads.group, DECODE_GROUPS)
        _require_half(heads.dtype)
        super().__init__(device, heads, seed)
        splits, part = split(heads, device.info.processors or 1)
        defines = {"ELEMENT": heads.dtype, "HEAD_DIM": str(heads.head_dim), "GROUP": str(heads.group)}
        self._attend: Any = device.kernel("attention_decode", "attention_decode", defines=defines)
        self._join: Any = device.kernel("attention_decode", "attention_decode_join", defines=defines)
        count = heads.batch * heads.heads * splits
        self._parts: Any = device.xp.empty((count, heads.head_dim), dtype="float32")
        self._statistics: Any = device.xp.empty((count, 2), dtype="float32")
        self._attend_grid = (splits, heads.kv_heads, heads.batch)
        self._attend_arguments = (
            *(self.q, self.k, self.v, self._parts, self._statistics),
            *(np.int32(heads.keys), np.int32(part), np.float32(heads.scale * LOG2_E)),
        )
        self._join_grid = (heads.heads, heads.batch)
        self._join_arguments = (self._parts, self._statistics, self.o, np.int32(splits))

    def launch(self) -> None:
        """Enqueue both."""
        self._attend(self._attend_grid, (DECODE_THREADS,), self._attend_arguments)
        self._join(self._join_grid, (self.heads.head_dim,), self._join_arguments)


def split(heads: Heads, processors: int) -> tuple[int, int]:
    """Return into how many parts a cache is cut, and the keys of a part, so that all processors have work."""
    wanted = math.ceil(BLOCKS_PER_PROCESSOR * processors / (heads.batch * heads.kv_heads))
    most = math.ceil(heads.keys / LEAST_SPLIT)
    part = math.ceil(heads.keys / max(1, min(wanted, most)))
    return math.ceil(heads.keys / part), part
