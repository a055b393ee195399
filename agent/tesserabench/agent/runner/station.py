"""Where attempts are run: what all of them share."""

import asyncio
import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tesserabench.agent.errors import DeviceBusy
from tesserabench.agent.runner.process import worker_environment
from tesserabench.agent.runner.watch import DeviceWatch
from tesserabench.agent.settings import Settings
from tesserabench.v1.host_pb2 import Device

_FOREIGN_RETRY_SECONDS = 1.0


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

    def environment(self, folder: Path, device: Device) -> Mapping[str, str]:
        """The environment of the workers that measure `device`; compiled kernels are kept between attempts."""
        cache = self.settings.state_dir / "cache"
        cache.mkdir(mode=0o700, exist_ok=True)
        self._hand_over(cache)
        extra = {"CUPY_CACHE_DIR": str(cache / "cupy"), "CUDA_CACHE_PATH": str(cache / "cuda")}
        if device.kind == "cuda":
            extra |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": device.uuid}
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

    async def await_idle(self, device: Device) -> None:
        """Wait until nobody else computes on the device.

        Raises:
            DeviceBusy: somebody did for longer than the settings wait.
        """
        if self.settings.policy.on_foreign_process != "wait":
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.device_wait_seconds
        while pids := await self.watch.foreign_pids(device):
            if loop.time() >= deadline:
                names = ", ".join(map(str, pids))
                raise DeviceBusy(
                    f"process(es) {names} computed on {device.model} for more than "
                    f"{self.settings.device_wait_seconds:g} s; stop them, or set policy.on_foreign_process to flag"
                )
            await asyncio.sleep(_FOREIGN_RETRY_SECONDS)

    def _let_through(self) -> None:
        """Let the workers' user pass the state folder on its way to theirs; it still cannot list it."""
        if self.user is not None and os.geteuid() == 0:
            state_dir = self.settings.state_dir
            state_dir.chmod(state_dir.stat().st_mode | 0o001)

    def _hand_over(self, folder: Path) -> None:
        if self.user is not None and os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
