"""Element types by name: their size, and the real type whose arithmetic they use."""

from tesserabench.bench.case import Params
from tesserabench.bench.errors import InvalidPlan

ITEMSIZE = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16}
"""Bytes of one element."""

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
