"""How raw samples stand in the database, and how they come back as arrays.

`measurement.samples` under codec 1 is little-endian float64, one after the other, in the measurement's unit; times are
whole nanoseconds. `measurement.columns` is a sequence of blocks: one byte that names the column, then its values, as
many as there are samples, little-endian in the column's type.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

CODEC_FLOAT64 = 1

Values = npt.NDArray[np.float64]

COLUMNS: Mapping[str, tuple[int, np.dtype[Any]]] = MappingProxyType(
    {
        "sm_clock_mhz": (1, np.dtype("<f4")),
        "offset_us": (2, np.dtype("<f4")),
        "block": (3, np.dtype("<u4")),
        "flags": (4, np.dtype("<u4")),
    }
)
"""Number and type of each column beside the values, by its name on the wire. Numbers are never reused."""

_BY_NUMBER = {number: (name, dtype) for name, (number, dtype) in COLUMNS.items()}


def decode_samples(codec: int | None, content: bytes | None) -> Values | None:
    """The samples, shape (n,), float64, read-only; None for a metric that was not sampled.

    Raises:
        ValueError: the codec is not one that this release knows.
    """
    if codec is None or content is None:
        return None
    if codec != CODEC_FLOAT64:
        raise ValueError(f"samples of codec {codec} were written by a newer collector; read them with that one")
    return np.frombuffer(content, dtype="<f8")


def encode_columns(columns: Mapping[str, npt.ArrayLike]) -> bytes | None:
    """The columns beside the values as one value, empty ones left out; None when nothing is left."""
    blocks = []
    for name, (number, dtype) in COLUMNS.items():
        values = np.asarray(columns.get(name, ()), dtype=dtype)
        if values.size:
            blocks.append(bytes((number,)) + values.tobytes())
    return b"".join(blocks) or None


def decode_columns(content: bytes | None, count: int) -> dict[str, npt.NDArray[Any]]:
    """The columns beside the values by name, each of shape (count,), read-only.

    Raises:
        ValueError: a column is cut short, or is not one that this release knows.
    """
    columns: dict[str, npt.NDArray[Any]] = {}
    position = 0
    while content is not None and position < len(content):
        number = content[position]
        if number not in _BY_NUMBER:
            raise ValueError(f"sample column {number} was written by a newer collector; read it with that one")
        name, dtype = _BY_NUMBER[number]
        columns[name] = np.frombuffer(content, dtype=dtype, count=count, offset=position + 1)
        position += 1 + count * dtype.itemsize
    return columns
