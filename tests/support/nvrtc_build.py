"""Compiling CUDA text with NVRTC on a machine without a GPU, with ptxas' own report of registers and spills."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cupy_backends.cuda.libs import nvrtc

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
    """Compile a text for an architecture such as `90` or `90a`."""
    program: Any = nvrtc.createProgram(text, f"{name}.cu", (), ())
    wanted = (*options, *include_options(), f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v")
    try:
        nvrtc.compileProgram(program, wanted)
        binary = bytes(nvrtc.getCUBIN(program))
    except nvrtc.NVRTCError:
        binary = b""
    finally:
        log = str(nvrtc.getProgramLog(program))
        nvrtc.destroyProgram(program)
    resources = {
        kernel: Resources(registers=int(registers), spilled_bytes=int(stores) + int(loads))
        for kernel, stores, loads, registers in _USED.findall(log)
    }
    return Build(binary=binary, log=log, resources=resources)
