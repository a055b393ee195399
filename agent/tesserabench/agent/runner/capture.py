"""Lines that a worker writes: cut, counted and bounded."""

from collections.abc import Callable
from dataclasses import dataclass

_LONGEST_LINE = 2000
_BURST_LINES = 500
_LINES_PER_SECOND = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines of one source, `stdout` or `stderr`."""

    source: str
    lines: tuple[str, ...]


class LineBudget:
    """A token bucket: so many lines at once, and so many a second after that."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens = float(_BURST_LINES)
        self._filled_at = clock()

    def take(self) -> bool:
        """Whether one more line may pass."""
        now = self._clock()
        self._tokens = min(_BURST_LINES, self._tokens + (now - self._filled_at) * _LINES_PER_SECOND)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Capture:
    """Takes the bytes of one source and gives lines."""

    def __init__(self, source: str, budget: LineBudget) -> None:
        self._source, self._budget = source, budget
        self._tail = b""
        self._lines: list[str] = []
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Take bytes as they come."""
        *whole, self._tail = (self._tail + data).split(b"\n")
        for line in whole:
            self._keep(line)
        if len(self._tail) > _LONGEST_LINE * 4:
            # A line without an end must not fill the memory; its rest goes on as the next line.
            self._keep(self._tail)
            self._tail = b""

    def finish(self) -> None:
        """Take what was left without an end of line."""
        if self._tail:
            self._keep(self._tail)
            self._tail = b""

    def drain(self) -> Lines | None:
        """The lines since the last call, if there are any."""
        lines = self._lines
        if self._dropped:
            lines.append(f"({self._dropped} lines were left out: more than {_LINES_PER_SECOND} a second)")
        self._lines, self._dropped = [], 0
        return Lines(source=self._source, lines=tuple(lines)) if lines else None

    def _keep(self, line: bytes) -> None:
        if not self._budget.take():
            self._dropped += 1
            return
        text = line.decode(errors="replace").rstrip("\r")
        self._lines.append(text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}… ({len(text)} characters)")
