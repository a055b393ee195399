"""Whether this host can take work now, and if not, why: the checks before every offer."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
from tesserabench.agent.spool import Spool

# A full disk is believed for so long, unless the free space itself says more.
_DISK_FULL_SECONDS = 60.0
_MIB = 1 << 20


class Admission:
    """Runs the checks. They touch the disk: call `unready` off the event loop."""

    def __init__(
        self,
        *,
        spool: Spool,
        min_free_bytes: int,
        failed: Callable[[str], None],
        complaints: Callable[[], Mapping[str, str]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool, self._min_free_bytes = spool, min_free_bytes
        self._failed, self._complaints, self._clock = failed, complaints, clock
        self._disk_full_at: float | None = None
        self._disk_complaint = ""

    def disk_full(self, complaint: str) -> None:
        """Note that the disk log could not take a record."""
        self._disk_full_at, self._disk_complaint = self._clock(), complaint

    def unready(self) -> str:
        """Why no new work can be taken; empty when it can."""
        problems = list(self._problems())
        for check, _ in problems:
            self._failed(check)
        return "; ".join(reason for _, reason in problems)

    def _problems(self) -> Iterator[tuple[str, str]]:
        size = self._spool.size()
        if size.full:
            waiting = f"{size.pending_bytes} bytes in {size.pending_records} records"
            yield "spool", f"the disk log is full: {waiting} wait for the collector (spool_max_bytes)"
        if self._disk_full_at is not None and self._clock() - self._disk_full_at < _DISK_FULL_SECONDS:
            yield "disk", self._disk_complaint
        yield from ((check, reason) for check, reason in self._complaints().items() if reason)
        yield from self._state_dir(self._spool.path.parent)
        available = psutil.virtual_memory().available
        if available < self._min_free_bytes:
            yield "memory", f"{available // _MIB} MiB of memory are free; min_free_bytes asks for more"

    def _state_dir(self, state_dir: Path) -> Iterator[tuple[str, str]]:
        probe = state_dir / "probe"
        try:
            probe.write_bytes(b"x")
            probe.unlink()
            usage = os.statvfs(state_dir)
        except OSError as error:
            yield "state_dir", f"state_dir {state_dir} cannot be written: {error.strerror}"
            return
        free = usage.f_bavail * usage.f_frsize
        if free < self._min_free_bytes:
            yield "disk", f"{free // _MIB} MiB of disk are free under {state_dir}; min_free_bytes asks for more"
