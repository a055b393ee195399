"""cuBLASLt through ctypes: what a product needs of it, on the library that CuPy's cuBLAS depends on anyway.

Unlike cuBLAS in CuPy it can be captured into a CUDA graph, and unlike cuBLAS it multiplies 8-bit floating-point types.
Numbers are those of cublasLt.h, the same since CUDA 11.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tesserabench.bench.device.cuda_libraries import load_binding
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

if TYPE_CHECKING:
    from tesserabench.bench.workloads.gemm_cuda import ColumnMajor

WORKSPACE_BYTES = 32 << 20
"""What the library itself takes on Hopper unless told otherwise."""
_DESCRIPTION_TRANSPOSE_FIRST, _DESCRIPTION_TRANSPOSE_SECOND = 3, 4
_LAYOUT_BATCH_COUNT, _LAYOUT_BATCH_STRIDE = 5, 6
_PREFERENCE_WORKSPACE = 1
_ALLOCATION_FAILED, _NOT_SUPPORTED = 3, 15
_POINTER, _INT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasLtCreate": (_POINTER,),
    "cublasLtMatmulDescCreate": (_POINTER, _INT, _INT),
    "cublasLtMatmulDescSetAttribute": (_POINTER, _INT, _POINTER, _SIZE),
    "cublasLtMatmulDescDestroy": (_POINTER,),
    "cublasLtMatrixLayoutCreate": (_POINTER, _INT, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64),
    "cublasLtMatrixLayoutSetAttribute": (_POINTER, _INT, _POINTER, _SIZE),
    "cublasLtMatrixLayoutDestroy": (_POINTER,),
    "cublasLtMatmulPreferenceCreate": (_POINTER,),
    "cublasLtMatmulPreferenceSetAttribute": (_POINTER, _INT, _POINTER, _SIZE),
    "cublasLtMatmulPreferenceDestroy": (_POINTER,),
    "cublasLtMatmulAlgoGetHeuristic": (*(_POINTER,) * 7, _INT, _POINTER, _POINTER),
    "cublasLtMatmul": (*(_POINTER,) * 14, _SIZE, _POINTER),
}


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace_bytes", _SIZE),
        ("state", _INT),
        ("waves", ctypes.c_float),
        ("reserved", _INT * 4),
    )


def _unavailable(what: str, error: Exception) -> CaseFailure:
    told = " ".join(str(error).split())[:200]
    return CaseFailure(
        Outcome.UNSUPPORTED,
        f"{what} cannot be loaded ({told}); install tesserabench[cuda13] or, for a CUDA 12 driver, "
        "tesserabench[cuda12]: both bring it",
    )


def cublas() -> Any:
    """Return CuPy's binding of cuBLAS, which loads it and cuBLASLt from wherever they were installed.

    Raises CaseFailure(unsupported) when there is none.
    """
    try:
        return load_binding("cupy_backends.cuda.libs.cublas")
    except ImportError as error:
        raise _unavailable("cuBLAS", error) from None


@cache
def library(major: int) -> Any:
    """Return the loaded library of a CUDA major version; raise CaseFailure(unsupported) when there is none."""
    cublas()
    try:
        loaded = ctypes.CDLL(f"libcublasLt.so.{major}")
    except OSError as error:
        raise _unavailable("cuBLASLt", error) from None
    for function, arguments in _SIGNATURES.items():
        getattr(loaded, function).argtypes = arguments
    return loaded


def check(status: int, what: str) -> None:
    """Raise CaseFailure unless a call succeeded."""
    if status == 0:
        return
    outcome = {_ALLOCATION_FAILED: Outcome.OUT_OF_MEMORY, _NOT_SUPPORTED: Outcome.UNSUPPORTED}
    raise CaseFailure(
        outcome.get(status, Outcome.DEVICE_ERROR),
        f"{what} failed with cuBLAS status {status}; choose another shape or dtype, "
        "or check that the CUDA libraries match the driver",
    )


@cache
def _handle(major: int) -> ctypes.c_void_p:
    made = ctypes.c_void_p()
    check(library(major).cublasLtCreate(ctypes.byref(made)), "cublasLtCreate")
    return made


class LtProduct:
    """One product with its descriptors, its algorithm and its workspace, ready to be enqueued."""

    def __init__(self, xp: Any, form: "ColumnMajor", *, batch: int, operands: Sequence[int]) -> None:
        major = int(xp.cuda.runtime.runtimeGetVersion()) // 1000
        self._library, handle = library(major), _handle(major)
        self._made: list[tuple[str, ctypes.c_void_p]] = []
        self._current_stream = xp.cuda.get_current_stream
        try:
            self._prepare(xp, handle, form, batch, operands)
        except BaseException:
            self.close()
            raise

    def _prepare(self, xp: Any, handle: Any, form: "ColumnMajor", batch: int, operands: Sequence[int]) -> None:
        description = self._make("MatmulDesc", form.compute_type, form.scale_type)
        self._set("MatmulDesc", description, _DESCRIPTION_TRANSPOSE_FIRST, ctypes.c_int32(form.first_operation))
        self._set("MatmulDesc", description, _DESCRIPTION_TRANSPOSE_SECOND, ctypes.c_int32(form.second_operation))
        first = (form.terms, form.rows) if form.first_operation else (form.rows, form.terms)
        second = (form.columns, form.terms) if form.second_operation else (form.terms, form.columns)
        layouts = (
            self._layout(form.data_type, first, batch),
            self._layout(form.data_type, second, batch),
            self._layout(form.written_type, (form.rows, form.columns), batch),
        )
        best = self._choose(handle, description, layouts, form)
        self._workspace = xp.empty(max(1, best.workspace_bytes), dtype="uint8")
        self._best, self._alpha, self._beta = best, form.scalar(1), form.scalar(0)
        (left, right, result), (of_left, of_right, of_result) = operands, layouts
        self._arguments = (
            *(handle, description, ctypes.addressof(self._alpha), left, of_left, right, of_right),
            *(ctypes.addressof(self._beta), result, of_result, result, of_result),
            *(ctypes.addressof(best.algorithm), self._workspace_address(), best.workspace_bytes),
        )

    def _workspace_address(self) -> int:
        pointer = getattr(self._workspace.data, "ptr", None)
        return int(self._workspace.ctypes.data if pointer is None else pointer)

    def _make(self, kind: str, *arguments: Any) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        check(getattr(self._library, f"cublasLt{kind}Create")(ctypes.byref(made), *arguments), f"cublasLt{kind}Create")
        self._made.append((kind, made))
        return made

    def _set(self, kind: str, target: ctypes.c_void_p, attribute: int, value: Any) -> None:
        call = getattr(self._library, f"cublasLt{kind}SetAttribute")
        check(call(target, attribute, ctypes.byref(value), ctypes.sizeof(value)), f"cublasLt{kind}SetAttribute")

    def _layout(self, data_type: int, shape: tuple[int, int], batch: int) -> ctypes.c_void_p:
        """Return the layout of a column-major matrix without gaps, or of a batch of them one after the other."""
        rows, columns = shape
        made = self._make("MatrixLayout", data_type, rows, columns, rows)
        if batch > 1:
            self._set("MatrixLayout", made, _LAYOUT_BATCH_COUNT, ctypes.c_int32(batch))
            self._set("MatrixLayout", made, _LAYOUT_BATCH_STRIDE, ctypes.c_int64(rows * columns))
        return made

    def _choose(self, handle: Any, description: Any, layouts: tuple[Any, Any, Any], form: "ColumnMajor") -> Heuristic:
        """Return what the library's heuristic puts first: what a caller without a search of his own would get."""
        preference = self._make("MatmulPreference")
        self._set("MatmulPreference", preference, _PREFERENCE_WORKSPACE, ctypes.c_size_t(WORKSPACE_BYTES))
        best, found = Heuristic(), ctypes.c_int(0)
        left, right, result = layouts
        status = self._library.cublasLtMatmulAlgoGetHeuristic(
            *(handle, description, left, right, result, result, preference),
            *(1, ctypes.byref(best), ctypes.byref(found)),
        )
        if status == _NOT_SUPPORTED or (status == 0 and found.value == 0):
            raise CaseFailure(
                Outcome.UNSUPPORTED,
                f"cuBLASLt has no algorithm for this product on this device (m={form.columns}, n={form.rows}, "
                f"k={form.terms}); use another dtype or, for 8-bit types, sizes that are multiples of 16",
            )
        check(status, "cublasLtMatmulAlgoGetHeuristic")
        return best

    def enqueue(self) -> None:
        """Enqueue the product on the current stream."""
        status = self._library.cublasLtMatmul(*self._arguments, self._current_stream().ptr)
        if status:
            check(status, "cublasLtMatmul")

    def close(self) -> None:
        """Destroy the descriptors."""
        while self._made:
            kind, made = self._made.pop()
            getattr(self._library, f"cublasLt{kind}Destroy")(made)
