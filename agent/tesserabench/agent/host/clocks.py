"""Locking the clocks of a GPU, and never leaving them locked.

A file in the state folder names each GPU that this agent has locked: written before the lock, removed after the reset.
So an agent that was killed in between frees the GPU at its next start, and nobody else's lock is touched.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
from tesserabench.agent.errors import ClocksRefused
from tesserabench.agent.host.gpus import Gpus

OBSERVE = "observe"
_LOCK = "lock:"
_TDP = "tdp"

log = structlog.get_logger(__name__)


class ClockKeeper:
    """Handles the clocks of this host's GPUs as one policy says: `observe`, `lock:MHZ` or `lock:tdp`."""

    def __init__(self, policy: str, state_dir: Path, gpus: Gpus | None) -> None:
        self.policy = policy
        self.complaint = ""
        """Why clocks could not be locked or freed, when that went wrong; a host with one should take no work."""
        self._folder, self._gpus = state_dir / "clocks", gpus
        self._held: set[str] = set()

    def holds(self, uuid: str) -> bool:
        """Whether this agent has locked the clocks of a GPU."""
        return uuid in self._held

    def free_leftovers(self) -> tuple[str, ...]:
        """Reset the GPUs that a killed predecessor left locked; their UUIDs."""
        freed: list[str] = []
        for marker in sorted(self._folder.glob("*.locked")) if self._folder.is_dir() else ():
            uuid = marker.stem
            if self._gpus is None or uuid not in {device.uuid for device in self._gpus.devices}:
                self.complaint = f"GPU {uuid} was left with locked clocks and is not here to be reset ({marker})"
                log.error("clocks.left_locked", gpu=uuid, marker=str(marker))
                continue
            if self._reset(uuid):
                log.warning("clocks.freed", gpu=uuid, reason="an agent that was killed had locked them")
                freed.append(uuid)
        return tuple(freed)

    @contextlib.contextmanager
    def handled(self, uuid: str) -> Iterator[str]:
        """Lock the clocks of a GPU, when the policy says so, while entered; gives the policy that holds.

        Raises:
            ClocksRefused: they cannot be locked; nothing is.
        """
        if self.policy == OBSERVE or self._gpus is None:
            yield OBSERVE
            return
        self._lock(self._gpus, uuid)
        try:
            yield self.policy
        finally:
            self._reset(uuid)

    def _lock(self, gpus: Gpus, uuid: str) -> None:
        wanted = self.policy.removeprefix(_LOCK)
        # NVML has a number that stands for the frequency that the GPU holds at its power limit.
        frequency = gpus.nvml.constant("NVML_CLOCK_LIMIT_ID_TDP") if wanted == _TDP else int(wanted)
        change = getattr(gpus.nvml.module, "nvmlDeviceSetGpuLockedClocks", None)
        if change is None or frequency is None:
            raise self._refused(uuid, "nvidia-ml-py on this host is too old for it")
        self._mark(uuid)
        try:
            change(gpus.handle(uuid), frequency, frequency)
        except gpus.nvml.module.NVMLError as error:
            self._marker(uuid).unlink(missing_ok=True)
            raise self._refused(uuid, f"the driver says: {error}") from None
        self._held.add(uuid)
        log.info("clocks.locked", gpu=uuid, policy=self.policy)

    def _reset(self, uuid: str) -> bool:
        assert self._gpus is not None
        reset: Callable[[object], None] = self._gpus.nvml.module.nvmlDeviceResetGpuLockedClocks
        try:
            reset(self._gpus.handle(uuid))
        except self._gpus.nvml.module.NVMLError as error:
            self.complaint = (
                f"the clocks of GPU {uuid} could not be freed: {error}; "
                f"run nvidia-smi --reset-gpu-clocks -i {uuid} as root"
            )
            log.error("clocks.stay_locked", gpu=uuid, error=str(error))  # noqa: TRY400 - the sentence says it all
            return False
        self._held.discard(uuid)
        self._marker(uuid).unlink(missing_ok=True)
        log.info("clocks.reset", gpu=uuid)
        return True

    def _refused(self, uuid: str, why: str) -> ClocksRefused:
        self.complaint = (
            f"clocks is {self.policy!r}, and the clocks of GPU {uuid} cannot be locked: {why}; "
            "give the agent the right to (root, or CAP_SYS_ADMIN), or set clocks to observe"
        )
        return ClocksRefused(self.complaint)

    def _mark(self, uuid: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._marker(uuid), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            os.write(handle, f"{self.policy}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    def _marker(self, uuid: str) -> Path:
        return self._folder / f"{uuid.replace('/', '_')}.locked"
