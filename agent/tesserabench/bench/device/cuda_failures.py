"""What the errors of CUDA and its libraries mean for a case, and what to do about them."""

from collections.abc import Callable

from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

OUT_OF_MEMORY = {2}
UNSUPPORTED = {
    200: "its kernel holds no code that this device runs",
    209: "it was compiled for other architectures than this device's",
    218: "the driver cannot compile its PTX",
    222: "its PTX is newer than the driver",
    801: "this device or driver does not have what it needs",
}
STICKY = {
    214: "the memory had an uncorrectable error: look at ECC counters and remapped rows",
    220: "a link between devices had an uncorrectable error: look at the NVLink counters",
    226: "the memory had an error that was contained to this process",
    700: "a kernel read or wrote an address outside its arrays: run it under compute-sanitizer",
    702: "a kernel ran longer than the display's watchdog allows: choose smaller parameters",
    709: "the context was destroyed under the work",
    710: "an assertion in a kernel failed: the kernel log names its line",
    714: "a kernel's stack was corrupted: run it under compute-sanitizer",
    715: "a kernel held an illegal instruction: was it compiled for this device?",
    716: "a kernel used an address that its access width does not divide: run it under compute-sanitizer",
    717: "a kernel used an address of the wrong memory space: run it under compute-sanitizer",
    718: "a kernel jumped to an invalid place: run it under compute-sanitizer",
    719: "a kernel ended with an exception: run it under compute-sanitizer",
    721: "a kernel ran longer than its limit or a tensor memory was leaked",
}
"""Errors after which every further call of this process fails, though a fresh one may well measure on."""
LOST = {
    46: "the device is no longer available to this process",
    100: "the driver sees no device any more",
    101: "the driver does not know the device any more",
    999: "the driver does not say why, as after a device fell off the bus (Xid 79)",
}
_CHOOSE_SMALLER = "choose smaller parameters or free the device's memory"
_LIBRARIES = {"CUBLASError", "CuFFTError", "CUSOLVERError", "CuSparseError", "CURANDError", "NcclError", "NVRTCError"}
_LIBRARY_MEMORY_WORDS = ("ALLOC_FAILED", "out of memory", "OUT_OF_MEMORY")
_LIBRARY_UNSUPPORTED_WORDS = ("NOT_SUPPORTED", "ARCH_MISMATCH", "NOT_IMPLEMENTED")

Sizes = Callable[[], str]
"""Says how much memory is free and held, in words."""


def status_of(error: BaseException) -> int | None:
    """Return the number of a CUDA error, or None."""
    status = getattr(error, "status", None)
    return status if type(error).__name__ in {"CUDARuntimeError", "CUDADriverError"} and type(status) is int else None


def ends_process(error: BaseException) -> bool:
    """Tell whether nothing more can be measured by this process after the error."""
    status = status_of(error)
    return status in STICKY or status in LOST


def translate(error: Exception, sizes: Sizes = str) -> Exception:
    """Return a CaseFailure for an error whose meaning is known, else the error itself."""
    kind, text = type(error).__name__, str(error)
    found: Exception = error
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        found = _out_of_memory(text or "host memory ran out", sizes)
    elif (status := status_of(error)) is not None:
        found = _from_status(status, text, sizes)
    elif kind == "CompileException":
        found = CaseFailure(Outcome.UNSUPPORTED, f"a kernel does not compile for this device: {_first_lines(text)}")
    elif kind in _LIBRARIES:
        found = _from_library(kind, text, sizes)
    elif isinstance(error, ImportError):
        found = CaseFailure(
            Outcome.UNSUPPORTED,
            f"a library is missing: {_first_lines(text, 1)}; install tesserabench[cuda13] or tesserabench[cuda12], and "
            "the extra that the suite's page names",
        )
    return found


def _from_status(status: int, text: str, sizes: Sizes) -> CaseFailure:
    if status in OUT_OF_MEMORY:
        return _out_of_memory(text, sizes)
    if status in UNSUPPORTED:
        return CaseFailure(Outcome.UNSUPPORTED, f"{text}; {UNSUPPORTED[status]}")
    if status in LOST:
        advice = "look for Xid errors in the kernel log, and reset the device or drain the host"
        return CaseFailure(Outcome.DEVICE_LOST, f"{text}; {LOST[status]}: {advice}", fatal=True)
    if status in STICKY:
        return CaseFailure(Outcome.DEVICE_ERROR, f"{text}; {STICKY[status]}", fatal=True)
    return CaseFailure(Outcome.DEVICE_ERROR, f"{text}; look for Xid errors in the kernel log")


def _from_library(kind: str, text: str, sizes: Sizes) -> CaseFailure:
    if any(word in text for word in _LIBRARY_MEMORY_WORDS):
        return _out_of_memory(f"{kind}: {text}", sizes)
    if any(word in text for word in _LIBRARY_UNSUPPORTED_WORDS):
        return CaseFailure(Outcome.UNSUPPORTED, f"{kind}: {text}; the library cannot do this on this device")
    return CaseFailure(Outcome.DEVICE_ERROR, f"{kind}: {text}; check that the CUDA libraries match the driver")


def _out_of_memory(text: str, sizes: Sizes) -> CaseFailure:
    told = sizes()
    return CaseFailure(Outcome.OUT_OF_MEMORY, f"{text}{f' ({told})' if told else ''}; {_CHOOSE_SMALLER}")


def _first_lines(text: str, count: int = 3) -> str:
    return "; ".join(line.strip() for line in text.splitlines()[:count] if line.strip())
