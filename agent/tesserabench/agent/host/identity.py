"""Facts about the machine that the kernel tells everybody."""

import hashlib
import os
import platform
import re
from pathlib import Path

import psutil


def first_line(path: str) -> str:
    """The first line of a file, or an empty text when it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.partition("\n")[0].strip()


def machine_hash() -> str:
    """Sixteen hexadecimal digits that are this machine's own; the machine id itself is kept back."""
    machine = first_line("/etc/machine-id") or first_line("/var/lib/dbus/machine-id") or platform.node()
    return hashlib.sha256(f"tesserabench:{machine}".encode()).hexdigest()[:16]


def boot_id() -> str:
    """Changes at every boot; empty when the kernel does not tell."""
    return first_line("/proc/sys/kernel/random/boot_id")


def os_name() -> str:
    """Distribution and kernel."""
    try:
        pretty = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        pretty = ""
    return " ".join(part for part in (pretty or platform.system(), "kernel", platform.release()) if part)


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^(?:model name|Model|Processor)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def cpu_count() -> int:
    """Logical processors of the machine."""
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of the machine in bytes."""
    return int(psutil.virtual_memory().total)
