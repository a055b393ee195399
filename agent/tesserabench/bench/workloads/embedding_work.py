"""The work of embedding look-ups."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum, normal, uniform
from tesserabench.bench.workloads.arrays import checked_indices, pick, poison, to_host, unwritten
from tesserabench.bench.workloads.memory_cuda import THREADS, grid_of

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays

PACKS = {16: "uint4", 8: "uint2", 4: "unsigned int", 2: "unsigned short"}
"""CUDA's type for an access of so many bytes, widest first."""
SPREAD = 0x9E3779B1
"""An odd number that no usual table size divides: frequent rows lie far apart."""


class Gather:
    """out[i] = table[rows[i]]."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        rows, self.lookups = params.integer("rows"), params.integer("lookups")
        self.width, dtype = params.integer("width"), params.text("dtype")
        self.table: Any = normal(self.xp, rows * self.width, dtype, seed=seed).reshape(rows, self.width)
        self.rows: Any = chosen_rows(
            self.xp, rows, self.lookups, seed=seed, zipf=params.text("distribution") == "zipf"
        ).astype("int32")
        self.out: Any = self.xp.empty((self.lookups, self.width), dtype=dtype)

    def launch(self) -> None:
        """Gather once; mode clip is the one that needs no buffer."""
        np.take(self.table, self.rows, axis=0, out=self.out, mode="clip")

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.table, self.rows)

    def poison(self) -> None:
        """Fill the result with NaN patterns."""
        poison(self.out)

    def outputs(self) -> "HostArrays":
        """Return the checked elements, and how many of all are not finite."""
        flat = self.out.reshape(-1)
        return {"out": pick(self.xp, flat), "unwritten": unwritten(self.xp, flat)}

    def reference(self) -> "HostArrays":
        """Return the same elements of the table."""
        lookup, column = np.divmod(checked_indices(self.lookups * self.width), self.width)
        row = self.rows[self.xp.asarray(lookup)]
        exact = to_host(self.table[row, self.xp.asarray(column)])
        return {"out": exact.astype(np.float64), "unwritten": np.zeros(1)}


class CudaGather(Gather):
    """The widest accesses that rows allow, one for each thread and step."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        row_bytes = self.width * self.table.itemsize
        size = next(size for size in PACKS if row_bytes % size == 0)
        self._kernel: Any = device.kernel("embedding", "embedding", defines={"PACK": PACKS[size]})
        self._grid = grid_of(device)
        packs = row_bytes // size
        self._tail = (np.uint64(self.lookups * packs), np.uint32(packs))

    def launch(self) -> None:
        """Enqueue all look-ups."""
        self._kernel(self._grid, (THREADS,), (self.table, self.rows, self.out, *self._tail))


def chosen_rows(xp: Any, rows: int, lookups: int, *, seed: int, zipf: bool) -> Any:
    """Return which row each look-up asks for: every one alike, or the r-th most frequent in proportion to 1 / r."""
    u = uniform(xp, lookups, "float64", seed=seed, stream=1)
    if not zipf:
        return xp.floor(u * rows).astype("int64")
    # The distribution function of 1 / r grows like log r; its inverse is a power.
    rank = xp.floor((rows + 1.0) ** u).astype("int64") - 1
    return (xp.minimum(rank, rows - 1) * SPREAD) % rows
