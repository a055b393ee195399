"""Our CUDA kernels without a GPU: g++ compiles them over cuda_on_cpu.h, which runs a block's threads as fibers.

    emulated_work("memory/copy", {"n": 1001, ...})  the CUDA work of a benchmark, over NumPy arrays
    check_work(work, limit)                         poison, launch, compare with the reference
    EmulatedCuda().kernel("copy", "copy", defines={...})  callable(grid, block, args, shared_mem=0), as of CuPy
    text_module("__global__ ...", "name")           the same for a source text

Arrays that a kernel gets lie against guard pages with 0xFF around them; whatever goes wrong raises EmulationError with
block, thread and source line. Tests that need it carry the mark `needs_gxx`.
"""

import ctypes
import functools
import hashlib
import itertools
import mmap
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from tesserabench.bench import ArrayDevice, DeviceInfo, DeviceKind, Params, Workload, find_benchmark
from tesserabench.bench.kernels import source
from tesserabench.bench.verification import relative_error

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "build" / "cuda_on_cpu"
FLAGS = (
    *("-std=c++17", "-O1", "-g1", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-fno-strict-aliasing"),
    # Undefined behaviour traps, which the header turns into an error that names block, thread and line.
    *("-fsanitize=alignment,bounds,shift,integer-divide-by-zero,null", "-fsanitize-undefined-trap-on-error"),
    *("-ffp-contract=off", "-Wno-unknown-pragmas", "-Wno-unused-function", "-w"),
)
SEEDS = (0, 1, 2)
"""Orders in which threads are run: as numbered; warp by warp, each as far as it gets; any."""

needs_gxx = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine: NVRTC alone checks kernels")

_GLOBAL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")
_BOUNDS = re.compile(r"__launch_bounds__\s*\([^)]*\)")
_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:alignas\s*\([^)]*\)\s*|__align__\s*\([^)]*\)\s*)?([\w\s:]+?)\s+(\w+)\s*\[\s*\]\s*;"
)
_HEADER = '#include "cuda_on_cpu.h"\n{includes}\nnamespace {{ namespace kernels {{\n#line 1 "{name}"\n{body}\n}} }}\n'
_ENTRY = (
    'extern "C" __attribute__((visibility("default"))) void emulate_{name}(const cuda_on_cpu::Order* order, '
    "void** values, const unsigned int* sizes, cuda_on_cpu::Fault* fault)\n"
    "{{ cuda_on_cpu::guarded(kernels::{name}, order, values, sizes, fault); }}\n"
)


class EmulationError(AssertionError):
    """A kernel did what no kernel may do; the text says where."""


class _Order(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("seed", ctypes.c_uint),
        ("arguments", ctypes.c_uint),
    )


class _Fault(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char * 400), ("program_counter", ctypes.c_void_p))


class Guarded:
    """A copy of an array whose last byte lies at most fifteen bytes before a page that nobody may touch."""

    ROOM = 64

    def __init__(self, array: "npt.NDArray[Any]") -> None:
        if not array.flags.c_contiguous:
            raise EmulationError("an array argument is not contiguous")
        page = mmap.PAGESIZE
        size = -(-array.nbytes // 16) * 16
        inner = -(-(size + self.ROOM) // page) * page
        self._array, self._map = array, mmap.mmap(-1, inner + page)
        whole = np.frombuffer(self._map, dtype=np.uint8)
        self.base = whole.ctypes.data
        whole[:inner] = 0xFF
        self._begin = inner - size
        self._bytes = whole[:inner]
        whole[self._begin : self._begin + array.nbytes] = array.reshape(-1).view(np.uint8)
        self.address = self.base + self._begin
        self._guard = (ctypes.c_void_p(self.base + inner), ctypes.c_size_t(page))
        self._protect(0)

    def _protect(self, rights: int) -> None:
        if ctypes.CDLL(None, use_errno=True).mprotect(*self._guard, rights) != 0:
            raise OSError(ctypes.get_errno(), "mprotect failed")

    def collect(self) -> None:
        """Copy the content back; raise EmulationError when something was written around it."""
        self._protect(mmap.PROT_READ | mmap.PROT_WRITE)
        end = self._begin + self._array.nbytes
        if np.any(self._bytes[: self._begin] != 0xFF) or np.any(self._bytes[end:] != 0xFF):
            raise EmulationError(f"a kernel wrote outside an array of {self._array.nbytes} bytes")
        if self._array.flags.writeable:
            self._array.reshape(-1).view(np.uint8)[:] = self._bytes[self._begin : end]


class EmulatedKernel:
    """One kernel, called as CuPy's are."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._entry = path, getattr(ctypes.CDLL(str(path)), f"emulate_{name}")
        self._name = name
        self._entry.restype = None
        self.seed = 0

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        """Run every block; raise EmulationError for whatever a GPU would have punished or hidden."""
        guards: dict[tuple[int, int], Guarded] = {}
        held = [_value(argument, guards) for argument in args]
        _refuse_overlap(guards)
        values = (ctypes.c_void_p * max(1, len(held)))(*(item.ctypes.data for item in held))
        sizes = (ctypes.c_uint * max(1, len(held)))(*(item.nbytes for item in held))
        order = _Order(_three(grid), _three(block), shared_mem, self.seed, len(held))
        fault = _Fault()
        self._entry(ctypes.byref(order), values, sizes, ctypes.byref(fault))
        for guard in guards.values():
            guard.collect()
        if fault.text:
            raise EmulationError(f"{self._name}: {fault.text.decode()}{self._place(fault.program_counter)}")

    def _place(self, address: int | None) -> str:
        """Return the source line of a program counter, where binutils can tell it."""
        tool = shutil.which("addr2line")
        if address is None or tool is None:
            return ""
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        base = min(int(line.split("-")[0], 16) for line in maps if line.endswith(str(self._path)))
        done = subprocess.run(
            (tool, "-e", str(self._path), hex(address - base)), capture_output=True, text=True, check=False
        )
        return f" at {Path(done.stdout.strip()).name}"


class EmulatedCuda:
    """What the workloads of a CUDA device need of it: NumPy in the place of CuPy, our kernels run by fibers."""

    xp: Any = np

    def __init__(self, *, processors: int = 2, seed: int = 0) -> None:
        self.info = DeviceInfo(
            kind=DeviceKind.CUDA,
            model="emulated",
            processors=processors,
            memory_bytes=1 << 30,
            cache_bytes=1 << 20,
            compute_capability="9.0",
        )
        self.seed = seed

    def kernel(self, module: str, function: str, *, defines: Mapping[str, str]) -> EmulatedKernel:
        """Return a kernel of `bench/kernels`."""
        found = EmulatedKernel(build(source(module), f"{module}.cu", tuple(sorted(defines.items()))), function)
        found.seed = self.seed
        return found

    def synchronize(self) -> None:
        """Nothing is ever pending."""


def text_module(text: str, function: str, **defines: str) -> EmulatedKernel:
    """Return a kernel of a source given as text."""
    return EmulatedKernel(build(text, "text.cu", tuple(sorted(defines.items()))), function)


def emulated_work(benchmark: str, params: Mapping[str, bool | int | float | str], *, order: int = 0) -> Workload:
    """Return what a benchmark would launch on a CUDA device; `order` is one of SEEDS."""
    device = cast("ArrayDevice", EmulatedCuda(seed=order))
    return find_benchmark(benchmark).prepare(device, Params(params), 7)


def check_work(work: Workload, limit: float, launches: int = 2) -> None:
    """Poison and launch a few times; assert that outputs equal the reference within a relative Frobenius error."""
    reference = work.reference()
    assert reference, "there is nothing to check"
    for _ in range(launches):
        work.poison()
        work.launch()
        outputs = work.outputs()
        assert set(outputs) == set(reference)
        for name, exact in reference.items():
            error = relative_error(outputs[name], exact)
            assert error is not None, f"{name} is not finite or has the wrong shape"
            assert error <= limit, f"{name} is off by {error:.3g} (limit {limit:.3g})"


@functools.cache
def build(text: str, name: str, defines: tuple[tuple[str, str], ...]) -> Path:
    """Compile a source into a library, unless the same was compiled before."""
    headers = [
        (HERE / header).read_text("utf-8")
        for header in ("cuda_on_cpu.h", "cuda_on_cpu_intrinsics.h", "cuda_on_cpu_tensor.h")
    ]
    options = (*FLAGS, f"-I{HERE}", *(f"-D{key}={value}" for key, value in defines))
    wrapped = _wrap(text, name)
    key = hashlib.sha256("\0".join((*headers, wrapped, *options)).encode()).hexdigest()[:24]
    target = CACHE / f"{Path(name).stem}-{key}.so"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = CACHE / f"{key}.{os.getpid()}.so"
        command = ("g++", *options, "-x", "c++", "-", "-o", str(fresh), "-lm")
        done = subprocess.run(command, input=wrapped, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise EmulationError(f"g++ cannot compile {name}:\n{done.stderr[:4000]}")
        fresh.replace(target)
    return target


def _wrap(text: str, name: str) -> str:
    """Return the source as C++: in a namespace, since a kernel called `read` would meet the C library's."""
    names = _GLOBAL.findall(_BOUNDS.sub("", text))
    includes = [line for line in text.splitlines() if line.lstrip().startswith("#include")]
    body = "\n".join("" if line in includes else line for line in text.splitlines()).replace('extern "C"', "")
    body = _DYNAMIC.sub(r"\1* \2 = reinterpret_cast<\1*>(cuda_on_cpu::dynamic_bytes);", body)
    head = _HEADER.format(includes="\n".join(includes), name=name, body=body)
    return head + "".join(_ENTRY.format(name=kernel) for kernel in dict.fromkeys(names))


def _value(argument: Any, guards: dict[tuple[int, int], Guarded]) -> "npt.NDArray[Any]":
    """Return the bytes of one argument: a pointer to a guarded copy, or the scalar as CuPy would pass it."""
    if isinstance(argument, np.ndarray):
        key = (argument.ctypes.data, argument.nbytes)
        if key not in guards:
            guards[key] = Guarded(argument)
        return np.array([guards[key].address], dtype=np.uint64)
    return np.array([argument])


def _refuse_overlap(guards: Mapping[tuple[int, int], Guarded]) -> None:
    """Copies of arrays that share memory would not share it any more."""
    spans = sorted((begin, begin + size) for begin, size in guards if size)
    for (_, end), (begin, _) in itertools.pairwise(spans):
        if begin < end:
            raise EmulationError("two array arguments share memory without being the same; pass one and an offset")


def _three(values: Sequence[int]) -> Any:
    return (ctypes.c_uint * 3)(*values, *(1,) * (3 - len(values)))
