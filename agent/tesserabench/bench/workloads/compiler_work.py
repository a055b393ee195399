"""Compiling with NVRTC directly, so that no cache stands in between, and loading what was compiled."""

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.kernels import compile_options, find
from tesserabench.bench.vocabulary import Outcome
from tesserabench.bench.workloads.bare import BareWork

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays

_ELF = b"\x7fELF"
_MODULE = "cupy_backends.cuda.libs.nvrtc"


def load_nvrtc() -> Any:
    """Return CuPy's binding of NVRTC; raise CaseFailure(unsupported) where it or the library is missing."""
    try:
        nvrtc = importlib.import_module(_MODULE)
        nvrtc.getVersion()
    # CuPy looks for the library at the first call, and says with RuntimeError or OSError that it is not there.
    except (ImportError, RuntimeError, OSError) as error:
        raise CaseFailure(
            Outcome.UNSUPPORTED,
            f"NVRTC cannot be used here ({type(error).__name__}: {error}); "
            "install tesserabench[cuda13] or, for a CUDA 12 driver, tesserabench[cuda12]",
        ) from None
    return nvrtc


class Compilation:
    """One source of ours, in the first of its variants, compiled to a binary."""

    capturable = False

    def __init__(self, source: str, architecture: str) -> None:
        self._nvrtc = load_nvrtc()
        self._kernel = find(source)
        options = compile_options(self._kernel.variants[0])
        self._options = (*options, f"--gpu-architecture={architecture}")
        self.binary = b""

    def launch(self) -> None:
        """Compile once."""
        program = self._nvrtc.createProgram(self._kernel.text, f"{self._kernel.name}.cu", (), ())
        try:
            self._nvrtc.compileProgram(program, self._options)
            self.binary = bytes(self._nvrtc.getCUBIN(program))
        except self._nvrtc.NVRTCError as error:
            log = self._nvrtc.getProgramLog(program).strip() or "no log"
            raise CaseFailure(
                Outcome.UNSUPPORTED,
                f"{error} for {' '.join(self._options)}: {log}; this NVRTC may be too old for the architecture",
            ) from None
        finally:
            self._nvrtc.destroyProgram(program)

    def poison(self) -> None:
        """Forget the binary."""
        self.binary = b""

    def outputs(self) -> "HostArrays":
        """Return whether a binary is there, and how many of the source's kernels it names."""
        named = sum(name.encode() in self.binary for name in self._kernel.functions)
        return {"is_binary": np.array([float(self.binary.startswith(_ELF))]), "kernels": np.array([float(named)])}

    def reference(self) -> "HostArrays":
        """Return yes, and how many kernels the source has."""
        return {"is_binary": np.ones(1), "kernels": np.array([float(len(self._kernel.functions))])}


def load_work(device: ArrayDevice, source: str) -> Workload:
    """Return the loading of a binary for this device; loading also resolves a kernel, so that lazy loading is done."""
    capability = (device.info.compute_capability or "").replace(".", "")
    compilation = Compilation(source, f"sm_{capability}")
    compilation.launch()
    name = find(source).functions[0]
    function = device.xp.cuda.function

    def load() -> None:
        module = function.Module()
        module.load(compilation.binary)
        module.get_function(name)

    return BareWork(load, capturable=False)
