"""Every kernel compiles for every architecture we name; NVRTC needs no GPU for that."""

from typing import Any

import pytest
from cupy_backends.cuda.libs import nvrtc
from tesserabench.bench.kernels import MODULES, VARIANTS, compile_options, source

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
COMBINATIONS = [(module, element) for module in MODULES for element in VARIANTS[module] or (None,)]


def build(text: str, module: str, options: tuple[str, ...]) -> tuple[bytes, str]:
    program: Any = nvrtc.createProgram(text, f"{module}.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError:
            return b"", str(nvrtc.getProgramLog(program))
        return bytes(nvrtc.getCUBIN(program)), str(nvrtc.getProgramLog(program))
    finally:
        nvrtc.destroyProgram(program)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("module", "element"), COMBINATIONS)
def test_kernel_compiles_without_a_warning(module: str, element: str | None, architecture: str) -> None:
    defines = {} if element is None else {"ELEMENT": element}
    binary, log = build(source(module), module, (*compile_options(defines), f"--gpu-architecture={architecture}"))
    assert binary.startswith(b"\x7fELF"), log
    assert module.encode() in binary
    assert "warning" not in log


def test_compiler_is_really_asked() -> None:
    binary, log = build(source("spin") + "oops", "spin", (*compile_options({}), "--gpu-architecture=sm_90"))
    assert binary == b""
    assert "spin.cu" in log


def test_every_source_is_listed() -> None:
    from importlib import resources  # noqa: PLC0415

    files = resources.files("tesserabench.bench.kernels").iterdir()
    assert sorted(MODULES) == sorted(item.name.removesuffix(".cu") for item in files if item.name.endswith(".cu"))
