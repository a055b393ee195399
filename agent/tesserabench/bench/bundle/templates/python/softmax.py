"""Softmax of the rows of a matrix: NumPy on a CPU, CuPy on a CUDA device.

A benchmark is a function that prepares work. The work's `launch` is what is timed: it must allocate nothing and wait
for nothing. Before anything is timed, the outputs are filled with NaN, launched once and compared with `reference`.
"""

from typing import Any

from tesserabench.bench import ArrayDevice, Params, Workload, benchmark


def _size(params: Params) -> int:
    return params.integer("rows") * params.integer("columns")


@benchmark(
    name="softmax",
    summary="each row's exponentials over their sum; counts one read and one write of each element",
    # Every combination is a case; `m,n` as a name would tie two parameters together.
    parameters={"rows": (1024,), "columns": (512, 2048), "dtype": ("float32", "float64")},
    # smoke takes seconds. A tier replaces the values of the tiers before it.
    tiers={"smoke": {"columns": (512,), "dtype": ("float32",)}, "regression": {"columns": (512, 2048)}},
    devices=("cpu", "cuda", "simulated"),
    # What the work must do at least: these give FLOP/s, B/s and the share of what the device can do.
    flops=lambda params: 5 * _size(params),
    bytes=lambda params: 2 * _size(params) * (8 if params.text("dtype") == "float64" else 4),
    # Raise this when the work behind the same parameters changes: old and new numbers are not comparable then.
    version=1,
)
def softmax(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work of one case."""
    return Softmax(device, params, seed)


class Softmax:
    """y = exp(x - max(x)) / sum(exp(x - max(x))), row by row."""

    # CuPy's reductions may allocate: that is not allowed in a CUDA graph, so this work is timed without one.
    capturable = False

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        # NumPy is imported here, so that listing benchmarks needs none.
        from tesserabench.bench.inputs import normal  # noqa: PLC0415

        rows, columns, dtype = params.integer("rows"), params.integer("columns"), params.text("dtype")
        self.xp: Any = device.xp
        # The same seed gives the same numbers on every device; zeros would flatter a power-limited one.
        self.x: Any = normal(self.xp, rows * columns, dtype, seed=seed).reshape(rows, columns)
        self.y: Any = self.xp.empty_like(self.x)
        self.row: Any = self.xp.empty((rows, 1), dtype=dtype)

    def launch(self) -> None:
        """Do the work once."""
        xp = self.xp
        xp.amax(self.x, axis=1, keepdims=True, out=self.row)
        xp.subtract(self.x, self.row, out=self.y)
        xp.exp(self.y, out=self.y)
        xp.sum(self.y, axis=1, keepdims=True, out=self.row)
        xp.divide(self.y, self.row, out=self.y)

    def poison(self) -> None:
        """Fill every output with NaN patterns, so that unwritten parts are seen."""
        self.y.view("uint8").fill(0xFF)

    def outputs(self) -> dict[str, Any]:
        """Return the outputs in host memory."""
        return {"y": _host(self.y)}

    def reference(self) -> dict[str, Any]:
        """Return what they should be, computed in another way, in float64, on the host."""
        import numpy as np  # noqa: PLC0415 - see above

        x = _host(self.x).astype(np.float64)
        return {"y": np.exp(x - np.logaddexp.reduce(x, axis=1, keepdims=True))}


def _host(array: Any) -> Any:
    """Return a copy of an array in host memory."""
    return array.get() if hasattr(array, "get") else array.copy()
