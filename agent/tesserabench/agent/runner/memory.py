"""Memory of the host that a worker takes.

A limit on the address space (RLIMIT_AS) would stop every CUDA context, which reserves far more of it than the machine
has memory; so what is really in use is watched, and the kernel is told to end a worker first (see `child`).
"""

import re
from pathlib import Path

import psutil

_SHARE = 0.9
_MIB = 1 << 20


class MemoryGuard:
    """Watches a worker and what it has started."""

    def __init__(self, pid: int, limit_bytes: int | None) -> None:
        self._pid = pid
        self._limit = limit_bytes or int(_SHARE * psutil.virtual_memory().total)
        self._kills = oom_kills()

    def complaint(self) -> str:
        """What is wrong with the memory in use; empty when nothing is."""
        used = _resident(self._pid)
        if used <= self._limit:
            return ""
        return (
            f"the worker used {used // _MIB} MiB of the host's memory and may use {self._limit // _MIB} MiB "
            "(worker_memory_bytes); choose smaller parameters or raise the limit"
        )

    @property
    def kernel_ran_out(self) -> bool:
        """Whether the kernel has ended processes for want of memory since this was made."""
        return oom_kills() > self._kills


def oom_kills() -> int:
    """How many processes the kernel has ended for want of memory since boot; 0 when it does not tell."""
    try:
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _resident(pid: int) -> int:
    total = 0
    try:
        worker = psutil.Process(pid)
        processes = [worker, *worker.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            # It has ended meanwhile.
            continue
    return total
