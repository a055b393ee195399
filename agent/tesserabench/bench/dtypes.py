"""Element types by name: their size, and the real type whose arithmetic they use."""

from tesserabench.bench.case import Params
from tesserabench.bench.errors import InvalidPlan

ITEMSIZE = {
    "int8": 1,
    "float8_e4m3": 1,
    "float16": 2,
    "bfloat16": 2,
    "tf32": 4,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
"""Bytes of one element in memory."""
PRODUCT_DTYPE = {"int8": "int32", "float8_e4m3": "bfloat16", "tf32": "float32"}
"""In what a matrix product of a dtype is written, where that is another one."""
PRODUCT_LIMITS = {
    "float64": 1e-12,
    "float32": 1e-5,
    "tf32": 2e-3,
    "float16": 3e-3,
    "bfloat16": 1e-2,
    "float8_e4m3": 6e-2,
    "int8": 0.0,
}
"""Largest relative Frobenius error of a product whose sums are float32 (float64, int32) over fewer than 16384 terms."""
LONG_SUM, LONG_SUM_LIMIT = 16384, 1e-4

_REAL = {"complex64": "float32", "complex128": "float64"}


def itemsize(params: Params) -> int:
    """Return the bytes of one element of the case's dtype."""
    dtype = params.text("dtype")
    if dtype not in ITEMSIZE:
        raise InvalidPlan(f"parameter 'dtype' is {dtype!r}; it must be one of: {', '.join(ITEMSIZE)}")
    return ITEMSIZE[dtype]


def real_dtype(dtype: str) -> str:
    """Return the real dtype whose matrix product bounds arithmetic in `dtype`."""
    return _REAL.get(dtype, dtype)


def product_itemsize(dtype: str) -> int:
    """Return the bytes of one element of a matrix product of `dtype`."""
    written = PRODUCT_DTYPE.get(dtype, dtype)
    return 4 if written == "int32" else ITEMSIZE[written]


def product_limit(dtype: str, terms: int) -> float:
    """Return the largest relative error of a product of `dtype` whose sums have so many terms."""
    if dtype not in PRODUCT_LIMITS:
        raise InvalidPlan(f"parameter 'dtype' is {dtype!r}; it must be one of: {', '.join(PRODUCT_LIMITS)}")
    if dtype == "float32" and terms >= LONG_SUM:
        return LONG_SUM_LIMIT
    return PRODUCT_LIMITS[dtype]
