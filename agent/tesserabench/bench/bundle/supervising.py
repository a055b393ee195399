"""Validating in a process of its own, so that a bundle that hangs, crashes or floods ends nothing but itself."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tesserabench.bench.bundle.checks import Check, Status
from tesserabench.bench.bundle.compiling import ARCHITECTURES

CHILD = "tesserabench.bench.bundle.child"
_PATIENCE_SECONDS = 10.0
_MOST_WORDS = 2000
"""Bytes of the process's last words that are looked at."""


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

    `tell` hears each check as it is made. What the bundle prints is thrown away.
    """
    request = json.dumps({"folder": str(folder), "devices": [*devices], "architectures": [*architectures]})
    checks: list[Check] = []
    late = True
    with tempfile.TemporaryFile() as words:
        child, reader = _start(request, words)
        try:
            late = not all(_keep(check, checks, tell) for check in _told(reader, limit_seconds))
        finally:
            os.close(reader)
            _bury(child, patience=0.0 if late else _PATIENCE_SECONDS)
        ended = _end(child.returncode, _last_line(words), checks, limit_seconds if late else None)
    if ended is not None:
        _keep(ended, checks, tell)
    return Validation(checks=tuple(checks))


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


def _told(reader: int, limit_seconds: float) -> Iterator[Check | None]:
    """Yield the checks that the process tells of, and None when it takes too long."""
    deadline, rest = time.monotonic() + limit_seconds, b""
    while True:
        ready, _, _ = select.select([reader], (), (), max(0.0, deadline - time.monotonic()))
        if not ready:
            yield None
            return
        data = os.read(reader, 65536)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (Check.from_dict(json.loads(line)) for line in lines)


def _keep(check: Check | None, checks: list[Check], tell: Callable[[Check], None]) -> bool:
    if check is None:
        return False
    checks.append(check)
    tell(check)
    return True


def _last_line(words: IO[bytes]) -> str:
    words.seek(0, os.SEEK_END)
    words.seek(max(0, words.tell() - _MOST_WORDS))
    lines = words.read().decode("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _end(status: int | None, words: str, checks: list[Check], late_after: float | None) -> Check | None:
    """Return the check that says how the process ended, unless it ended well."""
    after = f"after {checks[-1].subject!r}" if checks else "while the bundle was loaded"
    if late_after is not None:
        message = (
            f"took longer than {late_after:g} s, {after}: look for a loop or a wait that never ends, "
            "or give more time with --limit"
        )
    elif status == 0 and checks:
        return None
    elif status is not None and status < 0:
        message = f"the process died of {signal.Signals(-status).name} {after}: {words or 'it said nothing'}"
    else:
        message = f"the process ended with status {status} {after}: {words or 'it said nothing'}"
    return Check(subject="process", status=Status.FAILED, message=message)
