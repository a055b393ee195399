"""Where attempts are run: what all of them share."""

import asyncio
import os
import pwd
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tesserabench.agent import VERSION
from tesserabench.agent.errors import DeviceBusy
from tesserabench.agent.runner.process import worker_environment
from tesserabench.agent.runner.watch import DeviceWatch, Obstacle
from tesserabench.agent.settings import Settings
from tesserabench.v1.host_pb2 import Device

CONTENDED = "contended"
"""Flag of a trial that shared its device with somebody else's work."""
_READY_RETRY_SECONDS = 0.2
_OWN_TRACES_SECONDS = 2.0
_CUPY_PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "cupy")
_PROCESS, _TEMPERATURE = "process", "temperature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """The settings, the devices that may be measured, and who knows their state."""

    settings: Settings
    devices: Sequence[Device]
    watch: DeviceWatch

    @property
    def user(self) -> str | None:
        """Who workers become; None for the agent's own user."""
        return self.settings.runner_user or None

    def make_folder(self) -> Path:
        """An empty working folder for the workers of an attempt, theirs alone."""
        folder = self.settings.state_dir / "work"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        self._hand_over(folder)
        self._let_through()
        return folder

    def environment(self, folder: Path, device: Device, companions: Sequence[Device] = ()) -> Mapping[str, str]:
        """The environment of the workers that measure `device`; compiled kernels are kept between attempts.

        They see the device and its companions, in this order, and no other.
        """
        cache = self.settings.state_dir / "cache"
        cache.mkdir(mode=0o700, exist_ok=True)
        self._hand_over(cache)
        # Compiled code of one set of versions is no use to another, and may be wrong for it.
        versions = _versions(device)
        extra = {"CUPY_CACHE_DIR": str(cache / "cupy" / versions), "CUDA_CACHE_PATH": str(cache / "cuda" / versions)}
        if device.kind == "cuda":
            visible = ",".join(item.uuid for item in (device, *companions))
            extra |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible}
        else:
            # No library may wake a GPU beside a measurement of something else.
            extra |= {"CUDA_VISIBLE_DEVICES": ""}
        return worker_environment(os.environ, folder, extra)

    def device_spec(self, device: Device, scenario: str) -> str:
        """What bench calls the device inside a worker, where only this one is visible."""
        if device.kind == "simulated":
            chosen = scenario or self.settings.simulated_scenario
            return f"simulated:{chosen}" if chosen else "simulated"
        return "cuda:0" if device.kind == "cuda" else device.kind

    async def await_ready(self, device: Device, report: Callable[[str], None]) -> tuple[str, ...]:
        """Wait until a device is fit to be measured; flags for what was let pass.

        Work of others is waited for, flagged or ignored as `policy.on_foreign_process` says; heat is always waited for.

        Args:
            device: the device.
            report: told what is waited for.

        Raises:
            DeviceBusy: something stood in the way for longer than the settings wait.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        wait_seconds = self.settings.device_wait_seconds
        while True:
            found = await self.watch.obstacles(device)
            waited_for = [item for item in found if self._is_waited_for(item)]
            if not waited_for:
                contended = self.settings.policy.on_foreign_process == "flag" and bool(found)
                return (CONTENDED,) if contended else ()
            why = "; ".join(item.sentence for item in waited_for)
            # Shortly after a worker has ended, its own traces are still there.
            if loop.time() - began > _OWN_TRACES_SECONDS:
                report(f"waiting: {why}")
            if loop.time() - began >= wait_seconds:
                raise DeviceBusy(
                    f"{why}, for more than {wait_seconds:g} s; stop what uses it or let it cool down, raise "
                    "device_wait_seconds, or set policy.on_foreign_process to flag"
                )
            await asyncio.sleep(_READY_RETRY_SECONDS)

    async def disturbed(self, devices: Sequence[Device]) -> bool:
        """Whether somebody else computes on one of the devices just after a worker of ours has ended."""
        return any([await self._is_disturbed(device) for device in devices])

    async def _is_disturbed(self, device: Device) -> bool:
        if self.settings.policy.on_foreign_process == "ignore":
            return False
        loop = asyncio.get_running_loop()
        until = loop.time() + _OWN_TRACES_SECONDS
        while any(item.word == _PROCESS for item in await self.watch.obstacles(device)):
            if loop.time() >= until:
                return True
            await asyncio.sleep(_READY_RETRY_SECONDS)
        return False

    def _is_waited_for(self, obstacle: Obstacle) -> bool:
        return obstacle.word == _TEMPERATURE or self.settings.policy.on_foreign_process == "wait"

    def _let_through(self) -> None:
        """Let the workers' user pass the state folder on its way to theirs; it still cannot list it."""
        if self.user is not None and os.geteuid() == 0:
            state_dir = self.settings.state_dir
            state_dir.chmod(state_dir.stat().st_mode | 0o001)

    def _hand_over(self, folder: Path) -> None:
        if self.user is not None and os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)


def _versions(device: Device) -> str:
    """The versions that compiled code depends on, as the name of a folder."""
    cupy = next((found for name in _CUPY_PACKAGES if (found := _version(name))), "none")
    parts = (f"engine-{VERSION}", f"cupy-{cupy}", f"driver-{device.driver_version or 'none'}")
    return re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(parts))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
