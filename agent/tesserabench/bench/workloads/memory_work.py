"""The NumPy work of the memory suite, and the arrays and checks that its CUDA form shares."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum, uniform
from tesserabench.bench.workloads.arrays import pick, poison, to_host, unwritten

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays

SCALAR = 3.0
"""The factor of the triad, as in McCalpin's STREAM."""


class Copy:
    """b = a."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        count, dtype = params.integer("n"), params.text("dtype")
        self.a: Any = uniform(self.xp, count, dtype, seed=seed)
        self.b: Any = self.xp.empty(count, dtype=dtype)

    def launch(self) -> None:
        """Copy once."""
        np.copyto(self.b, self.a)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.a)

    def poison(self) -> None:
        """Fill the target with NaN patterns."""
        poison(self.b)

    def outputs(self) -> "HostArrays":
        """Return the checked elements of the target, and how many of all are not finite."""
        return {"b": pick(self.xp, self.b), "unwritten": unwritten(self.xp, self.b)}

    def reference(self) -> "HostArrays":
        """Return the same elements of the source."""
        return {"b": pick(self.xp, self.a).astype(np.float64), "unwritten": np.zeros(1)}


class Triad:
    """c = a + s b."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        count, dtype = params.integer("n"), params.text("dtype")
        self.a: Any = uniform(self.xp, count, dtype, seed=seed, stream=0)
        self.b: Any = uniform(self.xp, count, dtype, seed=seed, stream=1)
        self.c: Any = self.xp.empty(count, dtype=dtype)
        self._factor = np.dtype(dtype).type(SCALAR)

    def launch(self) -> None:
        """Multiply into the target, then add: NumPy has no fused form, and the second pass is part of its cost."""
        np.multiply(self.b, self._factor, out=self.c)
        np.add(self.c, self.a, out=self.c)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.a, self.b)

    def poison(self) -> None:
        """Fill the target with NaN patterns."""
        poison(self.c)

    def outputs(self) -> "HostArrays":
        """Return the checked elements of the target, and how many of all are not finite."""
        return {"c": pick(self.xp, self.c), "unwritten": unwritten(self.xp, self.c)}

    def reference(self) -> "HostArrays":
        """Return the same elements computed in float64."""
        a, b = (pick(self.xp, array).astype(np.float64) for array in (self.a, self.b))
        return {"c": a + SCALAR * b, "unwritten": np.zeros(1)}


class Reduction:
    """The sum of all elements; uniform inputs keep it well conditioned."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        count, dtype = params.integer("n"), params.text("dtype")
        self.a: Any = uniform(self.xp, count, dtype, seed=seed)
        self.sum: Any = self.xp.empty(1, dtype=dtype)

    def launch(self) -> None:
        """Sum once."""
        np.sum(self.a, out=self.sum[0:1], keepdims=True)

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.a)

    def poison(self) -> None:
        """Fill the sum with a NaN pattern."""
        poison(self.sum)

    def outputs(self) -> "HostArrays":
        """Return the sum."""
        return {"sum": to_host(self.sum).copy()}

    def reference(self) -> "HostArrays":
        """Return the sum accumulated in float64 on the host."""
        return {"sum": np.array([np.sum(to_host(self.a), dtype=np.float64)])}
