"""Array chores that NumPy and CuPy spell differently."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

WHOLE_ELEMENTS = 1 << 23
"""Arrays up to this size are checked whole."""
BLOCK, BLOCKS = 256, 4096
"""Larger ones are checked in this many runs of neighbouring elements, spread evenly from the first to the last."""


def to_host(array: Any) -> "npt.NDArray[Any]":
    """Return an array as NumPy's, copying it from the device when it lives there."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


def poison(array: Any) -> None:
    """Fill an array with 0xFF bytes."""
    array.view("uint8").fill(0xFF)


def checked_indices(count: int) -> "npt.NDArray[np.int64]":
    """Return the indices of the elements that are compared, in order."""
    if count <= WHOLE_ELEMENTS:
        return np.arange(count)
    starts = np.linspace(0, count - BLOCK, num=BLOCKS).astype(np.int64)
    return (starts[:, None] + np.arange(BLOCK)).ravel()


def pick(xp: Any, array: Any) -> "npt.NDArray[Any]":
    """Return the checked elements of a one-dimensional array on the host."""
    if array.size <= WHOLE_ELEMENTS:
        return to_host(array).copy()
    return to_host(array[xp.asarray(checked_indices(array.size))])


def unwritten(xp: Any, array: Any) -> "npt.NDArray[np.float64]":
    """Return one number: how many elements of the whole array are still not finite."""
    total = 0
    for start in range(0, array.size, WHOLE_ELEMENTS):
        total += int(xp.count_nonzero(~xp.isfinite(array[start : start + WHOLE_ELEMENTS])))
    return np.array([total], dtype=np.float64)
