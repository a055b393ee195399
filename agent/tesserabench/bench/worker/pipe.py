"""A worker's side of the pipe, and what ties it to its parent. Imports nothing that starts threads."""

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
from typing import TYPE_CHECKING, Any

from tesserabench.bench.worker.frames import encode_frame

if TYPE_CHECKING:
    from tesserabench.bench.case import Case
    from tesserabench.bench.measurement import Measurement, TrialHeader
    from tesserabench.bench.vocabulary import Phase

_PR_SET_PDEATHSIG = 1
_FIRST_TO_GO = "1000"


class PipeObserver:
    """Tells the parent everything as it happens."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def send(self, kind: str, **fields: Any) -> None:
        """Write one message, wholly."""
        rest = memoryview(encode_frame({"kind": kind, **fields}))
        while rest:
            rest = rest[os.write(self._pipe, rest) :]

    def header(self, header: "TrialHeader") -> None:
        """Where and under which conditions the trial runs."""
        self.send("header", header=header.to_dict())

    def phase(self, case: "Case | None", phase: "Phase", budget_seconds: float) -> None:
        """A phase begins."""
        self.send("phase", case=None if case is None else case.id, phase=phase.value, budget=budget_seconds)

    def measurement(self, measurement: "Measurement") -> None:
        """A case is done."""
        self.send("measurement", measurement=measurement.to_dict())

    def progress(self, done: int, total: int) -> None:
        """So many cases of all are done."""
        self.send("progress", done=done, total=total)


def die_with(parent: int) -> None:
    """Let the kernel end this process when the thread that started it ends, however that happens."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # The parent died before the request above took hold.
        os.kill(os.getpid(), signal.SIGKILL)


def protect(parent: int) -> None:
    """Die with the parent, leave no core file, and say where a crash happened."""
    die_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # When memory runs out the kernel ends this process rather than the parent. A limit on the address space would not
    # do: a CUDA context reserves far more of it than the machine has memory.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:  # noqa: PTH123 - no pathlib before the limits hold
        score.write(_FIRST_TO_GO)
    faulthandler.enable()
