"""Stand-ins for cuBLAS in CuPy and for cuBLASLt that multiply in host memory, from the same raw addresses.

They read operands column by column, with leading dimensions, strides and transpositions as told, so that a wrong one
gives a wrong product. `install` puts both in place; `xp` is NumPy with the few names of CuPy that products need.
"""

import ctypes
import sys
import types
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tesserabench.bench.workloads import cublaslt
from tesserabench.bench.workloads.elements import decode, encode, storage
from tesserabench.bench.workloads.gemm_cuda import DATA_TYPES

NAMES = {number: name for name, number in DATA_TYPES.items() if name != "tf32"}
NOT_SUPPORTED = 15
STREAM = 77


def column_major(pointer: int, data_type: int, shape: tuple[int, int], leading: int) -> "npt.NDArray[Any]":
    """Return a view of a column-major matrix in host memory."""
    dtype = np.dtype(storage(NAMES[data_type]))
    count = leading * (shape[1] - 1) + shape[0]
    flat = np.ctypeslib.as_array((ctypes.c_uint8 * (count * dtype.itemsize)).from_address(pointer)).view(dtype)
    return np.lib.stride_tricks.as_strided(flat, shape, (dtype.itemsize, leading * dtype.itemsize))


@dataclass
class Operand:
    """A matrix as a library is told of it."""

    data_type: int
    rows: int
    columns: int
    leading: int
    batch: int = 1
    stride: int = 0

    def read(self, pointer: int, index: int) -> "npt.NDArray[Any]":
        """Return one matrix of the batch as stored."""
        size = np.dtype(storage(NAMES[self.data_type])).itemsize
        place = pointer + index * self.stride * size
        return column_major(place, self.data_type, (self.rows, self.columns), self.leading)

    def values(self, pointer: int, index: int, operation: int) -> "npt.NDArray[np.float64]":
        """Return op(matrix) in float64."""
        wide = np.asarray(decode(np, self.read(pointer, index).copy(), NAMES[self.data_type]))
        return wide.T if operation else wide


def multiply_into(result: Operand, pointer: int, index: int, product: "npt.NDArray[np.float64]") -> None:
    """Write a product, rounded to the type of the result."""
    name = NAMES[result.data_type]
    target = result.read(pointer, index)
    plain = name in {"float64", "int32"}
    target[:] = product.astype(target.dtype) if plain else encode(np, product.astype(np.float32), name)


@dataclass
class FakeCublas:
    """cupy_backends.cuda.libs.cublas, as far as it is used."""

    compute_types: list[int] = field(default_factory=list)

    def gemmEx(self, *arguments: int) -> None:  # noqa: N802 - CuPy's name
        """C = alpha op(A) op(B) + beta C."""
        _, op_a, op_b, m, n, k, _, a, a_type, lda, b, b_type, ldb, _, c, c_type, ldc, compute, _ = arguments
        left = Operand(a_type, *((k, m) if op_a else (m, k)), lda).values(a, 0, op_a)
        right = Operand(b_type, *((n, k) if op_b else (k, n)), ldb).values(b, 0, op_b)
        multiply_into(Operand(c_type, m, n, ldc), c, 0, left @ right)
        self.compute_types.append(compute)


class FakeLt:
    """libcublasLt: descriptors are numbers, products happen at once."""

    def __init__(self, *, supported: bool = True) -> None:
        self.supported = supported
        self.alive: dict[int, Any] = {}
        self.streams: list[int] = []
        self._next = 1000

    def _create(self, made: Any, value: Any) -> int:
        self._next += 8
        made._obj.value = self._next
        self.alive[self._next] = value
        return 0

    def __getattr__(self, name: str) -> Any:
        if name.endswith("Destroy"):
            return lambda made: 0 if self.alive.pop(made.value) is not None else 1
        raise AttributeError(name)

    def cublasLtCreate(self, made: Any) -> int:  # noqa: N802
        """Make a handle."""
        made._obj.value = 1
        return 0

    def cublasLtMatmulDescCreate(self, made: Any, compute: int, scale: int) -> int:  # noqa: N802
        """Make a description of an operation."""
        return self._create(made, {"compute": compute, "scale": scale, 3: 0, 4: 0})

    def cublasLtMatmulDescSetAttribute(self, made: Any, attribute: int, value: Any, size: int) -> int:  # noqa: N802
        """Set a transposition."""
        assert size == 4
        self.alive[made.value][attribute] = value._obj.value
        return 0

    def cublasLtMatrixLayoutCreate(self, made: Any, kind: int, rows: int, columns: int, leading: int) -> int:  # noqa: N802
        """Make a layout."""
        return self._create(made, Operand(kind, rows, columns, leading))

    def cublasLtMatrixLayoutSetAttribute(self, made: Any, attribute: int, value: Any, size: int) -> int:  # noqa: N802
        """Set the number of matrices or how far they lie apart."""
        name, expected = {5: ("batch", 4), 6: ("stride", 8)}[attribute]
        assert size == expected
        setattr(self.alive[made.value], name, value._obj.value)
        return 0

    def cublasLtMatmulPreferenceCreate(self, made: Any) -> int:  # noqa: N802
        """Make a preference."""
        return self._create(made, {})

    def cublasLtMatmulPreferenceSetAttribute(self, made: Any, attribute: int, value: Any, size: int) -> int:  # noqa: N802
        """Set the most bytes of workspace."""
        assert (attribute, size) == (1, 8)
        self.alive[made.value][attribute] = value._obj.value
        return 0

    def cublasLtMatmulAlgoGetHeuristic(self, *arguments: Any) -> int:  # noqa: N802
        """Find one algorithm, or none."""
        best, found = arguments[8]._obj, arguments[9]._obj
        found.value = int(self.supported)
        best.workspace_bytes = 4096
        return 0

    def cublasLtMatmul(self, *arguments: Any) -> int:  # noqa: N802
        """D = alpha op(A) op(B) + beta C."""
        _, description, alpha, a, of_a, b, of_b, beta, c, _, d, of_d, _, _, size, stream = arguments
        told = self.alive[description.value]
        kind: Any = {0: ctypes.c_float, 1: ctypes.c_double, 10: ctypes.c_int32}[told["scale"]]
        assert (kind.from_address(alpha).value, kind.from_address(beta).value) == (1, 0)
        assert (c, size) == (d, 4096)
        left, right, result = (self.alive[item.value] for item in (of_a, of_b, of_d))
        assert left.batch == right.batch == result.batch
        for index in range(result.batch):
            product = left.values(a, index, told[3]) @ right.values(b, index, told[4])
            multiply_into(result, d, index, product)
        self.streams.append(stream)
        return 0


def array_module() -> Any:
    """Return NumPy with the names of CuPy that products use."""
    xp: Any = types.ModuleType("cupy")
    for name in dir(np):
        if not name.startswith("__"):
            setattr(xp, name, getattr(np, name))
    xp.cuda = types.SimpleNamespace(
        get_cublas_handle=lambda: 5,
        get_current_stream=lambda: types.SimpleNamespace(ptr=STREAM),
        runtime=types.SimpleNamespace(runtimeGetVersion=lambda: 13020),
    )
    return xp


def install(monkeypatch: pytest.MonkeyPatch, *, supported: bool = True) -> tuple[FakeCublas, FakeLt]:
    """Put both stand-ins in place of the libraries."""
    cublas, lt = FakeCublas(), FakeLt(supported=supported)
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cublas", cublas)
    monkeypatch.setattr(cublaslt, "library", lambda _: lt)
    cublaslt._handle.cache_clear()
    return cublas, lt
