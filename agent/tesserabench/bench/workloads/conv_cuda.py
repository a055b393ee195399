"""The work of the conv suite, on CUDA alone."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum
from tesserabench.bench.workloads.arrays import poison, to_host
from tesserabench.bench.workloads.elements import decode, normal_inputs, not_finite, storage

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays

TILE, THREADS = 64, 256
"""As in kernels/conv_direct.cu."""
CHECKED_PIXELS = 256
"""Pixels, spread from the first to the last, that are computed again in float64 for all filters."""


class CudaDirect:
    """One kernel; every sum is made as it stands in the formula."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int, *, rows: int) -> None:
        self.xp, self.dtype = device.xp, params.text("dtype")
        images, size, channels = (params.integer(name) for name in ("images", "size", "channels"))
        filters, taps, stride = (params.integer(name) for name in ("filters", "taps", "stride"))
        self._taps, self._stride, self._padding, self._rows = taps, stride, taps // 2, rows
        self.x = self._normal((images, size, size, channels), seed, 0)
        self.f = self._normal((filters, taps, taps, channels), seed, 1)
        self.y: Any = self.xp.empty((images, rows, rows, filters), dtype=storage(self.dtype))
        pixels = images * rows * rows
        self._checked = np.unique(np.linspace(0, pixels - 1, num=CHECKED_PIXELS).astype(np.int64))
        self._kernel: Any = device.kernel("conv_direct", "conv_direct", defines={"ELEMENT": self.dtype})
        self._grid = (math.ceil(pixels / TILE), math.ceil(filters / TILE))
        sizes = (pixels, size, size, channels, filters, taps, stride, self._padding, rows, rows)
        self._arguments = (self.x, self.f, self.y, *map(np.int32, sizes))

    def _normal(self, shape: tuple[int, ...], seed: int, stream: int) -> Any:
        return normal_inputs(self.xp, math.prod(shape), self.dtype, seed=seed, stream=stream).reshape(shape)

    def launch(self) -> None:
        """Enqueue one convolution."""
        self._kernel(self._grid, (THREADS,), self._arguments)

    def poison(self) -> None:
        """Fill the result with NaN patterns."""
        poison(self.y)

    def checksum(self) -> str:
        """Return a digest of images and filters."""
        return checksum(self.xp, self.x, self.f)

    def outputs(self) -> "HostArrays":
        """Return the compared pixels, and how many elements of all are not finite."""
        picked = self.y.reshape(-1, self.y.shape[3])[self.xp.asarray(self._checked)]
        return {"pixels": decode(np, to_host(picked), self.dtype), "unwritten": not_finite(self.xp, self.y, self.dtype)}

    def reference(self) -> "HostArrays":
        """Return the same in float64, from the part of an image that each pixel sees."""
        filters = decode(np, to_host(self.f), self.dtype).reshape(self.f.shape[0], -1)
        seen = np.stack([self._patch(int(pixel)) for pixel in self._checked])
        return {"pixels": seen.reshape(len(seen), -1) @ filters.T, "unwritten": np.zeros(1)}

    def _patch(self, pixel: int) -> "npt.NDArray[np.float64]":
        """Return the (taps, taps, channels) values that a pixel is made of; zeros beyond the borders."""
        image, place = divmod(pixel, self._rows**2)
        top, begin = (at * self._stride - self._padding for at in divmod(place, self._rows))
        patch = np.zeros(self.f.shape[1:])
        size = self.x.shape[1]
        h, w = (slice(max(0, at), min(size, at + self._taps)) for at in (top, begin))
        inner = np.asarray(decode(np, to_host(self.x[image, h, w]), self.dtype))
        patch[h.start - top : h.stop - top, w.start - begin : w.stop - begin] = inner
        return patch
