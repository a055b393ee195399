"""The work of the latency suite on a CPU: a small call, a wake-up by the scheduler, the first touch of memory."""

import mmap
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.inputs import uniform
from tesserabench.bench.metric import ITEM_TIME, MetricValue
from tesserabench.bench.vocabulary import Outcome
from tesserabench.bench.workloads.arrays import poison
from tesserabench.bench.workloads.told import Told, tell

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays
    from tesserabench.bench.timing.statistics import Statistics

_GRACE_SECONDS = 5.0
# Echoes the last byte of what it reads, plus one; ends when its partner does.
_ECHO = """
import os
while data := os.read(0, 64):
    os.write(1, bytes([(data[-1] + 1) % 256]))
"""


class Call:
    """c = a + b on a few elements."""

    def __init__(self, device: ArrayDevice, elements: int, seed: int) -> None:
        self._a: Any = uniform(device.xp, elements, "float64", seed=seed, stream=0)
        self._b: Any = uniform(device.xp, elements, "float64", seed=seed, stream=1)
        self._c: Any = np.empty(elements)

    def launch(self) -> None:
        """Add once."""
        np.add(self._a, self._b, out=self._c)

    def poison(self) -> None:
        """Fill the sum with NaN patterns."""
        poison(self._c)

    def outputs(self) -> "HostArrays":
        """Return the sum."""
        return {"c": self._c.copy()}

    def reference(self) -> "HostArrays":
        """Return the sum of the same numbers, added by Python."""
        return {"c": np.array([float(a) + float(b) for a, b in zip(self._a, self._b, strict=True)])}


class _RoundTrip:
    """A byte to a partner and back; the partner adds one, so that an answer cannot be an old one."""

    def __init__(self, write_end: int, read_end: int) -> None:
        self._write, self._read = write_end, read_end
        self._value = 0
        self._answer = -1

    def launch(self) -> None:
        """Send the next byte and wait for the answer."""
        self._value = (self._value + 2) % 256
        try:
            os.write(self._write, bytes([self._value]))
            answer = os.read(self._read, 1)
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise CaseFailure(
                Outcome.HARNESS_ERROR, "the partner of the round trip ended; look for what kills processes here"
            )
        self._answer = answer[0]

    def poison(self) -> None:
        """Forget the answer."""
        self._answer = -1

    def outputs(self) -> "HostArrays":
        """Return how far the answer is ahead of what was sent."""
        ahead = float("nan") if self._answer < 0 else float((self._answer - self._value) % 256)
        return {"ahead": np.array([ahead])}

    def reference(self) -> "HostArrays":
        """Return one."""
        return {"ahead": np.ones(1)}


class WakeThread(_RoundTrip):
    """The round trip to a thread of this process; the interpreter's lock is part of what it costs."""

    def __init__(self) -> None:
        there, here = os.pipe(), os.pipe()
        super().__init__(there[1], here[0])
        thread = threading.Thread(target=_echo, args=(there[0], here[1]), name="latency-wake", daemon=True)
        thread.start()
        self.close = weakref.finalize(self, _end_thread, thread, (there[1], there[0], here[0], here[1]))
        """Ends the thread and closes the pipes; also called when the work is dropped."""


class WakeProcess(_RoundTrip):
    """The round trip to a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - this interpreter with a program of ours
            [sys.executable, "-I", "-c", _ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        super().__init__(self.process.stdin.fileno(), self.process.stdout.fileno())
        self.close = weakref.finalize(self, _end_process, self.process)
        """Ends the process by closing its pipe; also called when the work is dropped."""


def _echo(read_end: int, write_end: int) -> None:
    while data := os.read(read_end, 64):
        os.write(write_end, bytes([(data[-1] + 1) % 256]))


def _end_thread(thread: threading.Thread, ends: tuple[int, ...]) -> None:
    # The first end is the one whose closing the thread waits for.
    os.close(ends[0])
    thread.join(_GRACE_SECONDS)
    for end in ends[1:]:
        os.close(end)


def _end_process(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


class FirstTouch:
    """Anonymous memory mapped, every page written once, unmapped: page faults and the zeroing behind them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pages = -(-size // mmap.PAGESIZE)
        self._touched = -1

    def launch(self) -> None:
        """Map, touch and unmap; count the pages that carry the mark."""
        with mmap.mmap(-1, self._size) as memory:
            pages = np.frombuffer(memory, dtype=np.uint8)[:: mmap.PAGESIZE]
            pages[:] = 1
            self._touched = pages.size
            # The mapping cannot be closed while an array looks at it.
            del pages

    def poison(self) -> None:
        """Forget the count."""
        self._touched = -1

    def outputs(self) -> "HostArrays":
        """Return how many pages were touched."""
        return {"pages": np.array([float(self._touched) if self._touched >= 0 else float("nan")])}

    def reference(self) -> "HostArrays":
        """Return how many pages the size has."""
        return {"pages": np.array([float(self._pages)])}

    def metrics(self, statistics: "Statistics") -> Iterable[MetricValue]:
        """Return the cost of one page."""
        return tell((Told(metric=ITEM_TIME, amount=self._pages, per_item=True),), statistics)
