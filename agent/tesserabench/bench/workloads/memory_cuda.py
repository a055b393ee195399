"""The memory suite on CUDA: the same arrays and checks, moved by our own kernels."""

from typing import Any

from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.workloads.memory_work import SCALAR, Copy, Reduction, Triad

THREADS = 256
BLOCKS_PER_PROCESSOR = 16
ELEMENTS = {"float32": "float", "float64": "double"}


def grid_of(device: ArrayDevice) -> tuple[int]:
    """Return as many blocks as keep every multiprocessor full, whatever the length of the arrays."""
    return ((device.info.processors or 1) * BLOCKS_PER_PROCESSOR,)


class CudaCopy(Copy):
    """b = a, sixteen bytes a thread and step."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._kernel: Any = device.kernel("copy", "copy", defines={"ELEMENT": ELEMENTS[params.text("dtype")]})
        self._grid = grid_of(device)
        self._count = self.xp.uint64(params.integer("n"))

    def launch(self) -> None:
        """Enqueue one copy."""
        self._kernel(self._grid, (THREADS,), (self.a, self.b, self._count))


class CudaTriad(Triad):
    """c = a + s b, fused."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        dtype = params.text("dtype")
        self._kernel: Any = device.kernel("triad", "triad", defines={"ELEMENT": ELEMENTS[dtype]})
        self._grid = grid_of(device)
        self._scalar = self.xp.dtype(dtype).type(SCALAR)
        self._count = self.xp.uint64(params.integer("n"))

    def launch(self) -> None:
        """Enqueue one triad."""
        self._kernel(self._grid, (THREADS,), (self.a, self.b, self.c, self._scalar, self._count))


class CudaReduction(Reduction):
    """The sum in two passes of fixed shape, so that the result is the same every time."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        dtype = params.text("dtype")
        self._kernel: Any = device.kernel("reduction", "reduction", defines={"ELEMENT": ELEMENTS[dtype]})
        self._grid = grid_of(device)
        self._partial: Any = self.xp.empty(self._grid[0], dtype=dtype)
        self._count = self.xp.uint64(params.integer("n"))
        self._partials = self.xp.uint64(self._grid[0])

    def launch(self) -> None:
        """Enqueue both passes."""
        self._kernel(self._grid, (THREADS,), (self.a, self._partial, self._count))
        self._kernel((1,), (THREADS,), (self._partial, self.sum, self._partials))
