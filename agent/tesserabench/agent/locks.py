"""Locks between processes: one agent for a state folder, one measurement for a device. Freed when the process ends."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

from tesserabench.agent.errors import DeviceBusy, StateDirLocked, StateDirUnusable

_RETRY_SECONDS = 0.2


@contextlib.contextmanager
def state_dir_lock(state_dir: Path) -> Iterator[None]:
    """Create the state folder if need be and keep every other agent out of it.

    Raises:
        StateDirUnusable: the folder cannot be made or written.
        StateDirLocked: another agent uses it; the error names its process.
    """
    path = state_dir / "agent.lock"
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise StateDirUnusable(
            f"state_dir {state_dir} cannot be used: {error.strerror}; correct its owner or set another state_dir"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise StateDirLocked(
            f"state_dir {state_dir} is in use by another agent (process {owner}); stop it or set another state_dir"
        ) from None
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


def lock_path(uuid: str, lock_dir: Path | None, state_dir: Path) -> Path:
    """Where the lock of a device lies: in the folder of the settings, else where every user may write, else here."""
    name = f"tesserabench-{uuid.replace('/', '_')}.lock"
    if lock_dir is not None:
        return lock_dir / name
    shared = Path("/run/lock")
    return (shared if os.access(shared, os.W_OK) else state_dir / "locks") / name


@contextlib.asynccontextmanager
async def device_lock(path: Path, wait_seconds: float) -> AsyncIterator[None]:
    """Keep other measurements of this host off a device.

    Raises:
        DeviceBusy: somebody else held it for longer than `wait_seconds`, or the lock cannot be made.
    """
    handle = _open(path)
    try:
        try:
            async with asyncio.timeout(wait_seconds):
                while not _try_lock(handle):  # noqa: ASYNC110 - the kernel tells nobody when a file's lock is freed
                    await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError:
            raise DeviceBusy(
                f"another measurement held the device for more than {wait_seconds:g} s (lock {path}); "
                "wait for it, or raise device_wait_seconds"
            ) from None
        yield
    finally:
        os.close(handle)


@contextlib.asynccontextmanager
async def device_locks(paths: Iterable[Path], wait_seconds: float) -> AsyncIterator[None]:
    """Keep other measurements of this host off several devices; taken in one order, so that nobody waits in circles.

    Raises:
        DeviceBusy: somebody else held one of them for longer than `wait_seconds`.
    """
    async with contextlib.AsyncExitStack() as stack:
        for path in sorted(set(paths)):
            await stack.enter_async_context(device_lock(path, wait_seconds))
        yield


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # In a sticky folder, O_CREAT on a file of another user is refused (fs.protected_regular).
            return os.open(path, flags)
        except FileNotFoundError:
            handle = os.open(path, flags | os.O_CREAT, 0o666)
            with contextlib.suppress(OSError):
                os.fchmod(handle, 0o666)
            return handle
    except OSError as error:
        raise DeviceBusy(f"the device's lock {path} cannot be used: {error.strerror}; set lock_dir") from None


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
