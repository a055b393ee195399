"""Kernels of a device: compiled once, launched like CuPy's, and telling what compiler and driver know of them."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tesserabench.bench.device.cuda.compiling import Binary, Compiler
from tesserabench.bench.device.protocol import KernelFacts
from tesserabench.bench.kernels import compile_options, find, parse

_SHARED, _CONSTANT, _LOCAL, _REGISTERS, _DYNAMIC = 1, 2, 3, 4, 8
"""CUfunction_attribute: bytes of shared, constant and local memory, registers, most bytes of dynamic shared memory."""
_DEFAULT_SHARED = 48 << 10
"""A launch may ask for so much shared memory without further ado."""

Shape = tuple[tuple[int, ...], tuple[int, ...], int]


class Kernel:
    """A loaded function: `kernel(grid, block, arguments, shared_mem=0)` launches it on the current stream."""

    def __init__(self, driver: Any, function: Any, name: str, binary: Binary, source_hash: str) -> None:
        self._driver, self._function = driver, function
        self.name, self._binary, self._source_hash = name, binary, source_hash
        self._shapes: dict[Shape, None] = {}
        self._dynamic = _DEFAULT_SHARED
        self.launches = 0

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_mem: int = 0) -> None:
        """Enqueue one launch."""
        if (grid, block, shared_mem) not in self._shapes:
            self._shapes[grid, block, shared_mem] = None
            if shared_mem > self._dynamic:
                self.max_dynamic_shared_size_bytes = shared_mem
        self.launches += 1
        self._function(grid, block, args, shared_mem)

    @property
    def function(self) -> Any:
        """CuPy's function, for whoever measures launches themselves: what a launch here costs beside it is left out."""
        return self._function

    @property
    def num_regs(self) -> int:
        """Registers of a thread."""
        return self._attribute(_REGISTERS)

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """Most shared memory that a launch may add; raised by itself when a launch asks for more."""
        return self._attribute(_DYNAMIC)

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        self._driver.funcSetAttribute(self._function.ptr, _DYNAMIC, size)
        self._dynamic = size

    def facts(self, seconds: float | None, warps: int | None) -> KernelFacts:
        """Return what is known; `warps` is how many a multiprocessor holds, `seconds` what compiling took just now."""
        block = self._main_block()
        return KernelFacts(
            name=self.name,
            registers=self._attribute(_REGISTERS),
            shared_bytes=self._attribute(_SHARED),
            local_bytes=self._attribute(_LOCAL),
            constant_bytes=self._attribute(_CONSTANT),
            block_threads=None if block is None else block[0],
            occupancy=self._occupancy(block, warps),
            architecture=self._binary.architecture,
            options=self._binary.options,
            source_hash=self._source_hash,
            binary_hash=self._binary.digest,
            compile_seconds=seconds,
        )

    def _attribute(self, number: int) -> int:
        return int(self._driver.funcGetAttribute(number, self._function.ptr))

    def _main_block(self) -> tuple[int, int] | None:
        """Return threads and added shared memory of the launch with the most threads; None before the first."""
        if not self._shapes:
            return None
        _, block, shared = max(self._shapes, key=lambda shape: math.prod(shape[0]) * math.prod(shape[1]))
        return math.prod(block), shared

    def _occupancy(self, block: tuple[int, int] | None, warps: int | None) -> float | None:
        if block is None or not warps:
            return None
        blocks = int(self._driver.occupancyMaxActiveBlocksPerMultiprocessor(self._function.ptr, *block))
        return min(1.0, blocks * math.ceil(block[0] / 32) / warps)


class Kernels:
    """The kernels that were asked for, by source and options."""

    def __init__(self, cupy: Any, compiler: Compiler, warps: int | None) -> None:
        self._cuda, self._compiler, self._warps = cupy.cuda, compiler, warps
        self._loaded: dict[tuple[str, tuple[str, ...]], tuple[Any, Binary]] = {}
        self._made: dict[tuple[str, tuple[str, ...], str], Kernel] = {}
        self._asked: dict[Kernel, float | None] = {}

    def forget(self) -> None:
        """Begin a new list of kernels that were asked for."""
        self._asked.clear()

    def own(self, module: str, function: str, defines: Mapping[str, str]) -> Kernel:
        """Return a kernel of `bench/kernels` and note that it was asked for."""
        found = find(module)
        return self.other(found.text, function, module, compile_options(defines), found.architectures)

    def service(self, module: str, function: str) -> Kernel:
        """Return a kernel of `bench/kernels` that belongs to timing, not to the work."""
        found = find(module)
        return self._make(found.text, function, module, compile_options({}), ())[0]

    def other(
        self, text: str, function: str, name: str, options: tuple[str, ...], architectures: Sequence[str] | None = None
    ) -> Kernel:
        """Return a kernel of any source, noted as asked for; None takes architectures from its first lines."""
        if architectures is None:
            architectures = parse(name, text, _nothing).architectures
        kernel, seconds = self._make(text, function, name, options, architectures)
        self._asked.setdefault(kernel, seconds)
        return kernel

    def facts(self) -> tuple[KernelFacts, ...]:
        """Return what is known of the kernels that were asked for."""
        return tuple(kernel.facts(seconds, self._warps) for kernel, seconds in self._asked.items())

    def launches(self) -> int:
        """Return how often any kernel was launched."""
        return sum(kernel.launches for kernel in self._made.values())

    def _make(
        self, text: str, function: str, name: str, options: tuple[str, ...], architectures: Sequence[str]
    ) -> tuple[Kernel, float | None]:
        """Return the kernel, and what compiling its module took if that was done now."""
        source_hash = hashlib.sha256(text.encode()).hexdigest()
        key = (source_hash, options)
        seconds = None
        if key not in self._loaded:
            binary = self._compiler.compile(text, name, options, architectures)
            module = self._cuda.function.Module()
            module.load(binary.image)
            self._loaded[key] = (module, binary)
            seconds = binary.seconds
        module, binary = self._loaded[key]
        if (*key, function) not in self._made:
            found = module.get_function(function)
            self._made[*key, function] = Kernel(self._cuda.driver, found, function, binary, source_hash)
        return self._made[*key, function], seconds


def _nothing(_: str) -> str:
    """Includes of a source that is not ours were taken in by whoever read it."""
    return ""
