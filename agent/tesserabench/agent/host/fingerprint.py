"""What may change results and only the agent reads: the GPU through NVML, the host from the kernel.

Every fact is optional. Nothing here is a secret: serial number and UUID name a device, they open nothing.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tesserabench.agent.host import identity
from tesserabench.agent.host.nvml import Nvml, text
from tesserabench.agent.runner.watch import Fact

_NVLINKS = 18
_COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}
_VIRTUALIZATION = {0: "none", 1: "passthrough", 2: "vgpu", 3: "host_vgpu", 4: "host_vsga"}
_NO_LIMIT = 1 << 60

# Facts that must be equal for two results to be comparable at all; drivers and libraries are change points instead.
# The current PCIe generation is not among them: it falls while the link is idle.
COMPARABLE = (
    "gpu.ecc",
    "gpu.mig",
    "gpu.power_limit_watts",
    "gpu.sm_clock_max_mhz",
    "gpu.memory_clock_max_mhz",
    "gpu.pcie_generation_max",
    "gpu.pcie_width_max",
    "gpu.virtualization",
    "gpu.clock_policy",
)


def gpu_facts(nvml: Nvml, handle: Any) -> dict[str, Fact]:
    """What a GPU, its link and its driver say about themselves."""
    ask = partial(_ask, nvml, handle)
    found: dict[str, Fact | None] = {
        "gpu.vbios": ask(text, "nvmlDeviceGetVbiosVersion"),
        "gpu.inforom": ask(text, "nvmlDeviceGetInforomImageVersion"),
        "gpu.gsp_firmware": ask(text, "nvmlDeviceGetGspFirmwareVersion"),
        "gpu.serial": ask(text, "nvmlDeviceGetSerial"),
        "gpu.board_part": ask(text, "nvmlDeviceGetBoardPartNumber"),
        "gpu.ecc": ask(_first_enabled, "nvmlDeviceGetEccMode"),
        "gpu.ecc_pending": ask(_second_enabled, "nvmlDeviceGetEccMode"),
        "gpu.mig": ask(_first_enabled, "nvmlDeviceGetMigMode"),
        "gpu.compute_mode": ask(lambda mode: _COMPUTE_MODES.get(int(mode), str(mode)), "nvmlDeviceGetComputeMode"),
        "gpu.persistence": ask(_enabled, "nvmlDeviceGetPersistenceMode"),
        "gpu.power_limit_watts": ask(_watts, "nvmlDeviceGetEnforcedPowerLimit"),
        "gpu.power_limit_set_watts": ask(_watts, "nvmlDeviceGetPowerManagementLimit"),
        "gpu.power_limit_default_watts": ask(_watts, "nvmlDeviceGetPowerManagementDefaultLimit"),
        "gpu.power_limit_min_watts": ask(_first_watts, "nvmlDeviceGetPowerManagementLimitConstraints"),
        "gpu.power_limit_max_watts": ask(_second_watts, "nvmlDeviceGetPowerManagementLimitConstraints"),
        "gpu.sm_clock_max_mhz": ask(int, "nvmlDeviceGetMaxClockInfo", nvml.constant("NVML_CLOCK_SM")),
        "gpu.memory_clock_max_mhz": ask(int, "nvmlDeviceGetMaxClockInfo", nvml.constant("NVML_CLOCK_MEM")),
        "gpu.performance_state": ask(lambda state: f"P{int(state)}", "nvmlDeviceGetPerformanceState"),
        "gpu.pcie_generation": ask(int, "nvmlDeviceGetCurrPcieLinkGeneration"),
        "gpu.pcie_generation_max": ask(int, "nvmlDeviceGetMaxPcieLinkGeneration"),
        "gpu.pcie_width": ask(int, "nvmlDeviceGetCurrPcieLinkWidth"),
        "gpu.pcie_width_max": ask(int, "nvmlDeviceGetMaxPcieLinkWidth"),
        "gpu.nvlinks_active": _active_links(nvml, handle),
        "gpu.memory_bus_bits": ask(int, "nvmlDeviceGetMemoryBusWidth"),
        "gpu.virtualization": ask(
            lambda mode: _VIRTUALIZATION.get(int(mode), str(mode)), "nvmlDeviceGetVirtualizationMode"
        ),
        "driver.version": nvml.told(text, "nvmlSystemGetDriverVersion"),
        "driver.nvml": nvml.told(text, "nvmlSystemGetNVMLVersion"),
        "driver.cuda": nvml.told(_cuda_version, "nvmlSystemGetCudaDriverVersion"),
    }
    return _present(found)


def host_facts(root: Path = Path("/")) -> dict[str, Fact]:
    """What the kernel says about the host and the limits that this process lives under."""
    nodes = list((root / "sys/devices/system/node").glob("node[0-9]*"))
    found: dict[str, Fact | None] = {
        "host.numa_nodes": len(nodes) or None,
        "host.container": _container(root),
        "host.cgroup_memory_bytes": _cgroup_memory(root),
        "host.cgroup_cpus": _cgroup_cpus(root),
        "host.clock_source": identity.first_line(
            str(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
        )
        or None,
        "host.machine_hash": identity.machine_hash(),
    }
    return _present(found)


def comparable_of(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Those of the facts that decide comparability."""
    return {name: facts[name] for name in COMPARABLE if name in facts}


def _ask(nvml: Nvml, handle: Any, convert: Callable[[Any], Fact], name: str, *about: Any) -> Fact | None:
    return nvml.told(convert, name, handle, *about)


def _present(found: Mapping[str, Fact | None]) -> dict[str, Fact]:
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _enabled(state: int) -> bool:
    return bool(state)


def _first_enabled(states: Any) -> bool:
    return bool(states[0])


def _second_enabled(states: Any) -> bool:
    return bool(states[1])


def _watts(milliwatts: int) -> float:
    return milliwatts / 1e3


def _first_watts(limits: Any) -> float:
    return _watts(limits[0])


def _second_watts(limits: Any) -> float:
    return _watts(limits[1])


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _active_links(nvml: Nvml, handle: Any) -> int | None:
    states = [nvml.ask("nvmlDeviceGetNvLinkState", handle, link) for link in range(_NVLINKS)]
    told = [state for state in states if state is not None]
    return sum(bool(state) for state in told) if told else None


def _container(root: Path) -> str | None:
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    if root == Path("/") and "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    found = re.search(r"docker|kubepods|lxc|libpod", _text(root / "proc/1/cgroup"))
    return found[0] if found else None


def _cgroup_folder(root: Path) -> Path:
    """The control group of this process in the unified hierarchy; its root where a container hides the rest."""
    found = re.search(r"^0::(/.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)
    base = root / "sys/fs/cgroup"
    own = base / found[1].lstrip("/") if found else base
    return own if own.is_dir() else base


def _cgroup_memory(root: Path) -> int | None:
    for path in (_cgroup_folder(root) / "memory.max", root / "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _text(path).strip()
        if limit.isdigit() and int(limit) < _NO_LIMIT:
            return int(limit)
    return None


def _cgroup_cpus(root: Path) -> float | None:
    quota, _, period = _text(_cgroup_folder(root) / "cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
