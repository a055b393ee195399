"""The NumPy work of the primitives suite, and the arrays and checks that its CUDA form shares."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum, integers, normal, uniform
from tesserabench.bench.vocabulary import DeviceKind
from tesserabench.bench.workloads.arrays import WHOLE_ELEMENTS, pick, poison, to_host

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays

SMALL = 8
"""Whole numbers to be summed are below this, so that no sum of fewer than 2^28 of them overflows."""
CHECKED_ROWS = 64
"""Rows of which the largest are found again on the host."""


class Scan:
    """b = the inclusive sum of a."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        self.count, self.dtype = params.integer("n"), params.text("dtype")
        if self.dtype == "int32":
            self.a: Any = integers(self.xp, self.count, self.dtype, below=SMALL, seed=seed)
        else:
            self.a = uniform(self.xp, self.count, self.dtype, seed=seed)
        self.b: Any = self.xp.empty(self.count, dtype=self.dtype)

    def launch(self) -> None:
        """Scan once."""
        np.cumsum(self.a, dtype=self.a.dtype, out=self.b)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.a)

    def poison(self) -> None:
        """Fill the target with 0xFF: minus one or NaN."""
        poison(self.b)

    def outputs(self) -> "HostArrays":
        """Return the checked sums."""
        return {"b": pick(self.xp, self.b)}

    def reference(self) -> "HostArrays":
        """Return the same, summed in int64 or float64."""
        wide = np.int64 if self.dtype == "int32" else np.float64
        return {"b": pick(np, np.cumsum(to_host(self.a), dtype=wide))}


class Sort:
    """y = x in ascending order: a copy, then a sort in place."""

    capturable = False
    """CuPy's sort allocates while it runs."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        count, dtype = params.integer("n"), params.text("dtype")
        if dtype == "float32":
            self.x: Any = normal(self.xp, count, dtype, seed=seed)
        else:
            self.x = integers(self.xp, count, "uint32", below=2**32, seed=seed)
        if dtype == "uint64":
            # The payload is where the key came from.
            keys = self.x.astype("uint64") << self.xp.uint64(32)
            self.x = keys | self.xp.arange(count, dtype="uint64")
        self.y: Any = self.xp.empty_like(self.x)

    def launch(self) -> None:
        """Copy and sort."""
        self.y[...] = self.x
        self.y.sort()

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.x)

    def poison(self) -> None:
        """Fill the target with 0xFF."""
        poison(self.y)

    def outputs(self) -> "HostArrays":
        """Return the checked elements of the sorted array."""
        return {"y": pick(self.xp, self.y)}

    def reference(self) -> "HostArrays":
        """Return the same, sorted on the host."""
        return {"y": pick(np, np.sort(to_host(self.x)))}


class Histogram:
    """How many values fall into each bin."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        self.count, self.bins = params.integer("n"), params.integer("bins")
        kind = params.text("distribution")
        self.values: Any = integers(self.xp, self.count, "uint32", below=2**32, seed=seed)
        if kind == "skewed":
            self.values[uniform(self.xp, self.count, "float32", seed=seed, stream=1) < 0.5] = 3
        elif kind == "constant":
            self.values.fill(3)
        self.counts: Any = self.xp.empty(self.bins, dtype="uint32")

    def launch(self) -> None:
        """Count once; NumPy's bincount makes temporary arrays, which is part of its cost."""
        np.copyto(self.counts, np.bincount(self.values % np.uint32(self.bins), minlength=self.bins), casting="unsafe")

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.values)

    def poison(self) -> None:
        """Fill the counts with 0xFF."""
        poison(self.counts)

    def outputs(self) -> "HostArrays":
        """Return the counts."""
        return {"counts": to_host(self.counts).copy()}

    def reference(self) -> "HostArrays":
        """Return the counts, one value after the other, on the host."""
        values, counts = to_host(self.values), np.zeros(self.bins, dtype=np.int64)
        for start in range(0, self.count, WHOLE_ELEMENTS):
            np.add.at(counts, values[start : start + WHOLE_ELEMENTS] % np.uint32(self.bins), 1)
        return {"counts": counts}


class TopK:
    """The k largest of each row, in descending order."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        self.rows, self.columns, self.k = params.integer("rows"), params.integer("columns"), params.integer("k")
        flat = normal(self.xp, self.rows * self.columns, "float32", seed=seed)
        self.x: Any = flat.reshape(self.rows, self.columns)
        self.values: Any = self.xp.empty((self.rows, self.k), dtype="float32")
        self._work: Any = None if device.info.kind is DeviceKind.CUDA else np.empty_like(self.x)
        self.checked = np.unique(np.linspace(0, self.rows - 1, num=min(self.rows, CHECKED_ROWS)).astype(np.int64))

    def launch(self) -> None:
        """Partition a copy of every row, then sort what was found."""
        np.copyto(self._work, self.x)
        self._work.partition(self.columns - self.k, axis=1)
        np.negative(self._work[:, self.columns - self.k :], out=self.values)
        self.values.sort(axis=1)
        np.negative(self.values, out=self.values)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.x)

    def poison(self) -> None:
        """Fill the result with NaN patterns."""
        poison(self.values)

    def outputs(self) -> "HostArrays":
        """Return the checked rows, and how many rows of all are not in order."""
        values = to_host(self.values)
        with np.errstate(invalid="ignore"):
            wrong = np.count_nonzero(~(values[:, :-1] >= values[:, 1:]).all(axis=1) | ~np.isfinite(values).all(axis=1))
        return {"values": values[self.checked], "disordered": np.array([wrong], dtype=np.float64)}

    def reference(self) -> "HostArrays":
        """Return the same rows from a stable sort on the host."""
        rows = self.host_rows()
        return {"values": np.take_along_axis(rows, largest(rows, self.k), axis=1), "disordered": np.zeros(1)}

    def host_rows(self) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        """Return the checked rows of the input."""
        return to_host(self.x[self.xp.asarray(self.checked)])


def largest(
    rows: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", k: int
) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """Return the columns of the k largest of every row, largest first, of equal ones the smaller column first."""
    return np.argsort(-rows, axis=1, kind="stable")[:, :k]
