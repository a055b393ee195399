"""The fingerprint of what may change results, as far as it can be read without privileges."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tesserabench.bench.device.protocol import Device, Fact
from tesserabench.bench.measurement import Environment

_VARIABLES = re.compile(r"(OMP|KMP|GOMP|MKL|OPENBLAS|BLIS|CUDA|CUBLAS|CUPY|NVIDIA|NCCL|NUMPY|MALLOC)_")
_OWN_FOLDER = re.compile(r"_CACHE_(PATH|DIR)$")
"""Where compiled code is kept: another folder on every host, and nothing that a result depends on."""
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|KEY|CREDENTIAL|AUTH", re.IGNORECASE)


@cache
def engine_version() -> str:
    """Return the version of this installation."""
    try:
        return version("tesserabench")
    except PackageNotFoundError:
        return "unknown"


def _first_line(path: str) -> str | None:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return lines[0].strip() if lines else None


@cache
def cpu_model() -> str | None:
    """Return the processor's name as the kernel gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or None
    found = re.search(r"^(?:model name|Model|Processor)\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine() or None


def memory_bytes() -> int | None:
    """Return the machine's memory in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def cache_bytes() -> int | None:
    """Return the size of the last-level cache of the first processor in bytes."""
    sizes: list[int] = []
    for index in range(8):
        text = _first_line(f"/sys/devices/system/cpu/cpu0/cache/index{index}/size")
        if text and (found := re.fullmatch(r"(\d+)([KMG]?)", text)):
            sizes.append(int(found.group(1)) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[found.group(2)])
    return max(sizes, default=None)


def usable_cores() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0))


def variables(environ: Mapping[str, str]) -> dict[str, Fact]:
    """Return the variables that steer numerical libraries, as `env.NAME`.

    Never one that may hold a secret, nor one that says where compiled code is kept.
    """
    return {
        f"env.{name}": value
        for name, value in sorted(environ.items())
        if _VARIABLES.match(name) and not _SECRET.search(name) and not _OWN_FOLDER.search(name)
    }


def host_facts() -> dict[str, Fact]:
    """Return the facts about this machine and its software; what cannot be read is left out."""
    found: dict[str, Fact | None] = {
        "host.machine": platform.machine(),
        "host.kernel": platform.release(),
        "host.boot_id": _first_line("/proc/sys/kernel/random/boot_id"),
        "host.clock_source": _first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "host.memory_bytes": memory_bytes(),
        "cpu.model": cpu_model(),
        "cpu.cores": os.cpu_count(),
        "cpu.cores_usable": usable_cores(),
        "cpu.governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "cpu.cache_bytes": cache_bytes(),
        "software.python": platform.python_version(),
        "software.engine": engine_version(),
    }
    return {name: value for name, value in found.items() if value is not None}


def fingerprint(
    device: Device, environ: Mapping[str, str] = os.environ, *, work: Mapping[str, Fact] | None = None
) -> Environment:
    """Return every fact about host, software and device, with the hash of those that decide comparability.

    `work` is what the registry tells of the benchmarks themselves, such as the digest of the bundle they come from.
    """
    facts = {**host_facts(), **device.environment(), **variables(environ), **(work or {})}
    canonical = json.dumps(sorted(device.comparable().items()), separators=(",", ":"))
    return Environment(facts=facts, comparability=hashlib.sha256(canonical.encode()).hexdigest()[:16])
