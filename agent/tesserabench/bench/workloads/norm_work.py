"""The NumPy work of the norm suite, and the arrays and checks that its CUDA form shares."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum
from tesserabench.bench.workloads.arrays import WHOLE_ELEMENTS, poison, to_host
from tesserabench.bench.workloads.elements import decode, normal_inputs, not_finite, storage

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays

    Rows = npt.NDArray[np.float64]

LAYER_EPSILON = 1e-5
RMS_EPSILON = 1e-6
CHECKED_ROWS = 64
"""Rows, spread from the first to the last, that are compared where the whole matrix is too large."""


class RowWork:
    """Rows of standard normal values, and as many rows of results."""

    results: tuple[str, ...] = ("y",)

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        self.rows, self.columns = params.integer("rows"), params.integer("columns")
        self.dtype = params.text("dtype")
        self._seed = seed
        self._given: list[Any] = []
        self.x = self.inputs(0, self.rows)
        self.written: dict[str, Any] = {name: self.empty() for name in self.results}
        count = min(self.rows, max(CHECKED_ROWS, WHOLE_ELEMENTS // self.columns))
        self._checked = np.unique(np.linspace(0, self.rows - 1, num=count).astype(np.int64))

    def inputs(self, stream: int, rows: int) -> Any:
        """Return rows of standard normal values of the dtype."""
        values = normal_inputs(self.xp, rows * self.columns, self.dtype, seed=self._seed, stream=stream)
        self._given.append(values)
        return values.reshape(rows, self.columns)

    def empty(self) -> Any:
        """Return room for one result."""
        return self.xp.empty((self.rows, self.columns), dtype=storage(self.dtype))

    def launch(self) -> None:
        """Do the work once."""
        raise NotImplementedError

    def poison(self) -> None:
        """Fill the results with NaN patterns."""
        for array in self.written.values():
            poison(array)

    def checksum(self) -> str:
        """Return a digest of all inputs."""
        return checksum(self.xp, *self._given)

    def checked(self, array: Any) -> "Rows":
        """Return the compared rows of a matrix as float64 on the host."""
        rows = array if len(self._checked) == len(array) else array[self.xp.asarray(self._checked)]
        return np.asarray(decode(np, to_host(rows), self.dtype))

    def outputs(self) -> "HostArrays":
        """Return the compared rows of every result, and how many elements of all are not finite."""
        found: dict[str, npt.NDArray[np.generic]] = {name: self.checked(array) for name, array in self.written.items()}
        bad = [not_finite(self.xp, array, self.dtype) for array in self.written.values()]
        return {**found, "unwritten": np.sum(bad, axis=0)}

    def reference(self) -> "HostArrays":
        """Return the same rows computed in float64."""
        return {**self.expected(), "unwritten": np.zeros(1)}

    def expected(self) -> "dict[str, Rows]":
        """Return the compared rows of every result."""
        raise NotImplementedError


class Softmax(RowWork):
    """y = exp(x - max) / sum."""

    def launch(self) -> None:
        """Four passes over the rows, as NumPy has no fused form."""
        y = self.written["y"]
        np.subtract(self.x, np.max(self.x, axis=1, keepdims=True), out=y)
        np.exp(y, out=y)
        np.divide(y, np.sum(y, axis=1, keepdims=True), out=y)

    def expected(self) -> "dict[str, Rows]":
        """Return the softmax in float64."""
        x = self.checked(self.x)
        powers = np.exp(x - x.max(axis=1, keepdims=True))
        return {"y": powers / powers.sum(axis=1, keepdims=True)}


class LayerNorm(RowWork):
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self.gamma, self.beta = self.inputs(1, 1)[0], self.inputs(2, 1)[0]

    def launch(self) -> None:
        """Normalise with whole passes."""
        y = self.written["y"]
        np.subtract(self.x, np.mean(self.x, axis=1, keepdims=True), out=y)
        variance = np.einsum("rc,rc->r", y, y) / np.float32(self.columns)
        np.multiply(y, (1 / np.sqrt(variance + np.float32(LAYER_EPSILON)))[:, None], out=y)
        np.multiply(y, self.gamma, out=y)
        np.add(y, self.beta, out=y)

    def expected(self) -> "dict[str, Rows]":
        """Return the normalised rows in float64."""
        x = self.checked(self.x)
        gamma, beta = (np.asarray(decode(np, to_host(part), self.dtype)) for part in (self.gamma, self.beta))
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        return {"y": centred / np.sqrt(variance + LAYER_EPSILON) * gamma + beta}


class RmsNorm(RowWork):
    """y = x / sqrt(mean of squares + epsilon) * gamma."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self.gamma = self.inputs(1, 1)[0]

    def launch(self) -> None:
        """Normalise with whole passes."""
        self._normalise(self.x)

    def _normalise(self, rows: Any) -> None:
        y = self.written["y"]
        mean = np.einsum("rc,rc->r", rows, rows) / np.float32(self.columns)
        np.multiply(rows, (1 / np.sqrt(mean + np.float32(RMS_EPSILON)))[:, None], out=y)
        np.multiply(y, self.gamma, out=y)

    def normed(self, x: "Rows") -> "Rows":
        """Return the norm of rows in float64."""
        gamma = np.asarray(decode(np, to_host(self.gamma), self.dtype))
        scaled: Rows = x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + RMS_EPSILON) * gamma
        return scaled

    def expected(self) -> "dict[str, Rows]":
        """Return the normalised rows in float64."""
        return {"y": self.normed(self.checked(self.x))}


class ResidualRmsNorm(RmsNorm):
    """h = x + residual, which the next layer needs, and the norm of h."""

    results = ("h", "y")

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self.residual = self.inputs(3, self.rows)

    def launch(self) -> None:
        """Add, then normalise."""
        np.add(self.x, self.residual, out=self.written["h"])
        self._normalise(self.written["h"])

    def expected(self) -> "dict[str, Rows]":
        """Return the sum and its norm in float64."""
        total = self.checked(self.x) + self.checked(self.residual)
        return {"h": total, "y": self.normed(total)}
