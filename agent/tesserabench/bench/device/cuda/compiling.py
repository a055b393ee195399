"""Compiling kernels with NVRTC for the device at hand, and keeping the binaries in a private folder.

CuPy's own `RawModule` is not used: it adds options of its own (flushing denormals to zero), knows no architectures such
as `90a`, and does not tell what a compilation took.
"""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.kernels import ARCHITECTURES
from tesserabench.bench.vocabulary import Outcome

_ELF = b"\x7fELF"
_LOG_LINES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A compiled module."""

    image: bytes
    architecture: str
    """Such as `sm_90`; `compute_90` for PTX that the driver has to compile."""
    options: tuple[str, ...]
    seconds: float | None
    """Time of the compilation; None when the binary came from the folder."""

    @property
    def digest(self) -> str:
        """SHA-256 of the binary."""
        return hashlib.sha256(self.image).hexdigest()


class Compiler:
    """Compiles for one compute capability; `versions` names everything whose change makes old binaries doubtful."""

    def __init__(self, nvrtc: Any, capability: str, versions: Sequence[str], folder: Path | None) -> None:
        self._nvrtc, self._capability = nvrtc, capability
        self._supported = {int(number) for number in nvrtc.getSupportedArchs()}
        self._folder = None if folder is None else folder / "-".join(versions)

    def compile(self, text: str, name: str, options: Sequence[str], architectures: Sequence[str]) -> Binary:
        """Return the binary of CUDA source; `architectures` are those it is written for, empty for any.

        Raises CaseFailure(unsupported) when the source is not written for this device, or does not compile.
        """
        architecture = self._choose(name, architectures)
        includes = include_options() if "#include <" in text else ()
        given = (*options, *includes, f"--gpu-architecture={architecture}")
        key = hashlib.sha256("\0".join((text, *given)).encode()).hexdigest()
        if (kept := self._load(key)) is not None:
            return Binary(image=kept, architecture=architecture, options=tuple(options), seconds=None)
        began = time.perf_counter()
        image = self._build(text, name, given, architecture)
        seconds = time.perf_counter() - began
        self._keep(key, image)
        return Binary(image=image, architecture=architecture, options=tuple(options), seconds=seconds)

    def _choose(self, name: str, architectures: Sequence[str]) -> str:
        own = int(self._capability)
        if architectures and tuple(architectures) != ARCHITECTURES:
            if fitting := [item for item in architectures if item.rstrip("af") == self._capability]:
                return f"sm_{fitting[0]}"
            # A plain number is a least one; with a letter it is that architecture and no other.
            if not any(item.isdigit() and int(item) < own for item in architectures):
                wanted = ", ".join(f"sm_{item}" for item in architectures)
                raise CaseFailure(
                    Outcome.UNSUPPORTED,
                    f"kernel {name} is written for {wanted}, this device is sm_{own}; choose another variant or device",
                )
        if own in self._supported:
            return f"sm_{own}"
        # A device newer than the compiler: the driver compiles the newest PTX that the compiler can write.
        return f"compute_{max((item for item in self._supported if item < own), default=own)}"

    def _build(self, text: str, name: str, options: tuple[str, ...], architecture: str) -> bytes:
        nvrtc = self._nvrtc
        program = nvrtc.createProgram(text, f"{name}.cu", (), ())
        try:
            nvrtc.compileProgram(program, options)
            return bytes(nvrtc.getCUBIN(program) if architecture.startswith("sm_") else nvrtc.getPTX(program))
        except nvrtc.NVRTCError as error:
            log = [line.strip() for line in str(nvrtc.getProgramLog(program)).splitlines() if line.strip()]
            said = "; ".join(log[:_LOG_LINES]) or str(error)
            raise CaseFailure(
                Outcome.UNSUPPORTED, f"kernel {name} does not compile for {architecture}: {said}"
            ) from None
        finally:
            nvrtc.destroyProgram(program)

    def _load(self, key: str) -> bytes | None:
        if self._folder is None:
            return None
        try:
            image = (self._folder / key).read_bytes()
        except OSError:
            return None
        # Half a file, as after a full disk, would fail to load much later.
        return image if image.startswith(_ELF) or image.rstrip().endswith(b"}") else None

    def _keep(self, key: str, image: bytes) -> None:
        """Write the binary for later processes; a folder that cannot be written costs them a compilation, no more."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(image)
            Path(file.name).replace(self._folder / key)


def cache_folder() -> Path | None:
    """Return where binaries are kept: beside CuPy's own, which an agent has made private to its worker's versions."""
    if os.environ.get("CUPY_CACHE_IN_MEMORY") == "1":
        return None
    given = os.environ.get("CUPY_CACHE_DIR")
    try:
        return Path(given) / "tesserabench" if given else Path.home() / ".cache" / "tesserabench" / "kernels"
    except RuntimeError:
        # A user without a home folder.
        return None


def include_options() -> tuple[str, ...]:
    """Return the options under which CUDA's own headers are found: in NVIDIA's packages, else in a toolkit."""
    places: list[Path] = []
    for package in ("nvidia.cu13", "nvidia.cuda_runtime", "nvidia.cuda_nvcc", "nvidia.cuda_cccl"):
        with contextlib.suppress(ImportError):
            spec = find_spec(package)
            if spec is not None:
                places.extend(Path(place, "include") for place in spec.submodule_search_locations or ())
    named = (os.environ.get(variable) for variable in ("CUDA_PATH", "CUDA_HOME"))
    places.extend(Path(place, "include") for place in named if place)
    places.append(Path("/usr/local/cuda/include"))
    return tuple(f"-I{place}" for place in dict.fromkeys(places) if place.is_dir())
