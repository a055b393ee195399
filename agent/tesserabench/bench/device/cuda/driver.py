"""Calls of the CUDA driver that CuPy does not offer, through the driver library that CuPy has already loaded.

Handles of the runtime and of the driver are the same things (CUDA Runtime API, "Interactions with the CUDA Driver
API"), so that CuPy's events and streams may be passed here. No package beside CuPy is needed.
"""

import ctypes
from collections.abc import Callable

LIBRARY = "libcuda.so.1"
UUID_BYTES = 16
EXTERNAL = 1
"""CU_EVENT_RECORD_EXTERNAL: a captured record becomes a node of the graph that records the event at every replay."""

Check = Callable[[int], None]


class Driver:
    """The driver's functions; `check` raises for a status that is not zero."""

    def __init__(self, library: ctypes.CDLL, check: Check) -> None:
        self._check = check
        self._record = getattr(library, "cuEventRecordWithFlags", None)
        if self._record is not None:
            self._record.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)
            self._record.restype = ctypes.c_int
        self._reset = getattr(library, "cuCtxResetPersistingL2Cache", None)
        self._get_device = getattr(library, "cuDeviceGet", None)
        self._get_uuid = getattr(library, "cuDeviceGetUuid_v2", None)

    @property
    def records_external_events(self) -> bool:
        """Whether graphs may hold event-record nodes whose times can be read (CUDA 11.1 and later)."""
        return self._record is not None

    def record_external(self, event: int, stream: int) -> None:
        """Record an event into the graph that the stream is being captured into."""
        assert self._record is not None, "asked only where records_external_events"
        self._check(self._record(event, stream, EXTERNAL))

    def reset_persisting_cache(self) -> bool:
        """Make every cache line that was set to persist an ordinary one; return whether the driver can."""
        return self._reset is not None and self._reset() == 0

    def uuid(self, index: int) -> bytes | None:
        """Return the UUID of a device, or None where the driver does not tell it.

        CuPy reads its sixteen bytes as a text, which ends at the first zero among them.
        """
        if self._get_device is None or self._get_uuid is None:
            return None
        device, found = ctypes.c_int(), (ctypes.c_ubyte * UUID_BYTES)()
        if self._get_device(ctypes.byref(device), ctypes.c_int(index)) or self._get_uuid(found, device):
            return None
        return bytes(found)


def load_driver(check: Check, library: str = LIBRARY) -> Driver | None:
    """Return the driver, or None where its library cannot be found by name."""
    try:
        return Driver(ctypes.CDLL(library), check)
    except OSError:
        return None
