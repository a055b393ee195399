"""The work of the fft suite: pocketfft through NumPy, cuFFT through CuPy."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.cuda_libraries import load_binding
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum, normal
from tesserabench.bench.workloads.arrays import poison, to_host

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays

CHECKED_ROWS = 64
"""Transforms of a batch that are computed again in double precision."""
_PARTS = {"complex64": "float32", "complex128": "float64"}
_COMPLEX = {real: pair for pair, real in _PARTS.items()}


class FftWork:
    """y = FFT(x) along the rows of a (batch, n) array."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        n, batch, dtype = params.integer("n"), params.integer("batch"), params.text("dtype")
        self.xp = xp = device.xp
        parts = normal(xp, 2 * n * batch, _PARTS[dtype], seed=seed)
        self._x: Any = parts.view(dtype).reshape(batch, n)
        self._y: Any = xp.empty((batch, n), dtype=dtype)
        self._rows = np.unique(np.linspace(0, batch - 1, num=min(batch, CHECKED_ROWS)).astype(np.int64))

    def launch(self) -> None:
        """Transform every row, without allocating the result."""
        np.fft.fft(self._x, axis=1, out=self._y)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self._x)

    def poison(self) -> None:
        """Fill the result with NaN patterns."""
        poison(self._y)

    def outputs(self) -> "HostArrays":
        """Return the compared rows, and the sum of every row (n times the first input of that row)."""
        y = to_host(self._y)
        return {"rows": y[self._rows], "sums": y.sum(axis=1, dtype=np.complex128) / y.shape[1]}

    def reference(self) -> "HostArrays":
        """Return the same from a double-precision transform of the inputs on the host."""
        x = to_host(self._x).astype(np.complex128)
        return {"rows": np.fft.fft(x[self._rows], axis=1), "sums": x[:, 0]}


class CudaFftWork(FftWork):
    """The same through a cuFFT plan made once, so that a launch only enqueues."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        cufft = load_binding("cupy.cuda.cufft")
        kind = cufft.CUFFT_C2C if params.text("dtype") == "complex64" else cufft.CUFFT_Z2Z
        self._plan: Any = cufft.Plan1d(params.integer("n"), kind, params.integer("batch"))
        self._forward = cufft.CUFFT_FORWARD

    def launch(self) -> None:
        """Enqueue one transform of the batch."""
        self._plan.fft(self._x, self._y, self._forward)


class RealFftWork:
    """y = FFT(x) along the rows of a real (batch, n) array; y holds the n // 2 + 1 terms that are not redundant."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        n, batch, dtype = params.integer("n"), params.integer("batch"), params.text("dtype")
        self.xp = xp = device.xp
        self._x: Any = normal(xp, n * batch, dtype, seed=seed).reshape(batch, n)
        self._y: Any = xp.empty((batch, n // 2 + 1), dtype=_COMPLEX[dtype])
        self._rows = np.unique(np.linspace(0, batch - 1, num=min(batch, CHECKED_ROWS)).astype(np.int64))

    def launch(self) -> None:
        """Transform every row, without allocating the result."""
        np.fft.rfft(self._x, axis=1, out=self._y)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self._x)

    def poison(self) -> None:
        """Fill the result with NaN patterns."""
        poison(self._y)

    def outputs(self) -> "HostArrays":
        """Return the compared rows, and the first and last term of every row."""
        y = to_host(self._y)
        return {"rows": y[self._rows], "terms": np.concatenate((y[:, 0], y[:, -1]))}

    def reference(self) -> "HostArrays":
        """Return the same from a double-precision transform of the inputs on the host."""
        x = to_host(self._x).astype(np.float64)
        last = x.shape[1] // 2
        turn = np.exp(-2j * np.pi * (last * np.arange(x.shape[1]) % x.shape[1]) / x.shape[1])
        return {
            "rows": np.fft.rfft(x[self._rows], axis=1),
            "terms": np.concatenate((x.sum(axis=1).astype(np.complex128), x @ turn)),
        }


class CudaRealFftWork(RealFftWork):
    """The same through a cuFFT plan made once, so that a launch only enqueues."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        cufft = load_binding("cupy.cuda.cufft")
        kind = cufft.CUFFT_R2C if params.text("dtype") == "float32" else cufft.CUFFT_D2Z
        self._plan: Any = cufft.Plan1d(params.integer("n"), kind, params.integer("batch"))
        self._forward = cufft.CUFFT_FORWARD

    def launch(self) -> None:
        """Enqueue one transform of the batch."""
        self._plan.fft(self._x, self._y, self._forward)
