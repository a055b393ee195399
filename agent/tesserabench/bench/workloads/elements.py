"""Element types that NumPy and CuPy lack: how they are stored, rounded to and read.

bfloat16 is kept as its bits in uint16, float8_e4m3 in uint8 (OCP 8-bit Floating Point Specification: bias 7, no
infinities, 0x7F and 0xFF are NaN); tf32 is float32 that the tensor cores round. The arithmetic here is integer and
float32 only, so that NumPy and CuPy give the same bits.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.inputs import CHUNK, normal
from tesserabench.bench.workloads.arrays import WHOLE_ELEMENTS

if TYPE_CHECKING:
    import numpy.typing as npt

_STORAGE = {"tf32": "float32", "bfloat16": "uint16", "float8_e4m3": "uint8"}
E4M3_LARGEST = 448.0
INT8_SCALE = 32
"""Standard normal values times this, rounded and clipped to 127, are the int8 inputs."""


def storage(dtype: str) -> str:
    """Return the dtype in which an array of `dtype` is kept."""
    return _STORAGE.get(dtype, dtype)


def encode(xp: Any, values: Any, dtype: str) -> Any:
    """Return float32 values rounded to the nearest `dtype`, ties to even, in its storage."""
    if dtype == "bfloat16":
        bits = values.astype("float32").view("uint32")
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("uint16")
    if dtype == "float8_e4m3":
        return _encode_e4m3(xp, values.astype("float32"))
    if dtype == "int8":
        return xp.clip(xp.rint(values * INT8_SCALE), -127, 127).astype("int8")
    return values.astype(storage(dtype))


def _encode_e4m3(xp: Any, values: Any) -> Any:
    bits = values.view("uint32")
    sign = (bits >> 24) & 0x80
    size = xp.minimum(xp.abs(values), xp.float32(E4M3_LARGEST))
    # Normal numbers: round the mantissa to three bits, then move the exponent's bias from 127 to 7.
    magnitude = size.view("uint32")
    normal_code = ((magnitude + 0x7FFFF + ((magnitude >> 20) & 1)) >> 20) - (120 << 3)
    # Below 2^-6: steps of 2^-9, and the eighth step is the smallest normal number.
    small_code = xp.rint(size * 512.0).astype("uint32")
    code = xp.where(size < 2.0**-6, small_code, normal_code)
    return (sign | code).astype("uint8")


def decode(xp: Any, stored: Any, dtype: str) -> Any:
    """Return the float64 values of an array in the storage of `dtype`."""
    if dtype == "bfloat16":
        # What a wrong kernel leaves behind may be any NaN, and NumPy warns of some of them.
        with np.errstate(invalid="ignore"):
            return (stored.astype("uint32") << 16).view("float32").astype("float64")
    if dtype == "float8_e4m3":
        return xp.asarray(_E4M3)[stored.astype("int64")]
    return stored.astype("float64")


def _e4m3_values() -> "npt.NDArray[np.float64]":
    code = np.arange(256)
    exponent, mantissa = (code >> 3) & 15, code & 7
    size = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0 ** (exponent - 10.0))
    size[(code & 0x7F) == 0x7F] = np.nan
    return np.where(code >= 128, -size, size)


_E4M3 = _e4m3_values()


def normal_inputs(xp: Any, count: int, dtype: str, *, seed: int, stream: int = 0) -> Any:
    """Return `count` standard normal values in the storage of `dtype`, as a one-dimensional array of module `xp`."""
    if storage(dtype) == dtype and dtype != "int8":
        return normal(xp, count, dtype, seed=seed, stream=stream)
    wide = normal(xp, count, "float32", seed=seed, stream=stream)
    if storage(dtype) == "float32":
        return wide
    values = xp.empty(count, dtype=storage(dtype))
    for start in range(0, count, CHUNK):
        values[start : start + CHUNK] = encode(xp, wide[start : start + CHUNK], dtype)
    return values


def not_finite(xp: Any, stored: Any, dtype: str) -> "npt.NDArray[np.float64]":
    """Return one number: how many elements of the whole array are NaN or infinite."""
    flat, total = stored.reshape(-1), 0
    for start in range(0, flat.size, WHOLE_ELEMENTS):
        part = flat[start : start + WHOLE_ELEMENTS]
        if dtype == "bfloat16":
            total += int(xp.count_nonzero((part & 0x7F80) == 0x7F80))
        else:
            total += int(xp.count_nonzero(~xp.isfinite(part)))
    return np.array([total], dtype=np.float64)
