"""Matrix products: their operands, how they are checked, and the work of a CPU."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.dtypes import PRODUCT_DTYPE, product_limit
from tesserabench.bench.inputs import checksum, normal
from tesserabench.bench.workloads.arrays import poison, to_host
from tesserabench.bench.workloads.elements import decode, normal_inputs, storage

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays

CHECKED_ROWS = 64
"""Rows compared in float64 when the whole product is too large to be computed again."""
WHOLE_LIMIT = 1024
"""Largest number of rows for which the whole product is computed again."""
CHECKED_BATCHES = 16
CHUNK_ELEMENTS = 1 << 22
"""Elements that are widened to float64 at a time."""
SUSPICIOUS = 3.0
"""A row's product with a random vector may be off by this many times the limit of the whole; rounding stays far below,
a wrong part of a row does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """C = A B for row-major A (m, k), B (k, n) and C (m, n), `batch` times.

    A transposed operand is stored the other way round: A as (k, m), B as (n, k).
    """

    m: int
    n: int
    k: int
    dtype: str
    batch: int = 1
    a_transposed: bool = False
    b_transposed: bool = False

    @property
    def written(self) -> str:
        """The dtype of C."""
        return PRODUCT_DTYPE.get(self.dtype, self.dtype)

    @property
    def a_shape(self) -> tuple[int, int, int]:
        """How A is stored."""
        return (self.batch, self.k, self.m) if self.a_transposed else (self.batch, self.m, self.k)

    @property
    def b_shape(self) -> tuple[int, int, int]:
        """How B is stored."""
        return (self.batch, self.n, self.k) if self.b_transposed else (self.batch, self.k, self.n)


class ProductWork:
    """The operands of a product and its checks; whoever inherits multiplies."""

    def __init__(self, device: ArrayDevice, product: Product, seed: int) -> None:
        self.xp, self.product = device.xp, product
        shape, dtype = product, product.dtype
        left, right = shape.batch * shape.m * shape.k, shape.batch * shape.k * shape.n
        self.a: Any = normal_inputs(self.xp, left, dtype, seed=seed, stream=0).reshape(shape.a_shape)
        self.b: Any = normal_inputs(self.xp, right, dtype, seed=seed, stream=1).reshape(shape.b_shape)
        self.c: Any = self.xp.empty((shape.batch, shape.m, shape.n), dtype=storage(shape.written))
        whole = shape.m <= WHOLE_LIMIT
        self._rows = np.unique(np.linspace(0, shape.m - 1, num=shape.m if whole else CHECKED_ROWS).astype(np.int64))
        self._batches = np.unique(np.linspace(0, shape.batch - 1, num=CHECKED_BATCHES).astype(np.int64))
        # Signs, so that a wrong element counts with its whole size and integers stay exact.
        self._probe: Any = self.xp.where(normal(self.xp, shape.n, "float64", seed=seed, stream=2) < 0, -1.0, 1.0)
        self._expected: npt.NDArray[np.float64] | None = None

    def launch(self) -> None:
        """Multiply once."""
        raise NotImplementedError

    def poison(self) -> None:
        """Fill C with 0xFF bytes."""
        poison(self.c)

    def checksum(self) -> str:
        """Return a digest of A and B."""
        return checksum(self.xp, self.a, self.b)

    def outputs(self) -> "HostArrays":
        """Return the compared rows of C; C times a random vector (Freivalds 1977); and how many rows of that are wrong.

        The vector is multiplied element by element in float64, without the library under test.
        """
        wanted = self.xp.asarray(self._rows)
        picked = np.stack([to_host(self.c[int(batch)][wanted]) for batch in self._batches])
        rows = decode(np, picked, self.product.written)
        found = to_host(times_vector(self.xp, self.c, self.product.written, self._probe, transposed=False))
        return {"rows": self._squeeze(rows), "product": self._squeeze(found), "wrong_rows": self._wrong_rows(found)}

    def reference(self) -> "HostArrays":
        """Return the same from A and B in float64."""
        rows = np.stack([to_host(self._exact_rows(int(batch))) for batch in self._batches])
        return {"rows": self._squeeze(rows), "product": self._squeeze(self._exact_product()), "wrong_rows": np.zeros(1)}

    def _squeeze(self, array: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
        return array[0] if self.product.batch == 1 else array

    def _exact_product(self) -> "npt.NDArray[np.float64]":
        """Return A (B v), in float64 (batch, m)."""
        if self._expected is None:
            shape = self.product
            inner = times_vector(self.xp, self.b, shape.dtype, self._probe, transposed=shape.b_transposed)
            outer = times_vector(self.xp, self.a, shape.dtype, inner, transposed=shape.a_transposed)
            self._expected = np.asarray(to_host(outer))
        return self._expected

    def _wrong_rows(self, found: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
        exact = self._exact_product()
        scale = float(np.sqrt(np.mean(np.square(exact))))
        allowed = SUSPICIOUS * product_limit(self.product.dtype, self.product.k) * scale
        # Written so that a NaN counts as wrong.
        return np.array([np.count_nonzero(~(np.abs(found - exact) <= allowed))], dtype=np.float64)

    def _exact_rows(self, batch: int) -> Any:
        """Return the compared rows of one product in float64, without ever widening all of B."""
        shape, xp = self.product, self.xp
        picked = xp.asarray(self._rows)
        rows = self.a[batch][:, picked].T if shape.a_transposed else self.a[batch][picked]
        left, right = decode(xp, rows, shape.dtype), self.b[batch]
        total = xp.zeros((len(self._rows), shape.n), dtype="float64")
        step = max(1, CHUNK_ELEMENTS // right.shape[1])
        for start in range(0, right.shape[0], step):
            part = decode(xp, right[start : start + step], shape.dtype)
            if shape.b_transposed:
                total[:, start : start + step] = left @ part.T
            else:
                total += left[:, start : start + step] @ part
        return total


def times_vector(xp: Any, matrices: Any, dtype: str, vector: Any, *, transposed: bool) -> Any:
    """Return each (rows, columns) matrix of a batch, or its transpose, times a vector, in float64 (batch, length).

    `vector` is float64, one for all, or one for each matrix. Only elementwise products and sums are used.
    """
    batch, rows, columns = matrices.shape
    vectors = xp.broadcast_to(vector, (batch, rows if transposed else columns))
    result = xp.zeros((batch, columns if transposed else rows), dtype="float64")
    step = max(1, CHUNK_ELEMENTS // columns)
    group = max(1, step // rows)
    for first in range(0, batch, group):
        some = slice(first, first + group)
        for start in range(0, rows, step):
            part = slice(start, start + step)
            wide = decode(xp, matrices[some, part], dtype)
            if transposed:
                result[some] += (wide * vectors[some, part, None]).sum(axis=1)
            else:
                result[some, part] = (wide * vectors[some, None, :]).sum(axis=2)
    return result


class CpuProduct(ProductWork):
    """The product by NumPy's BLAS."""

    def __init__(self, device: ArrayDevice, product: Product, seed: int) -> None:
        super().__init__(device, product, seed)
        left = self.a.swapaxes(1, 2) if product.a_transposed else self.a
        right = self.b.swapaxes(1, 2) if product.b_transposed else self.b
        single = product.batch == 1
        self._multiply = np.dot if single else np.matmul
        self._operands = (left[0], right[0]) if single else (left, right)
        self._result = self.c[0] if single else self.c

    def launch(self) -> None:
        """Multiply once, without allocating."""
        self._multiply(*self._operands, out=self._result)
