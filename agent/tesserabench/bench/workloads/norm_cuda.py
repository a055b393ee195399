"""The norm suite on CUDA: one launch of our own kernel, with the row in registers wherever it fits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.dtypes import ITEMSIZE
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome
from tesserabench.bench.workloads.norm_work import (
    LAYER_EPSILON,
    RMS_EPSILON,
    LayerNorm,
    ResidualRmsNorm,
    RmsNorm,
    RowWork,
    Softmax,
)

PACK_BYTES = 16
MOST_PACKS, MOST_SINGLES = 4, 8
"""Packs a thread holds, and single elements where a row of the most threads is not aligned: more would be spilled."""
LANES = (32, 128, 256, 512, 1024)
BLOCK = 256
"""Threads of a block in which every warp has a row of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowShape:
    """How a row is shared out: `lanes` threads hold `packs` packs of `width` elements each."""

    width: int
    lanes: int
    packs: int
    fits: bool
    """Whether the row fits into registers."""

    @property
    def block(self) -> int:
        """Threads of a block."""
        return max(self.lanes, BLOCK) if self.lanes == LANES[0] else self.lanes

    def grid(self, rows: int) -> tuple[int]:
        """Return how many blocks hold all rows."""
        return (-(-rows // (self.block // self.lanes)),)

    def defines(self, dtype: str) -> dict[str, str]:
        """Return the definitions to compile a kernel with."""
        return {"ELEMENT": dtype, "WIDTH": str(self.width), "LANES": str(self.lanes), "PACKS": str(self.packs)}


def most_packs(width: int) -> int:
    """Return how many packs of so many elements a thread of the largest block holds."""
    return MOST_SINGLES if width == 1 else MOST_PACKS


def shape_of(columns: int, dtype: str) -> RowShape:
    """Return the fewest threads that hold a row; packs are single elements where rows are not aligned to 16 bytes."""
    whole = PACK_BYTES // ITEMSIZE[dtype]
    width = whole if columns % whole == 0 else 1
    count = -(-columns // width)
    for lanes in LANES:
        packs = -(-count // lanes)
        if packs <= (most_packs(width) if lanes == LANES[-1] else MOST_PACKS):
            return RowShape(width=width, lanes=lanes, packs=1 << (packs - 1).bit_length(), fits=True)
    return RowShape(width=width, lanes=LANES[-1], packs=1, fits=False)


class _Launcher:
    """A kernel of `module` for the rows of some work, and the arguments that end every call."""

    def __init__(self, device: ArrayDevice, work: RowWork, module: str, function: str = "") -> None:
        self.shape = shape_of(work.columns, work.dtype)
        name = function or module
        if not self.shape.fits and module == "softmax":
            name = "softmax_streamed"
        elif not self.shape.fits:
            most = LANES[-1] * most_packs(self.shape.width) * self.shape.width
            raise CaseFailure(
                Outcome.UNSUPPORTED,
                f"columns is {work.columns}; rows of dtype {work.dtype} may have at most {most} here "
                "(a row must fit into the registers of one block, and moves in 16 bytes only where they divide it)",
            )
        self._kernel: Any = device.kernel(module, name, defines=self.shape.defines(work.dtype))
        self._grid, self._block = self.shape.grid(work.rows), (self.shape.block,)
        self._size = (np.uint64(work.rows), np.uint32(work.columns))

    def __call__(self, arrays: tuple[Any, ...], *scalars: Any) -> None:
        self._kernel(self._grid, self._block, (*arrays, *self._size, *scalars))


class CudaSoftmax(Softmax):
    """One kernel."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._call = _Launcher(device, self, "softmax")

    def launch(self) -> None:
        """Enqueue it."""
        self._call((self.x, self.written["y"]))


class CudaLayerNorm(LayerNorm):
    """One kernel."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._call = _Launcher(device, self, "layernorm")

    def launch(self) -> None:
        """Enqueue it."""
        self._call((self.x, self.gamma, self.beta, self.written["y"]), np.float32(LAYER_EPSILON))


class CudaRmsNorm(RmsNorm):
    """One kernel."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._call = _Launcher(device, self, "rmsnorm")

    def launch(self) -> None:
        """Enqueue it."""
        self._call((self.x, self.gamma, self.written["y"]), np.float32(RMS_EPSILON))


class CudaResidualRmsNorm(ResidualRmsNorm):
    """One kernel for the sum and its norm."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._call = _Launcher(device, self, "rmsnorm", "residual_rmsnorm")

    def launch(self) -> None:
        """Enqueue it."""
        results = (self.written["h"], self.written["y"])
        self._call((self.x, self.residual, self.gamma, *results), np.float32(RMS_EPSILON))
