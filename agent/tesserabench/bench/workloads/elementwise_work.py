"""The work of elementwise functions."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum, normal
from tesserabench.bench.workloads.arrays import pick, poison, unwritten
from tesserabench.bench.workloads.memory_cuda import THREADS, grid_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays

FACTOR, SUMMAND = np.float32(0.875), np.float32(0.125)
"""One step of the chain: x becomes 0.875 x + 0.125, whose fixed point is 1: no number of steps overflows."""
ROOT, CUBIC = np.float32(0.7978845608028654), np.float32(0.044715)
"""sqrt(2 / pi) and the cubic coefficient of GELU's form with tanh (Hendrycks and Gimpel 2016)."""


class Elementwise:
    """Input, output and checks of y = f(x)."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        self.count = params.integer("n")
        self.x: Any = normal(self.xp, self.count, "float32", seed=seed)
        self.y: Any = self.xp.empty(self.count, dtype="float32")

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.x)

    def poison(self) -> None:
        """Fill the result with NaN patterns."""
        poison(self.y)

    def outputs(self) -> "HostArrays":
        """Return the checked elements, and how many of all are not finite."""
        return {"y": pick(self.xp, self.y), "unwritten": unwritten(self.xp, self.y)}

    def reference(self) -> "HostArrays":
        """Return the same elements computed in float64."""
        return {"y": self.exact(pick(self.xp, self.x).astype(np.float64)), "unwritten": np.zeros(1)}

    def exact(self, x: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
        """Return f(x)."""
        raise NotImplementedError


class Chain(Elementwise):
    """Multiply-adds one after the other, each a pass over the array."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self.steps = params.integer("steps")

    def launch(self) -> None:
        """Run the chain once: two NumPy calls a step."""
        source = self.x
        for _ in range(self.steps):
            np.multiply(source, FACTOR, out=self.y)
            np.add(self.y, SUMMAND, out=self.y)
            source = self.y

    def exact(self, x: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
        """Return the chain's result in closed form."""
        return 1 + (x - 1) * float(FACTOR) ** self.steps


class CudaChain(Chain):
    """One launch for the whole chain, or one for each step; all but the first work in place."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        fused = bool(params["fused"])
        define = {"OPERATION": "multiply_add", "STEPS": str(self.steps if fused else 1)}
        self._kernel: Any = device.kernel("elementwise", "elementwise", defines=define)
        self._launches = 1 if fused else self.steps
        self._grid, self._length = grid_of(device), np.uint64(self.count)

    def launch(self) -> None:
        """Enqueue the chain once."""
        source = self.x
        for _ in range(self._launches):
            self._kernel(self._grid, (THREADS,), (source, self.y, self._length))
            source = self.y


class Map(Elementwise):
    """One function."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self.function = params.text("function")

    def launch(self) -> None:
        """Apply the function once: exp is one NumPy call, gelu a series of them over the whole array."""
        if self.function == "exp":
            np.exp(self.x, out=self.y)
            return
        np.multiply(self.x, self.x, out=self.y)
        np.multiply(self.y, self.x, out=self.y)
        np.multiply(self.y, CUBIC, out=self.y)
        np.add(self.y, self.x, out=self.y)
        np.multiply(self.y, ROOT, out=self.y)
        np.tanh(self.y, out=self.y)
        np.add(self.y, np.float32(1), out=self.y)
        np.multiply(self.y, self.x, out=self.y)
        np.multiply(self.y, np.float32(0.5), out=self.y)

    def exact(self, x: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
        """Return the function's value."""
        if self.function == "exp":
            result: npt.NDArray[np.float64] = np.exp(x)
            return result
        inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        return np.asarray(0.5 * x * (1 + np.tanh(inner)), dtype=np.float64)


class CudaMap(Map):
    """One launch, sixteen bytes a thread and step."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        name = {"exp": "exponential", "gelu": "gelu"}[self.function]
        self._kernel: Any = device.kernel("elementwise", "elementwise", defines={"OPERATION": name, "STEPS": "1"})
        self._grid, self._length = grid_of(device), np.uint64(self.count)

    def launch(self) -> None:
        """Enqueue the function once."""
        self._kernel(self._grid, (THREADS,), (self.x, self.y, self._length))
