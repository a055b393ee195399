"""What the errors of CUDA and its libraries mean for a case."""

from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

OUT_OF_MEMORY = {2}
BUSY = {46}
"""cudaErrorDevicesUnavailable: another process holds the device exclusively."""
UNSUPPORTED = {200, 209, 218, 222, 801}
"""Invalid or missing kernel image, invalid or too new PTX, not supported."""
LOST = {214, 999}
"""Uncorrectable ECC error; unknown error, as after a device fell off the bus."""
STICKY = {700, 702, 709, 710, 714, 715, 716, 717, 718, 719}
"""Errors after which every call of this process fails: illegal address, launch timeout, assertion, ... ."""
_LIBRARY_MEMORY_WORDS = ("ALLOC_FAILED", "out of memory")


def translate(error: Exception) -> Exception:
    """Return a CaseFailure for an error whose meaning is known, else the error itself."""
    if isinstance(error, CaseFailure):
        return error
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        return CaseFailure(Outcome.OUT_OF_MEMORY, f"{error}; choose smaller parameters or free the device's memory")
    status = getattr(error, "status", None)
    if kind in {"CUDARuntimeError", "CUDADriverError"} and isinstance(status, int):
        return _from_status(status, str(error))
    if kind in {"CUBLASError", "CuFFTError", "CUSOLVERError", "NVRTCError", "CompileException"}:
        memory = any(word in str(error) for word in _LIBRARY_MEMORY_WORDS)
        outcome = Outcome.OUT_OF_MEMORY if memory else Outcome.DEVICE_ERROR
        return CaseFailure(outcome, f"{kind}: {error}; check that the CUDA libraries match the driver")
    return error


def _from_status(status: int, text: str) -> CaseFailure:
    if status in OUT_OF_MEMORY:
        return CaseFailure(Outcome.OUT_OF_MEMORY, f"{text}; choose smaller parameters or free the device's memory")
    if status in BUSY:
        return CaseFailure(Outcome.BUSY, f"{text}; another process holds the device: wait for it", fatal=True)
    if status in UNSUPPORTED:
        return CaseFailure(Outcome.UNSUPPORTED, f"{text}; this device or driver cannot run the case")
    if status in LOST:
        return CaseFailure(Outcome.DEVICE_LOST, f"{text}; look for Xid errors and reset or drain the host", fatal=True)
    # A sticky error poisons the context: the process has to be replaced, the device itself may be well.
    return CaseFailure(Outcome.DEVICE_ERROR, f"{text}; look for Xid errors in the kernel log", fatal=status in STICKY)
