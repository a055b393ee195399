"""Matrix products on CUDA, by cuBLAS through CuPy or by cuBLASLt; both accumulate in float32, float64 or int32.

The compute type is always named: CuPy's own product of float32 uses tf32 when an environment variable says so. cuBLAS
sees the row-major product as C^T = B^T A^T in its column-major order.
"""

import ctypes
from dataclasses import dataclass
from typing import Any

from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.workloads.cublaslt import LtProduct, cublas
from tesserabench.bench.workloads.gemm_work import Product, ProductWork

DATA_TYPES = {
    "float32": 0,
    "tf32": 0,
    "float64": 1,
    "float16": 2,
    "int8": 3,
    "int32": 10,
    "bfloat16": 14,
    "float8_e4m3": 28,
}
"""cudaDataType_t (library_types.h)."""
COMPUTE_TYPES = {"float64": 70, "tf32": 77, "int8": 72}
"""cublasComputeType_t (cublas_api.h): CUBLAS_COMPUTE_64F, _32F_FAST_TF32, _32I; all others CUBLAS_COMPUTE_32F."""
COMPUTE_32F = 68
GEMM_DEFAULT = -1
NORMAL, TRANSPOSED = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMajor:
    """A product as cuBLAS takes it: `first` is our B, `second` our A, all sizes of column-major matrices."""

    first_operation: int
    second_operation: int
    rows: int
    columns: int
    terms: int
    first_leading: int
    second_leading: int
    data_type: int
    written_type: int
    compute_type: int
    scale_type: int

    @classmethod
    def of(cls, product: Product) -> "ColumnMajor":
        """Return the column-major form of a row-major product."""
        scale = product.dtype if product.dtype == "float64" else "int32" if product.dtype == "int8" else "float32"
        return cls(
            first_operation=TRANSPOSED if product.b_transposed else NORMAL,
            second_operation=TRANSPOSED if product.a_transposed else NORMAL,
            rows=product.n,
            columns=product.m,
            terms=product.k,
            first_leading=product.k if product.b_transposed else product.n,
            second_leading=product.m if product.a_transposed else product.k,
            data_type=DATA_TYPES[product.dtype],
            written_type=DATA_TYPES[product.written],
            compute_type=COMPUTE_TYPES.get(product.dtype, COMPUTE_32F),
            scale_type=DATA_TYPES[scale],
        )

    def scalar(self, value: int) -> "ctypes.c_double | ctypes.c_float | ctypes.c_int32":
        """Return a number in the type that alpha and beta have."""
        kinds = {DATA_TYPES["float64"]: ctypes.c_double, DATA_TYPES["int32"]: ctypes.c_int32}
        kind: Any = kinds.get(self.scale_type, ctypes.c_float)
        made: ctypes.c_double | ctypes.c_float | ctypes.c_int32 = kind(value)
        return made


def address(array: Any) -> int:
    """Return where the data of a CuPy (or NumPy) array begins."""
    pointer = getattr(array.data, "ptr", None)
    return int(array.ctypes.data if pointer is None else pointer)


class CublasProduct(ProductWork):
    """The product by cublasGemmEx; CuPy refuses to call it while a graph is captured."""

    capturable = False

    def __init__(self, device: ArrayDevice, product: Product, seed: int) -> None:
        super().__init__(device, product, seed)
        form = ColumnMajor.of(product)
        self._alpha, self._beta = form.scalar(1), form.scalar(0)
        self._multiply: Any = cublas().gemmEx
        self._arguments = (
            device.xp.cuda.get_cublas_handle(),
            form.first_operation,
            form.second_operation,
            form.rows,
            form.columns,
            form.terms,
            ctypes.addressof(self._alpha),
            address(self.b),
            form.data_type,
            form.first_leading,
            address(self.a),
            form.data_type,
            form.second_leading,
            ctypes.addressof(self._beta),
            address(self.c),
            form.written_type,
            form.rows,
            form.compute_type,
            GEMM_DEFAULT,
        )

    def launch(self) -> None:
        """Enqueue one product."""
        self._multiply(*self._arguments)


class CublasLtProduct(ProductWork):
    """The product by cuBLASLt, with the algorithm its heuristic puts first; a graph can be captured from it."""

    capturable = True

    def __init__(self, device: ArrayDevice, product: Product, seed: int) -> None:
        super().__init__(device, product, seed)
        operands = (address(self.b), address(self.a), address(self.c))
        self._call = LtProduct(device.xp, ColumnMajor.of(product), batch=product.batch, operands=operands)
        self.launch = self._call.enqueue  # type: ignore[method-assign] # one call less in every launch

    def close(self) -> None:
        """Give the descriptors back."""
        self._call.close()
