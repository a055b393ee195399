"""Emptying the last-level cache before a launch."""

from typing import Any

import numpy as np
from tesserabench.bench.device.protocol import CacheUse
from tesserabench.bench.vocabulary import CacheKind

LEAST_BYTES = 64 << 20
_THREADS = 256
_BLOCKS_PER_PROCESSOR = 8
_KINDS = {"read": CacheKind.READ_SWEEP, "write": CacheKind.WRITE_SWEEP}


def sweep_bytes(cache_bytes: int | None) -> int:
    """Return twice the cache, at least 64 MiB: published cache sizes disagree, the device's own word may be a part."""
    return max(2 * (cache_bytes or 0), LEAST_BYTES)


class Flush:
    """A buffer that is read, or written, from end to end; made once for a device, so that no launch allocates."""

    def __init__(self, device: Any) -> None:
        self._buffer = device.xp.zeros(sweep_bytes(device.info.cache_bytes) // 4, dtype="uint32")
        self._sink = device.xp.zeros(1, dtype="uint32")
        self._kernels = {"read": device.service("sweep", "sweep"), "write": device.service("sweep", "sweep_write")}
        self._grid = ((device.info.processors or 1) * _BLOCKS_PER_PROCESSOR,)
        packs = np.uint64(self._buffer.nbytes // 16)
        self._arguments = {
            "read": (self._buffer, self._sink, packs),
            "write": (self._buffer, np.uint32(0), packs),
        }

    def enqueue(self, how: str) -> None:
        """Enqueue one sweep: `read` leaves clean lines behind, `write` dirty ones."""
        self._kernels[how](self._grid, (_THREADS,), self._arguments[how])

    def use(self, how: str) -> CacheUse:
        """Return what a sweep means for the cache."""
        return CacheUse(kind=_KINDS[how], bytes=int(self._buffer.nbytes))
