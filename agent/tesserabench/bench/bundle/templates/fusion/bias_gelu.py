"""Bias and GELU in one pass over memory or in two: `fused` is a parameter, so that the two are measured side by side.

On a CUDA device the work is our own kernel; on a CPU it is NumPy, which can only go one step at a time (or, fused,
block by block within the cache).
"""

from pathlib import Path
from typing import Any

from tesserabench.bench import ArrayDevice, DeviceKind, Params, Workload, benchmark
from tesserabench.bench.bundle import cuda_source

KERNEL = Path(__file__).parent / "kernels" / "bias_gelu.cu"
THREADS = 256
BLOCK = 1 << 15
"""Elements that NumPy's fused form works on at a time."""
_SLOPE = 1.702


@benchmark(
    name="bias_gelu",
    summary="y = g(x + b) with g(v) = v / (1 + exp(-1.702 v)); counts one read and one write of each element",
    parameters={"n": (1 << 20, 1 << 26), "fused": (True, False)},
    tiers={"smoke": {"n": (1 << 20,)}, "regression": {"n": (1 << 20,)}, "full": {"n": (1 << 20, 1 << 26)}},
    devices=("cpu", "cuda", "simulated"),
    flops=lambda params: 6 * params.integer("n"),
    # The same for both: what must be moved. The second pass of the unfused form shows in the rate.
    bytes=lambda params: 8 * params.integer("n"),
    items=lambda params: params.integer("n"),
    # Relative error that still counts as right. Without it the limit is that of the parameter `dtype`.
    tolerance=lambda _: 1e-5,
)
def bias_gelu(device: ArrayDevice, params: Params, seed: int) -> Workload:
    """Return the work of one case."""
    return (CudaBiasGelu if device.info.kind is DeviceKind.CUDA else BiasGelu)(device, params, seed)


class BiasGelu:
    """The work with NumPy, and the arrays and checks of both."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        from tesserabench.bench.inputs import normal  # noqa: PLC0415 - listing benchmarks needs no NumPy

        count = params.integer("n")
        self.xp: Any = device.xp
        self.count, self.fused = count, bool(params["fused"])
        self.x: Any = normal(self.xp, count, "float32", seed=seed)
        self.bias = 0.25
        self.y: Any = self.xp.empty_like(self.x)
        self.scratch: Any = self.xp.empty(count, dtype="float32")

    def launch(self) -> None:
        """Do the work once."""
        step = BLOCK if self.fused else self.count
        for start in range(0, self.count, step):
            part = slice(start, start + step)
            x, y, scratch = self.x[part], self.y[part], self.scratch[part]
            self.xp.add(x, self.xp.float32(self.bias), out=y)
            self.xp.multiply(y, self.xp.float32(-_SLOPE), out=scratch)
            self.xp.exp(scratch, out=scratch)
            self.xp.add(scratch, self.xp.float32(1.0), out=scratch)
            self.xp.divide(y, scratch, out=y)

    def poison(self) -> None:
        """Fill the output with NaN patterns, so that unwritten parts are seen."""
        self.y.view("uint8").fill(0xFF)

    def outputs(self) -> dict[str, Any]:
        """Return the output in host memory."""
        return {"y": _host(self.y)}

    def reference(self) -> dict[str, Any]:
        """Return what it should be, in float64 on the host."""
        import numpy as np  # noqa: PLC0415 - see above

        biased = _host(self.x).astype(np.float64) + self.bias
        return {"y": biased / (1.0 + np.exp(-_SLOPE * biased))}


class CudaBiasGelu(BiasGelu):
    """The work with our own kernels: one launch, or two with the sum written out in between."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        source = cuda_source(KERNEL)
        self.steps = [
            (device.compile(source, "bias_gelu", name=KERNEL.stem, defines={"FUSED": "1"}), self.x, self.y),
        ]
        if not self.fused:
            add = device.compile(source, "bias", name=KERNEL.stem, defines={"FUSED": "0"})
            gelu = device.compile(source, "bias_gelu", name=KERNEL.stem, defines={"FUSED": "0"})
            self.steps = [(add, self.x, self.scratch), (gelu, self.scratch, self.y)]
        self.grid = ((self.count + THREADS - 1) // THREADS,)

    def launch(self) -> None:
        """Enqueue the work once: nothing is allocated, nothing waits."""
        for kernel, source, target in self.steps:
            kernel(self.grid, (THREADS,), (source, target, self.xp.float32(self.bias), self.xp.uint64(self.count)))


def _host(array: Any) -> Any:
    """Return a copy of an array in host memory."""
    return array.get() if hasattr(array, "get") else array.copy()
