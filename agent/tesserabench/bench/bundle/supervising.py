"""Validating in a process of its own, so that a bundle that hangs, crashes or floods ends nothing but itself."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import IO

from tesserabench.bench.bundle.checks import Check, Status
from tesserabench.bench.bundle.compiling import ARCHITECTURES
from tesserabench.bench.errors import BundleError

CHILD = "tesserabench.bench.bundle.child"
ALL_TOLD = b'"all told"'
"""The last line of a process that has made every check: one that merely stops has not."""
PROCESS = "process"
"""Subject of the check that failed because the process broke off."""
_PATIENCE_SECONDS = 10.0
_MOST_WORDS = 2000
"""Bytes of the process's last words that are looked at."""


class _Heard(Enum):
    """How listening to the process ended."""

    ALL = auto()
    BROKEN_OFF = auto()
    GARBLED = auto()
    LATE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """All checks of a bundle, in the order they were made."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return bool(self.checks) and all(check.status is not Status.FAILED for check in self.checks)

    def to_dict(self) -> dict[str, object]:
        """Return the validation as JSON types."""
        return {"passed": self.passed, "checks": [check.to_dict() for check in self.checks]}


def validate(
    folder: Path | str,
    *,
    devices: Sequence[str] = ("cpu",),
    architectures: Sequence[str] = ARCHITECTURES,
    limit_seconds: float = 120.0,
    tell: Callable[[Check], None] = lambda _: None,
) -> Validation:
    """Check a bundle in a fresh process within a time limit and return what was found; never raises for the bundle.

    `tell` hears each check as it is made. What the bundle prints is thrown away. Call it from a thread that outlives
    the check: the kernel ends the process with the thread that started it.
    """
    request = json.dumps(
        {"folder": str(folder), "devices": [*devices], "architectures": [*architectures], "parent": os.getpid()}
    )
    checks: list[Check] = []

    def keep(check: Check) -> None:
        checks.append(check)
        tell(check)

    with tempfile.TemporaryFile() as words:
        child, reader = _start(request, words)
        heard = _Heard.LATE
        try:
            heard = _listen(reader, limit_seconds, keep)
        finally:
            os.close(reader)
            _bury(child, patience=0.0 if heard in {_Heard.LATE, _Heard.GARBLED} else _PATIENCE_SECONDS)
        wrong = _wrong(heard, child.returncode, _last_line(words), limit_seconds)
    if wrong:
        after = f"after {checks[-1].subject!r}" if checks else "while the bundle was loaded"
        keep(Check(subject=PROCESS, status=Status.FAILED, message=wrong.format(after=after)))
    return Validation(checks=tuple(checks))


class _Loaded(Exception):  # noqa: N818 - a message, no error
    """The process has loaded the bundle, or has said why it cannot be."""


def require_loadable(folder: Path | str, *, limit_seconds: float = 60.0) -> None:
    """Load a bundle in a process of its own first: code that ends or blocks its process must not end or block ours.

    Raises BundleError when it does. A bundle that merely cannot be loaded is left to who loads it: that is told there.
    """

    def first(check: Check) -> None:
        if check.subject == PROCESS:
            raise BundleError(f"bundle {folder}: {check.message}")
        raise _Loaded

    with suppress(_Loaded):
        validate(folder, devices=(), architectures=(), limit_seconds=limit_seconds, tell=first)


def _start(request: str, words: IO[bytes]) -> "tuple[subprocess.Popen[bytes], int]":
    reader, writer = os.pipe()
    try:
        child = subprocess.Popen(  # noqa: S603 - this interpreter, a module of ours, the request as one argument
            [sys.executable, "-m", CHILD, str(writer), request],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            pass_fds=(writer,),
            start_new_session=True,
        )
    finally:
        os.close(writer)
    return child, reader


def _bury(child: "subprocess.Popen[bytes]", patience: float) -> None:
    """Let the process end by itself for a moment, then kill its group: what the bundle started dies with it."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(patience)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _listen(reader: int, limit_seconds: float, keep: Callable[[Check], None]) -> _Heard:
    """Keep the checks that the process tells of until it says that they were all, and return how that ended."""
    deadline, rest = time.monotonic() + limit_seconds, b""
    while True:
        ready, _, _ = select.select([reader], (), (), max(0.0, deadline - time.monotonic()))
        if not ready:
            return _Heard.LATE
        data = os.read(reader, 65536)
        if not data:
            return _Heard.BROKEN_OFF
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            # Processes that the bundle left behind may keep the pipe open: its end is not waited for.
            if line == ALL_TOLD:
                return _Heard.ALL
            try:
                check = Check.from_dict(json.loads(line))
            except (ValueError, KeyError, TypeError):
                return _Heard.GARBLED
            keep(check)


def _last_line(words: IO[bytes]) -> str:
    words.seek(0, os.SEEK_END)
    words.seek(max(0, words.tell() - _MOST_WORDS))
    lines = words.read().decode("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _wrong(heard: _Heard, status: int, words: str, limit_seconds: float) -> str:
    """Return what to say of how the process ended, with a place for when; "" when it ended well."""
    said = (words or "it said nothing").replace("{", "{{").replace("}", "}}")
    if heard is _Heard.LATE:
        return (
            f"took longer than {limit_seconds:g} s, {{after}}: look for a loop or a wait that never ends, "
            "or give more time with --limit"
        )
    if heard is _Heard.GARBLED:
        return "something else than checks came from the process {after}: write to no descriptor that is not yours"
    if status < 0:
        return f"the process died of {signal.Signals(-status).name} {{after}}: {said}"
    return "" if heard is _Heard.ALL and status == 0 else f"the process ended with status {status} {{after}}: {said}"
