"""The work of a declared kernel: its arguments in place, its outputs checked against its reference."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.bundle.declared import Argument, Declared, DeclaredKernel
from tesserabench.bench.bundle.expression import ExpressionError, array_functions
from tesserabench.bench.bundle.sources import cuda_source
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum, normal, uniform
from tesserabench.bench.workloads.arrays import pick, poison, to_host, unwritten

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays


def shape_of(argument: Argument, params: Params) -> tuple[int, ...]:
    """Return an array argument's shape in a case."""
    shape = tuple(formula.integer(params) for formula in argument.shape)
    if any(length < 1 for length in shape):
        raise ExpressionError(f"argument {argument.name!r} has the shape {shape}; every length must be 1 or more")
    return shape


def make_input(xp: Any, argument: Argument, params: Params, seed: int, stream: int) -> Any:
    """Return an input: the same numbers for the same seed, place and case on every device."""
    shape, dtype = shape_of(argument, params), argument.dtype_of(params)
    count = int(np.prod(shape))
    if argument.distribution == "integers":
        assert argument.high is not None, "checked when the manifest was read"
        high = argument.high.integer(params)
        found = xp.floor(uniform(xp, count, "float64", seed=seed, stream=stream) * high).astype(dtype)
    elif np.dtype(dtype).kind == "f":
        make = normal if argument.distribution == "normal" else uniform
        found = make(xp, count, dtype, seed=seed, stream=stream)
    else:
        raise ExpressionError(
            f"argument {argument.name!r} is {dtype} and {argument.distribution}; whole numbers need the distribution "
            "'integers' with high"
        )
    return found.reshape(shape)


class DeclaredArrays:
    """The arguments of one case of a declared kernel, in any array library, and what its formulas make of them."""

    def __init__(self, declared: Declared, xp: Any, params: Params, seed: int) -> None:
        self.xp, self.declared, self.params = xp, declared, params
        self.arrays: dict[str, Any] = {}
        for stream, item in enumerate(declared.inputs):
            self.arrays[item.name] = make_input(xp, item, params, seed, stream)
        for item in declared.outputs:
            self.arrays[item.name] = xp.empty(shape_of(item, params), dtype=item.dtype_of(params))
        self.scalars = {item.name: _scalar(item, params) for item in declared.arguments if item.role == "scalar"}

    def formulas(self) -> "dict[str, npt.NDArray[Any]]":
        """Return every output by its formula in float64, whole and of the output's shape."""
        inputs = {item.name: _wide(to_host(self.arrays[item.name])) for item in self.declared.inputs}
        names = {**self.params, **{name: value.item() for name, value in self.scalars.items()}, **inputs}
        functions = array_functions()
        found: dict[str, npt.NDArray[Any]] = {}
        for item in self.declared.outputs:
            value = np.asarray(self.declared.reference[item.name].value(names, functions))
            wanted = self.arrays[item.name].shape
            if value.shape != wanted and value.size != int(np.prod(wanted)):
                raise ExpressionError(
                    f"the reference of {item.name!r} has the shape {value.shape}, but the output has {wanted}"
                )
            found[item.name] = value.reshape(wanted)
        return found


class DeclaredWork(DeclaredArrays):
    """One case of a declared kernel on a CUDA device."""

    def __init__(self, declared: Declared, folder: Path, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(declared, device.xp, params, seed)
        self._device, self._folder = device, folder
        self._call = self._ready(declared.kernel, self.arrays)

    def launch(self) -> None:
        """Enqueue the kernel once."""
        self._call()

    def poison(self) -> None:
        """Fill every output with NaN patterns."""
        for item in self.declared.outputs:
            poison(self.arrays[item.name].reshape(-1))

    def outputs(self) -> "HostArrays":
        """Return the checked elements of every output, and how many of all are not finite."""
        found: dict[str, npt.NDArray[np.generic]] = {}
        for item in self.declared.outputs:
            flat = self.arrays[item.name].reshape(-1)
            found[item.name] = pick(self.xp, flat)
            if flat.dtype.kind == "f":
                found[f"{item.name}.unwritten"] = unwritten(self.xp, flat)
        return found

    def checksum(self) -> str:
        """Return a digest of every input as the device holds it now: a kernel that writes over one is found out."""
        return checksum(self.xp, *(self.arrays[item.name] for item in self.declared.inputs))

    def reference(self) -> "HostArrays":
        """Return the same from the formulas in float64 on the host, or from the reference kernel."""
        kernel = self.declared.reference_kernel
        exact = self.formulas() if kernel is None else self._kernel_reference(kernel)
        found: dict[str, npt.NDArray[np.generic]] = {}
        for item in self.declared.outputs:
            found[item.name] = pick(np, exact[item.name].reshape(-1))
            if self.arrays[item.name].dtype.kind == "f":
                found[f"{item.name}.unwritten"] = np.zeros(1)
        return found

    def _kernel_reference(self, kernel: DeclaredKernel) -> "dict[str, npt.NDArray[Any]]":
        arrays = dict(self.arrays)
        for item in self.declared.outputs:
            arrays[item.name] = self.xp.empty_like(self.arrays[item.name])
            poison(arrays[item.name].reshape(-1))
        self._ready(kernel, arrays)()
        self._device.synchronize()
        return {item.name: _wide(to_host(arrays[item.name])) for item in self.declared.outputs}

    def _ready(self, kernel: DeclaredKernel, arrays: dict[str, Any]) -> Any:
        compiled = self._device.compile(
            cuda_source(self._folder / kernel.source, root=self._folder),
            kernel.function,
            name=Path(kernel.source).stem,
            options=kernel.options,
            defines=kernel.definitions(self.params),
        )
        grid, block, shared = kernel.launch_shape(self.params)
        arguments = tuple(
            self.scalars[item.name] if item.role == "scalar" else arrays[item.name] for item in self.declared.arguments
        )
        return lambda: compiled(grid, block, arguments, shared_mem=shared)


def _scalar(argument: Argument, params: Params) -> Any:
    assert argument.value is not None, "checked when the manifest was read"
    return np.dtype(argument.dtype).type(argument.value.value(params))


def _wide(array: "npt.NDArray[Any]") -> "npt.NDArray[Any]":
    """Return floats as float64, and whole numbers as int64."""
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
