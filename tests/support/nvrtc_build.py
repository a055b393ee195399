"""Compiling CUDA text with NVRTC on a machine without a GPU, with ptxas' own report of registers and spills."""

import hashlib
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cupy_backends.cuda.libs import nvrtc
from tesserabench.bench.kernels import ARCHITECTURES, compile_options, find, modules

CACHE = Path(__file__).parents[2] / "build" / "nvrtc"
_BETWEEN = b"\0\0--binary--\0\0"

_USED = re.compile(
    r"entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What ptxas says of one kernel: registers of a thread, and bytes it moves to and from spilled ones."""

    registers: int
    spilled_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A binary (empty when the text does not compile), the compiler's words and each kernel's resources."""

    binary: bytes
    log: str
    resources: dict[str, Resources]


def include_options() -> tuple[str, ...]:
    """Return the options that let the text include CUDA's own headers, from the package `nvidia-cuda-runtime`."""
    spec = find_spec("nvidia.cu13")
    assert spec is not None, "the dependency group nvrtc is installed"
    assert spec.submodule_search_locations is not None
    return tuple(f"-I{Path(place, 'include')}" for place in spec.submodule_search_locations)


def build(text: str, name: str, options: Sequence[str], architecture: str) -> Build:
    """Compile a text for an architecture such as `90` or `90a`; what was compiled before is taken from build/nvrtc."""
    wanted = (*options, *include_options(), f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v")
    version = ".".join(map(str, nvrtc.getVersion()))
    key = hashlib.sha256("\0".join((version, name, text, *wanted)).encode()).hexdigest()
    kept = CACHE / key
    if not kept.is_file():
        binary, log = _compile(text, name, wanted)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=CACHE, delete=False) as file:
            file.write(log.encode() + _BETWEEN + binary)
        Path(file.name).replace(kept)
    words, _, binary = kept.read_bytes().partition(_BETWEEN)
    log = words.decode()
    resources = {
        kernel: Resources(registers=int(registers), spilled_bytes=int(stores) + int(loads))
        for kernel, stores, loads, registers in _USED.findall(log)
    }
    return Build(binary=binary, log=log, resources=resources)


def _compile(text: str, name: str, options: tuple[str, ...]) -> tuple[bytes, str]:
    """Return the binary, empty when the text does not compile, and what the compiler said."""
    program: Any = nvrtc.createProgram(text, f"{name}.cu", (), ())
    try:
        nvrtc.compileProgram(program, options)
        return bytes(nvrtc.getCUBIN(program)), str(nvrtc.getProgramLog(program))
    except nvrtc.NVRTCError:
        return b"", str(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


def combinations(architectures: Collection[str]) -> list[Any]:
    """Return every kernel module with every variant it declares, for those of its architectures that are named.

    A module with architectures of its own is compiled for them all wherever the first of `architectures` is 80.
    """
    found: list[Any] = []
    for module in modules():
        kernel = find(module)
        own = kernel.architectures if kernel.architectures != ARCHITECTURES else None
        chosen = [name for name in ARCHITECTURES if name in architectures] if own is None else own
        if own is not None and "80" not in architectures:
            continue
        for variant in kernel.variants:
            told = ",".join(f"{name}={value}" for name, value in variant.items())
            found.extend(pytest.param(module, variant, name, id=f"{module}[{told}]-sm_{name}") for name in chosen)
    return found


def require_clean(module: str, variant: Mapping[str, str], architecture: str) -> None:
    """Assert that a kernel module compiles without a warning and without spilled registers."""
    kernel = find(module)
    built = build(kernel.text, module, compile_options(variant), architecture)
    assert built.binary.startswith(b"\x7fELF"), built.log
    assert "warning" not in built.log
    assert set(built.resources) == set(kernel.functions), built.log
    if not kernel.may_spill:
        spilled = {name: found.spilled_bytes for name, found in built.resources.items() if found.spilled_bytes}
        assert spilled == {}
