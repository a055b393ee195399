"""Another rank as rank 0 sees it: its process, its pipes, its last words."""

import contextlib
import os
import subprocess
import sys
import tempfile
from typing import Any

from tesserabench.bench.collective import frames
from tesserabench.bench.collective.supervision import RankSeen

_MODULE = "tesserabench.bench.collective.rank"
_LAST_WORDS_BYTES = 4096


class Member:
    """The process of one rank, started at once and owned until `kill`."""

    def __init__(self, rank: int, ranks: int, board: int, transport: str) -> None:
        self.rank = rank
        # What libraries print must not fill a pipe that nobody reads, and the last of it says why a rank died.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        commands, self._commands = os.pipe()
        self.answers, answers = os.pipe()
        arguments = (rank, ranks, commands, answers, board, os.getpid(), transport)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter with a module of ours
                [sys.executable, "-P", "-m", _MODULE, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                pass_fds=(commands, answers, board),
            )
        finally:
            os.close(commands)
            os.close(answers)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def tell(self, order: dict[str, Any]) -> None:
        """Send an order; raise PeerGone when the process does not read any more."""
        frames.send(self._commands, order)

    def answer(self, seconds: float) -> dict[str, Any]:
        """Return the answer to an order; raise TimeoutError or PeerGone."""
        return frames.receive(self.answers, seconds)

    def seen(self, done: int, *, hung_up: bool = False) -> RankSeen:
        """Return what can be seen of it; `hung_up` when its end of a pipe is closed already."""
        if hung_up:
            # The pipes of a process close a moment before it can be waited for.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        status = self._process.poll()
        alive = status is None and not hung_up
        words = "" if alive else self._last_words()
        return RankSeen(rank=self.rank, alive=alive, done=done, exit_status=status, last_words=words)

    def leave(self, seconds: float) -> None:
        """Close its orders and wait for its end; kill it when it does not come."""
        with contextlib.suppress(OSError):
            os.close(self._commands)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self.answers)
        self._printed.close()

    def _last_words(self) -> str:
        end = self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, end - _LAST_WORDS_BYTES))
        lines = self._printed.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""
