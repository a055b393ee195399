"""Compiling a bundle's CUDA sources with NVRTC, which needs neither a GPU nor a driver."""

import importlib
import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ARCHITECTURES = ("80", "90", "100", "120")
"""What a bundle's kernels are compiled for: Ampere, Hopper, and both families of Blackwell."""
_BINDING = "cupy_backends.cuda.libs.nvrtc"
_HEADER_PACKAGES = ("nvidia.cu13", "nvidia.cuda_runtime")
_ENTRY = re.compile(r"\.entry\s+(\w+)\s*\(")


class CompileError(Exception):
    """The compiler refused; the text is its first error, with file and line."""


def nvrtc() -> Any | None:
    """Return CuPy's binding of NVRTC, or None where it or the library is missing."""
    try:
        binding = importlib.import_module(_BINDING)
        binding.getVersion()
    # CuPy looks for the library at the first call, and says with RuntimeError or OSError that it is not there.
    except (ImportError, RuntimeError, OSError):
        return None
    return binding


def compile_source(
    binding: Any, source: str, *, name: str, options: Sequence[str], architecture: str
) -> tuple[str, ...]:
    """Compile for an architecture such as `90` and return the names of the kernels; raise CompileError."""
    wanted = ("--std=c++17", *options, *_include_options(), f"--gpu-architecture=compute_{architecture}")
    program = binding.createProgram(source, name, (), ())
    try:
        binding.compileProgram(program, wanted)
        return tuple(_ENTRY.findall(_text(binding.getPTX(program))))
    except binding.NVRTCError as error:
        raise CompileError(first_error(str(binding.getProgramLog(program))) or str(error)) from None
    finally:
        binding.destroyProgram(program)


def first_error(log: str) -> str:
    """Return the first error of a compiler's log as one sentence, or an empty text."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    found = [line for line in lines if "error" in line]
    return found[0] if found else (lines[0] if lines else "")


def _text(ptx: bytes | str) -> str:
    return ptx.decode("utf-8", errors="replace") if isinstance(ptx, bytes) else ptx


def _include_options() -> tuple[str, ...]:
    """Return where CUDA's own headers are: in the packages that bring them, else in the toolkit's folder."""
    folders: list[Path] = []
    for package in _HEADER_PACKAGES:
        try:
            spec = find_spec(package)
        except ModuleNotFoundError:
            continue
        if spec is not None and spec.submodule_search_locations is not None:
            folders += [Path(place, "include") for place in spec.submodule_search_locations]
    folders.append(Path(os.environ.get("CUDA_PATH", "/usr/local/cuda"), "include"))
    return tuple(f"-I{folder}" for folder in folders if folder.is_dir())
