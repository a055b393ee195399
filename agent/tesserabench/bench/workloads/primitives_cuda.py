"""The primitives suite on CUDA: our own kernels, and CuPy's sort."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.workloads.arrays import poison, to_host
from tesserabench.bench.workloads.primitives_work import Histogram, Scan, Sort, TopK, largest

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays

THREADS = 256
SCAN_MOST_BLOCKS = 1024
"""Blocks whose sums one block can scan, fixed in the kernel's source."""
SCAN_BLOCKS_PER_PROCESSOR = 7
"""As many as are resident together, and no more than 1024 on any device of up to 146 multiprocessors."""
ELEMENTS = {"int32": "int", "float32": "float", "float64": "double"}
NARROW_ROW = 1024
"""Rows up to this length are taken by one warp each."""


class CudaScan(Scan):
    """Reduce, scan the sums, apply: three launches of fixed shape."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        define = {"ELEMENT": ELEMENTS[self.dtype]}
        self._reduce: Any = device.kernel("scan", "scan_reduce", defines=define)
        self._sums: Any = device.kernel("scan", "scan_sums", defines=define)
        self._runs: Any = device.kernel("scan", "scan_runs", defines=define)
        width = 16 // self.a.itemsize
        blocks = min(SCAN_MOST_BLOCKS, (device.info.processors or 1) * SCAN_BLOCKS_PER_PROCESSOR)
        # Whole steps of a block, so that only the last run has a ragged end.
        packs = -(-self.count // (blocks * THREADS * width)) * THREADS
        self.blocks = -(-self.count // (packs * width))
        self._partial: Any = self.xp.empty(self.blocks, dtype=self.dtype)
        self._lengths = (np.uint64(self.count), np.uint64(packs))

    def launch(self) -> None:
        """Enqueue the three passes."""
        self._reduce((self.blocks,), (THREADS,), (self.a, self._partial, *self._lengths))
        self._sums((1,), (SCAN_MOST_BLOCKS,), (self._partial, np.uint32(self.blocks)))
        self._runs((self.blocks,), (THREADS,), (self.a, self.b, self._partial, *self._lengths))


class CudaSort(Sort):
    """A device copy and CuPy's sort (Thrust's radix sort), which allocates from the pool."""


class CudaHistogram(Histogram):
    """Counts in shared memory, then atomics: two launches."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        define = {"BINS": str(self.bins)}
        self._clear: Any = device.kernel("histogram", "histogram_clear", defines=define)
        self._kernel: Any = device.kernel("histogram", "histogram", defines=define)
        self._grid = ((device.info.processors or 1) * 8,)

    def launch(self) -> None:
        """Enqueue clearing and counting."""
        self._clear((-(-self.bins // THREADS),), (THREADS,), (self.counts,))
        self._kernel(self._grid, (THREADS,), (self.values, self.counts, np.uint64(self.count)))


class CudaTopK(TopK):
    """A warp or a block for each row; gives the columns too."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._threads = 32 if self.columns <= NARROW_ROW else THREADS
        define = {"K": str(self.k), "THREADS": str(self._threads)}
        self._kernel: Any = device.kernel("topk", "topk", defines=define)
        self.indices: Any = self.xp.empty((self.rows, self.k), dtype="uint32")
        self._shape = (np.uint32(self.rows), np.uint32(self.columns))

    def launch(self) -> None:
        """Enqueue all rows."""
        self._kernel((self.rows,), (self._threads,), (self.x, self.values, self.indices, *self._shape))

    def poison(self) -> None:
        """Fill values and columns with 0xFF."""
        super().poison()
        poison(self.indices)

    def outputs(self) -> "HostArrays":
        """Return the checked rows of both, and how many rows of all are not in order."""
        return {**super().outputs(), "indices": to_host(self.indices)[self.checked]}

    def reference(self) -> "HostArrays":
        """Return the same from a stable sort on the host."""
        return {**super().reference(), "indices": largest(self.host_rows(), self.k)}
