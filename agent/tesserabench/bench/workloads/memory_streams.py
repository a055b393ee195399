"""Read, fill, scale, transpose and accesses of a given width: NumPy work and its CUDA form."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum, uniform
from tesserabench.bench.workloads.arrays import checked_indices, pick, poison, to_host, unwritten
from tesserabench.bench.workloads.memory_cuda import ELEMENTS, THREADS, grid_of
from tesserabench.bench.workloads.memory_work import SCALAR, Copy

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays

VALUE = 3.0
"""What fill writes."""
PACKS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "uint2", 16: "uint4"}
"""CUDA's type for an access of so many bytes."""
BITS = {"float16": "unsigned short", "float32": "float", "float64": "double"}
"""CUDA's type that moves an element without computing."""
TRANSPOSE_BLOCK = (32, 8)
"""Threads of a block of the transpose kernel, fixed in its source."""


class Read:
    """The exclusive or of all words: nothing is written back, and the result is exact in any order."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        self.a: Any = uniform(self.xp, params.integer("n"), params.text("dtype"), seed=seed)
        self.words: Any = self.a.view("uint32")
        self.partial: Any = self.xp.empty(1, dtype="uint32")

    def launch(self) -> None:
        """Read once."""
        np.bitwise_xor.reduce(self.words, out=self.partial, keepdims=True)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.words)

    def poison(self) -> None:
        """Fill the result with 0xFF."""
        poison(self.partial)

    def outputs(self) -> "HostArrays":
        """Return the exclusive or of all words, in two halves."""
        return {"xor": _halves(to_host(self.partial))}

    def reference(self) -> "HostArrays":
        """Return the same of the inputs."""
        return {"xor": _halves(to_host(self.words)).astype(np.float64)}


class CudaRead(Read):
    """Sixteen bytes a thread and step; each block leaves one word."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        dtype = params.text("dtype")
        self._kernel: Any = device.kernel("stream", "read", defines={"ELEMENT": ELEMENTS[dtype]})
        self._grid = grid_of(device)
        self.partial = self.xp.empty(self._grid[0], dtype="uint32")
        self._count = self.xp.uint64(self.words.size)

    def launch(self) -> None:
        """Enqueue one read."""
        self._kernel(self._grid, (THREADS,), (self.words, self.partial, self._count))


class Fill:
    """b = a constant."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:  # noqa: ARG002 - there is no input
        self.xp = device.xp
        self._dtype = params.text("dtype")
        self.b: Any = self.xp.empty(params.integer("n"), dtype=self._dtype)

    def launch(self) -> None:
        """Fill once."""
        self.b.fill(VALUE)

    def poison(self) -> None:
        """Fill the target with NaN patterns."""
        poison(self.b)

    def outputs(self) -> "HostArrays":
        """Return the checked elements, and how many of all are not finite."""
        return {"b": pick(self.xp, self.b), "unwritten": unwritten(self.xp, self.b)}

    def reference(self) -> "HostArrays":
        """Return the constant."""
        return {"b": np.full(pick(self.xp, self.b).shape, VALUE), "unwritten": np.zeros(1)}


class CudaFill(Fill):
    """Sixteen bytes a thread and step."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._kernel: Any = device.kernel("stream", "fill", defines={"ELEMENT": ELEMENTS[self._dtype]})
        self._grid = grid_of(device)
        self._value = np.dtype(self._dtype).type(VALUE)
        self._count = self.xp.uint64(params.integer("n"))

    def launch(self) -> None:
        """Enqueue one fill."""
        self._kernel(self._grid, (THREADS,), (self.b, self._value, self._count))


class Scale(Copy):
    """b = s a."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self.factor = np.dtype(params.text("dtype")).type(SCALAR)

    def launch(self) -> None:
        """Scale once."""
        np.multiply(self.a, self.factor, out=self.b)

    def reference(self) -> "HostArrays":
        """Return the same elements computed in float64."""
        return {"b": SCALAR * pick(self.xp, self.a).astype(np.float64), "unwritten": np.zeros(1)}


class CudaScale(Scale):
    """Sixteen bytes a thread and step."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        dtype = params.text("dtype")
        self._kernel: Any = device.kernel("stream", "scale", defines={"ELEMENT": ELEMENTS[dtype]})
        self._grid = grid_of(device)
        self._count = self.xp.uint64(params.integer("n"))

    def launch(self) -> None:
        """Enqueue one scaling."""
        self._kernel(self._grid, (THREADS,), (self.a, self.b, self.factor, self._count))


class CudaWidth(Copy):
    """b = a, one access of `width` bytes for each thread and step. `n` counts float32 elements."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        count, width = params.integer("n"), params.integer("width")
        super().__init__(device, Params({"n": count, "dtype": "float32"}), seed)
        self._kernel: Any = device.kernel("width", "width", defines={"PACK": PACKS[width]})
        self._grid = grid_of(device)
        self._count = self.xp.uint64(count * 4 // width)

    def launch(self) -> None:
        """Enqueue one copy."""
        self._kernel(self._grid, (THREADS,), (self.a, self.b, self._count))


class Transpose:
    """b (n, m) = the transpose of a (m, n)."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        m, n, dtype = params.integer("m"), params.integer("n"), params.text("dtype")
        self.a: Any = uniform(self.xp, m * n, dtype, seed=seed).reshape(m, n)
        self.b: Any = self.xp.empty((n, m), dtype=dtype)

    def launch(self) -> None:
        """Transpose once."""
        np.copyto(self.b, self.a.T)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.a)

    def poison(self) -> None:
        """Fill the target with NaN patterns."""
        poison(self.b)

    def outputs(self) -> "HostArrays":
        """Return the checked elements of the target, and how many of all are not finite."""
        flat = self.b.reshape(-1)
        return {"b": pick(self.xp, flat), "unwritten": unwritten(self.xp, flat)}

    def reference(self) -> "HostArrays":
        """Return the same elements of the source."""
        row, column = np.divmod(checked_indices(self.b.size), self.b.shape[1])
        exact = to_host(self.a[self.xp.asarray(column), self.xp.asarray(row)])
        return {"b": exact.astype(np.float64), "unwritten": np.zeros(1)}


class CudaTranspose(Transpose):
    """Tiles of 32 by 32 elements through shared memory."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._kernel: Any = device.kernel("transpose", "transpose", defines={"ELEMENT": BITS[params.text("dtype")]})
        m, n = params.integer("m"), params.integer("n")
        self._tiles = (-(-m // 32) * -(-n // 32),)
        self._rows, self._columns = self.xp.uint32(m), self.xp.uint32(n)

    def launch(self) -> None:
        """Enqueue one transposition."""
        self._kernel(self._tiles, TRANSPOSE_BLOCK, (self.a, self.b, self._rows, self._columns))


def _halves(words: "np.ndarray[tuple[int, ...], np.dtype[np.uint32]]") -> "np.ndarray[tuple[int], np.dtype[np.uint16]]":
    """Return the exclusive or of the words in pieces that float64 holds exactly."""
    return np.array([np.bitwise_xor.reduce(words)], dtype=np.uint32).view(np.uint16)
