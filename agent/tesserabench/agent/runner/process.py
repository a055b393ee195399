"""A worker process as the agent sees it: started without a fork, heard over a pipe, killed as a group."""

import asyncio
import contextlib
import json
import os
import pwd
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tesserabench.agent.errors import RunnerError
from tesserabench.agent.runner.capture import Capture, LineBudget, Lines
from tesserabench.agent.runner.variables import spoiling
from tesserabench.bench.worker.frames import FrameDecoder, Message, WorkerProtocolError

_STDOUT, _STDERR = 1, 2
_MODULE = "tesserabench.agent.runner.child"

# What a worker inherits. Everything else, secrets above all, stays behind.
_ALLOWED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
_ALLOWED_PREFIXES = ("OMP_", "OPENBLAS_", "MKL_", "BLIS_", "CUDA_", "CUBLAS_", "CUPY_", "NCCL_", "NVIDIA_", "NUMPY_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a worker is started: its order, its folder, its environment, and the user it becomes (None: the same)."""

    order: Mapping[str, Any]
    folder: Path
    environment: Mapping[str, str]
    user: str | None = None


def worker_environment(parent: Mapping[str, str], folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker: what is allowed of the agent's, and `extra` over it."""
    spoils = spoiling(parent)
    kept = {
        name: value
        for name, value in parent.items()
        if (name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)) and name not in spoils
    }
    return {**kept, "HOME": str(folder), "PYTHONUNBUFFERED": "1", **extra}


class _MessagePipe(asyncio.Protocol):
    """Turns what comes out of the pipe into a queue of messages; None is its end, an exception its failure."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message | WorkerProtocolError | None] = asyncio.Queue()
        self._decoder = FrameDecoder()
        self._failed = False

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self._failed:
            return
        try:
            for message in self._decoder.feed(data):
                self.messages.put_nowait(message)
        except WorkerProtocolError as error:
            self._failed = True
            self.messages.put_nowait(error)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note the end. A message that was cut off by the end of the process is no message."""
        self.messages.put_nowait(None)


class _Process(asyncio.SubprocessProtocol):
    """Takes the worker's lines and its end."""

    def __init__(self) -> None:
        budget = LineBudget(asyncio.get_running_loop().time)
        self.captures = {_STDOUT: Capture("stdout", budget), _STDERR: Capture("stderr", budget)}
        self.exited = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take what was printed."""
        self.captures[fd].feed(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Take the last line, and that a worker may end without having read its order."""
        if fd in self.captures:
            self.captures[fd].finish()

    def process_exited(self) -> None:
        """Note the end of the process."""
        self.exited.set()


class Worker:
    """A running worker. Made by `start_worker`; `kill` must be called whatever happens."""

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        process: _Process,
        pipe: asyncio.ReadTransport,
        reader: _MessagePipe,
    ) -> None:
        self._transport, self._process, self._pipe, self._reader = transport, process, pipe, reader
        self.pid = transport.get_pid()

    async def message(self) -> Message | None:
        """The next message; None when the pipe has ended. Safe to cancel.

        Raises:
            WorkerProtocolError: the worker wrote something that is no message.
        """
        message = await self._reader.messages.get()
        if isinstance(message, WorkerProtocolError):
            raise message
        return message

    async def exit_status(self) -> int:
        """The exit status once the process has ended; negative for a signal."""
        await self._process.exited.wait()
        status = self._transport.get_returncode()
        assert status is not None
        return status

    def lines(self) -> tuple[Lines, ...]:
        """What the worker has printed since the last call."""
        drained = (capture.drain() for capture in self._process.captures.values())
        return tuple(lines for lines in drained if lines is not None)

    async def kill(self, grace_seconds: float) -> int:
        """End the worker and everything it started: SIGTERM, then SIGKILL to the group. Returns the exit status."""
        try:
            await self._end(grace_seconds)
            return await self.exit_status()
        finally:
            # Also when this is cancelled: nobody closes it later.
            self._transport.close()

    async def _end(self, grace_seconds: float) -> None:
        try:
            if not self._process.exited.is_set():
                self._signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace_seconds):
                        await self._process.exited.wait()
        finally:
            # Also after a regular end: what the worker started must not outlive it. SIGKILL cannot be waited out, so
            # that this holds when the wait above is cancelled.
            self._signal(signal.SIGKILL)
            self._pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


async def start_worker(launch: Launch) -> Worker:
    """Start a worker in a session of its own; when this is cancelled, none is left behind.

    Raises:
        RunnerError: the process cannot be started.
    """
    starting = asyncio.ensure_future(_start(launch))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        if starting.exception() is None:
            await starting.result().kill(0)
        raise


async def _start(launch: Launch) -> Worker:
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    command = (sys.executable, "-P", "-m", _MODULE, str(write_end), str(os.getpid()))
    try:
        transport, process = await loop.subprocess_exec(
            _Process,
            *command,
            cwd=launch.folder,
            env=dict(launch.environment),
            pass_fds=(write_end,),
            start_new_session=True,
            **_identity(launch.user),
        )
    except OSError as error:
        os.close(read_end)
        raise RunnerError(f"the worker process cannot be started: {error}") from error
    finally:
        os.close(write_end)
    pipe, reader = await loop.connect_read_pipe(_MessagePipe, os.fdopen(read_end, "rb", buffering=0))
    order = transport.get_pipe_transport(0)
    assert isinstance(order, asyncio.WriteTransport)
    order.write(json.dumps(launch.order).encode())
    order.close()
    return Worker(transport, process, pipe, reader)


def _identity(user: str | None) -> dict[str, Any]:
    """What makes the worker another user; empty for the agent's own."""
    if user is None or os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(user)
    # Group access to the device files stays; the agent's own groups do not.
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": os.getgrouplist(user, entry.pw_gid)}
