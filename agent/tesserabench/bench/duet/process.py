"""A fresh process for every trial, without any daemon: started without a fork, bounded, and ended as a group.

Whatever goes wrong with the device, a leak, a crash or a hang, dies with the worker, and ends here as an outcome.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tesserabench.bench.vocabulary import Outcome
from tesserabench.bench.worker.frames import FrameDecoder, Message, WorkerProtocolError

MODULE = "tesserabench.bench.duet.worker"
_READ_BYTES = 1 << 16
_TAIL_LINES = 20
_LONGEST_LINE = 500
_STEP_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a worker may take, in seconds. A phase that it announces has the budget that it names."""

    startup: float = 120.0
    """From its start until the device is open."""
    between: float = 120.0
    """Between a result and the next phase."""
    shutdown: float = 30.0
    """From its last message until its end."""
    grace: float = 5.0
    """From SIGTERM to SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """What a worker does: `order` is read by `duet.worker`. Without a folder it works where this process does."""

    order: Mapping[str, Any]
    folder: Path | None = None
    environment: Mapping[str, str] | None = None
    """All of its environment; None takes that of this process."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnd:
    """How a worker ended: ok when it said so itself and left."""

    outcome: Outcome
    reason: str = ""
    result: Mapping[str, Any] | None = None
    """What its last message carried."""
    case: str | None = None
    """The case that it was in when it had to be stopped, or died."""
    exit_status: int | None = None
    """Negative for a signal."""
    printed: tuple[str, ...] = ()
    """The last lines that it wrote to stdout and stderr."""


def never() -> bool:
    """Return False: nobody cancels it."""
    return False


def run_worker(
    order: WorkerOrder, take: Callable[[Message], None], *, cancelled: Callable[[], bool] = never
) -> WorkerEnd:
    """Start a worker, hand every message to `take` as it comes, and return how it ended; nothing is left running.

    Call it from a thread that outlives the worker: the kernel ends the worker when the thread that started it ends.
    """
    read_end, write_end = os.pipe()
    try:
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps(order.order).encode())
            stdin.seek(0)
            process = _start(order, stdin.fileno(), write_end)
    except OSError as error:
        os.close(read_end)
        return WorkerEnd(outcome=Outcome.HARNESS_ERROR, reason=f"the worker process cannot be started: {error}")
    finally:
        os.close(write_end)
    attention = _Attention(order, process, read_end, take, cancelled)
    try:
        return attention.listen()
    finally:
        attention.close()


def _start(order: WorkerOrder, stdin: int, pipe: int) -> "subprocess.Popen[bytes]":
    environment = dict(os.environ if order.environment is None else order.environment)
    # Blocking launches would change every time; a debugging leftover must not.
    environment.pop("CUDA_LAUNCH_BLOCKING", None)
    return subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
        (sys.executable, "-P", "-m", MODULE, str(pipe), str(os.getpid())),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=order.folder,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        pass_fds=(pipe,),
        start_new_session=True,
    )


class _Attention:
    """Listens to one worker until it has ended, or must be."""

    def __init__(
        self,
        order: WorkerOrder,
        process: "subprocess.Popen[bytes]",
        pipe: int,
        take: Callable[[Message], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._limits, self._process, self._pipe = order.limits, process, pipe
        self._take, self._cancelled = take, cancelled
        self._decoder = FrameDecoder()
        self._lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self._rest = b""
        self._where, self._case = "startup", ""
        self._budget = order.limits.startup
        self._deadline = time.monotonic() + self._budget
        self._said: WorkerEnd | None = None
        assert process.stdout is not None
        self._stdout = process.stdout.fileno()

    def listen(self) -> WorkerEnd:
        """Return how the worker ended."""
        stopped = None
        try:
            self._read_all()
        except TimeoutError:
            # When every result is here, that the process did not go by itself is no fault of theirs.
            stopped = self._said or self._end(
                Outcome.TIMEOUT,
                f"phase {self._where}{f' of {self._case}' if self._case else ''} took longer than its "
                f"{self._budget:g} s; the worker was ended",
            )
        except WorkerProtocolError as error:
            stopped = self._end(Outcome.HARNESS_ERROR, f"the worker cannot be understood: {error}; please report it")
        except _Cancelled:
            stopped = self._end(Outcome.CANCELLED, "the comparison was cancelled")
        status = self._stop()
        found = stopped or self._said or self._of_exit(status)
        return WorkerEnd(
            outcome=found.outcome,
            reason=found.reason,
            result=found.result,
            case=found.case,
            exit_status=status,
            printed=tuple(self._lines),
        )

    def close(self) -> None:
        """End whatever still runs of the worker's group, also when listening was interrupted."""
        self._stop()
        with contextlib.suppress(OSError):
            os.close(self._pipe)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ, self._messages)
            selector.register(self._stdout, selectors.EVENT_READ, self._print)
            # Its own children may keep stdout open; the pipe ends with the worker itself.
            while self._pipe in selector.get_map():
                self._check_time()
                for key, _ in selector.select(min(_STEP_SECONDS, max(0.0, self._deadline - time.monotonic()))):
                    data = os.read(key.fd, _READ_BYTES)
                    if data:
                        key.data(data)
                    else:
                        selector.unregister(key.fd)
        self._await_exit()

    def _await_exit(self) -> None:
        # Where it was when its pipe ended stays known: a process that dies does so there.
        self._deadline = min(self._deadline, time.monotonic() + self._limits.shutdown)
        while self._process.poll() is None:
            self._check_time()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(min(_STEP_SECONDS, max(0.01, self._deadline - time.monotonic())))
        self._drain()

    def _drain(self) -> None:
        """Take what it printed last, without waiting for children of its own."""
        os.set_blocking(self._stdout, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._stdout, _READ_BYTES):
                self._print(data)
        if self._rest:
            self._print(b"\n")

    def _check_time(self) -> None:
        if self._cancelled():
            raise _Cancelled
        if time.monotonic() >= self._deadline:
            raise TimeoutError

    def _messages(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            self._note(message)
            self._take(message)

    def _note(self, message: Message) -> None:
        match message["kind"]:
            case "phase":
                self._enter(str(message["phase"]), str(message["case"] or ""), float(message["budget"]))
            case "opened":
                self._enter("ceiling", "", self._limits.between)
            case "measurement":
                self._enter("next case", "", self._limits.between)
            case "result":
                result = message["result"]
                self._said = WorkerEnd(
                    outcome=Outcome(result["outcome"]), reason=str(result["reason"]), result=dict(result)
                )
                self._enter("shutdown", "", self._limits.shutdown)
            case "failed":
                self._said = WorkerEnd(outcome=Outcome(message["outcome"]), reason=str(message["reason"]))
                self._enter("shutdown", "", self._limits.shutdown)

    def _enter(self, where: str, case: str, budget: float) -> None:
        self._where, self._case, self._budget = where, case, budget
        self._deadline = time.monotonic() + budget

    def _print(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            whole, self._rest = [*whole, self._rest], b""
        self._lines.extend(line.decode(errors="replace").rstrip("\r")[:_LONGEST_LINE] for line in whole if line)

    def _stop(self) -> int:
        """End the worker and everything that it started: SIGTERM, then SIGKILL to the group."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._limits.grace)
        # Also after a regular end: what the worker started must not outlive it.
        self._signal(signal.SIGKILL)
        return self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _end(self, outcome: Outcome, reason: str) -> WorkerEnd:
        return WorkerEnd(outcome=outcome, reason=reason, case=self._case or None)

    def _of_exit(self, status: int) -> WorkerEnd:
        """Return how a worker ended that said nothing at its end."""
        last = f"; its last line: {self._lines[-1]}" if self._lines else ""
        where = f"in phase {self._where}{f' of {self._case}' if self._case else ''}" if self._case else ""
        if status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
            # What it printed last is the crash handler's list of modules.
            return self._end(Outcome.DEVICE_ERROR, f"the worker died of {name} {where}".rstrip())
        return self._end(Outcome.HARNESS_ERROR, f"the worker ended with status {status} {where}".rstrip() + last)


class _Cancelled(Exception):  # noqa: N818 - never leaves this module
    """Somebody wants the worker to stop."""
