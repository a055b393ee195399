"""The work of sparse products: a matrix made from its parameters and a seed, and y = A x."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum, normal, uniform
from tesserabench.bench.workloads.arrays import poison, to_host

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays

THREADS = 256
BLOCKS_PER_PROCESSOR = 16


def row_lengths(rows: int, per_row: int, pattern: str) -> "npt.NDArray[np.int64]":
    """Return the entries of each row: at least one, and rows x per_row together.

    A power law takes the quantiles of a Pareto distribution with exponent 2, whose mean is `per_row`, in an order that
    spreads long rows over the matrix.
    """
    if pattern == "banded":
        return np.full(rows, per_row, dtype=np.int64)
    quantile = (np.arange(rows) + 0.5) / rows
    lengths = 1 + np.floor(0.5 * (per_row - 1) * quantile**-0.5).astype(np.int64)
    lengths = np.minimum(lengths, rows)
    # Rounding down and the cut leave some entries over: they go to all rows alike, from the shortest on.
    each, rest = divmod(rows * per_row - int(lengths.sum()), rows)
    lengths += each
    lengths[rows - rest :] += 1
    return lengths[np.argsort(uniform(np, rows, "float64", seed=rows), kind="stable")]


class Matrix:
    """A, x, y and the checks."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = xp = device.xp
        self.rows, per_row, dtype = params.integer("rows"), params.integer("per_row"), params.text("dtype")
        pattern = params.text("pattern")
        lengths = row_lengths(self.rows, per_row, pattern)
        begins = np.concatenate(([0], np.cumsum(lengths)))
        self.begins: Any = xp.asarray(begins.astype(np.int32))
        entries = self.rows * per_row
        if pattern == "banded":
            columns = (np.arange(entries) // per_row + np.arange(entries) % per_row - per_row // 2) % self.rows
            self.columns: Any = xp.asarray(columns.astype(np.int32))
        else:
            self.columns = xp.floor(uniform(xp, entries, "float64", seed=seed, stream=2) * self.rows).astype("int32")
        self.values: Any = normal(xp, entries, dtype, seed=seed, stream=0)
        self.x: Any = normal(xp, self.rows, dtype, seed=seed, stream=1)
        self.y: Any = xp.empty(self.rows, dtype=dtype)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.begins, self.columns, self.values, self.x)

    def poison(self) -> None:
        """Fill the result with NaN patterns."""
        poison(self.y)

    def outputs(self) -> "HostArrays":
        """Return the whole result."""
        return {"y": to_host(self.y).copy()}

    def reference(self) -> "HostArrays":
        """Return the same, in float64 on the host."""
        products = to_host(self.x).astype(np.float64)[to_host(self.columns)]
        products *= to_host(self.values)
        return {"y": np.add.reduceat(products, to_host(self.begins)[:-1].astype(np.int64))}


class Spmv(Matrix):
    """Three NumPy calls over all entries."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._products = np.empty_like(self.values)
        self._starts = self.begins[:-1].astype(np.int64)

    def launch(self) -> None:
        """Multiply once: take, multiply, and sum the runs of the rows."""
        np.take(self.x, self.columns, out=self._products, mode="clip")
        np.multiply(self._products, self.values, out=self._products)
        np.add.reduceat(self._products, self._starts, out=self.y)


class CudaSpmv(Matrix):
    """One warp for each row."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        element = {"float32": "float", "float64": "double"}[params.text("dtype")]
        self._kernel: Any = device.kernel("spmv", "spmv", defines={"ELEMENT": element})
        most = (device.info.processors or 1) * BLOCKS_PER_PROCESSOR
        self._grid = (min(most, -(-self.rows * 32 // THREADS)),)
        self._count = np.uint32(self.rows)

    def launch(self) -> None:
        """Enqueue one product."""
        arrays = (self.begins, self.columns, self.values, self.x, self.y)
        self._kernel(self._grid, (THREADS,), (*arrays, self._count))
