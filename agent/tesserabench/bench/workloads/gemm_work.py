"""The work of the gemm suite."""

from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import normal
from tesserabench.bench.workloads.arrays import poison, to_host

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays

CHECKED_ROWS = 64
"""Rows compared in float64 when the whole product is too large to be computed again on the host."""
WHOLE_LIMIT = 1024
"""Largest number of rows for which the whole product is computed again."""


class MatmulWork:
    """C = A B for row-major A (m, k), B (k, n) and C (m, n)."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        m, n, k, dtype = params.integer("m"), params.integer("n"), params.integer("k"), params.text("dtype")
        xp = device.xp
        # CuPy writes straight into out= only from dot; its matmul may go through a temporary array.
        self._multiply = xp.dot
        self._a: Any = normal(xp, m * k, dtype, seed=seed, stream=0).reshape(m, k)
        self._b: Any = normal(xp, k * n, dtype, seed=seed, stream=1).reshape(k, n)
        self._c: Any = xp.empty((m, n), dtype=dtype)
        self._rows = np.linspace(0, m - 1, num=m if m <= WHOLE_LIMIT else CHECKED_ROWS).astype(np.int64)
        self._probe = np.asarray(normal(np, n, "float64", seed=seed, stream=2))

    def launch(self) -> None:
        """Multiply once, without allocating."""
        self._multiply(self._a, self._b, out=self._c)

    def poison(self) -> None:
        """Fill C with NaN patterns."""
        poison(self._c)

    def outputs(self) -> "HostArrays":
        """Return the compared rows of C, and C times a random vector, which no wrong entry escapes (Freivalds 1977)."""
        c = to_host(self._c)
        return {"rows": c[self._rows], "product": c.astype(np.float64) @ self._probe}

    def reference(self) -> "HostArrays":
        """Return the same from A and B in float64."""
        a, b = to_host(self._a).astype(np.float64), to_host(self._b).astype(np.float64)
        return {"rows": a[self._rows] @ b, "product": a @ (b @ self._probe)}
