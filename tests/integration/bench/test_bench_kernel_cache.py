"""Real compilations by the device's own compiler, kept in a folder: NVRTC needs no GPU."""

from pathlib import Path

import pytest
from cupy_backends.cuda.libs import nvrtc
from tesserabench.bench.device.cuda.compiling import Compiler, include_options
from tesserabench.bench.kernels import compile_options, find

HALVES = """#include <cuda_fp16.h>
extern "C" __global__ void halves(__half* x) { x[threadIdx.x] = __hadd(x[threadIdx.x], x[threadIdx.x]); }
"""


def made(folder: Path | None, capability: str = "90", version: str = "1") -> Compiler:
    return Compiler(nvrtc, capability, ("engine", version), folder)


def test_binary_is_kept_and_found_again(tmp_path: Path) -> None:
    source, options = find("copy").text, compile_options({"ELEMENT": "float"})
    first = made(tmp_path).compile(source, "copy", options, ())
    again = made(tmp_path).compile(source, "copy", options, ())
    assert first.image.startswith(b"\x7fELF")
    assert first.seconds is not None
    assert again.seconds is None
    assert (again.image, again.digest) == (first.image, first.digest)
    assert len(list((tmp_path / "engine-1").iterdir())) == 1


def test_other_options_architectures_and_versions_are_other_binaries(tmp_path: Path) -> None:
    source = find("copy").text
    images = {
        made(tmp_path, *how).compile(source, "copy", compile_options({"ELEMENT": element}), ()).seconds is not None
        for element, how in (("float", ()), ("double", ()), ("float", ("80",)), ("float", ("90", "2")))
    }
    assert images == {True}
    assert len(list(tmp_path.rglob("*"))) == 2 + 4


@pytest.mark.parametrize("damage", [b"", b"\x00half a file"])
def test_damaged_binary_is_compiled_again(tmp_path: Path, damage: bytes) -> None:
    source, options = find("spin").text, compile_options({})
    made(tmp_path).compile(source, "spin", options, ())
    (kept,) = (tmp_path / "engine-1").iterdir()
    kept.write_bytes(damage)
    assert made(tmp_path).compile(source, "spin", options, ()).seconds is not None
    assert kept.read_bytes().startswith(b"\x7fELF")


def test_folder_that_cannot_be_written_costs_a_compilation_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    binary = made(tmp_path / "file").compile(find("spin").text, "spin", compile_options({}), ())
    assert binary.seconds is not None


def test_cudas_headers_are_found() -> None:
    assert include_options()
    assert made(None).compile(HALVES, "halves", compile_options({}), ()).image.startswith(b"\x7fELF")


def test_device_newer_than_the_compiler_gets_ptx(tmp_path: Path) -> None:
    binary = made(tmp_path, "999").compile(find("spin").text, "spin", compile_options({}), ())
    assert binary.architecture.startswith("compute_1")
    assert b".target" in binary.image
    assert made(tmp_path, "999").compile(find("spin").text, "spin", compile_options({}), ()).seconds is None


def test_compilers_words_are_passed_on() -> None:
    from tesserabench.bench.errors import CaseFailure  # noqa: PLC0415 - beside its only use

    with pytest.raises(CaseFailure, match=r"kernel bad does not compile for sm_90: bad.cu\(1\): error"):
        made(None).compile("int x = y;", "bad", (), ())
