"""The attempts in this agent's hands, and who is told when that changes."""

import asyncio
from collections import deque
from dataclasses import dataclass, replace

from tesserabench.agent.link.reconcile import Held
from tesserabench.agent.spool.views import AttemptKey

_REMEMBERED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an attempt has come; `cases_total` is 0 while not known."""

    cases_done: int = 0
    cases_total: int = 0
    current_case: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One attempt in hand.

    `closing`: its worker has ended and only records remain to be sent. `rejected`: the collector does not know it, so
    that it is kept on disk and no longer listed.
    """

    key: AttemptKey
    closing: bool = False
    rejected: bool = False
    progress: Progress = Progress()


class Roster:
    """Keeps the entries. `changed` is set by every change, `urgent` by those that the collector should hear at once.

    For the event loop's thread only.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.urgent = asyncio.Event()
        self._entries: dict[AttemptKey, Entry] = {}
        self._ended: deque[AttemptKey] = deque(maxlen=_REMEMBERED)
        self._ended_count = 0

    def add(self, key: AttemptKey, *, closing: bool = False) -> None:
        """Hold an attempt."""
        self._entries[key] = Entry(key=key, closing=closing)
        self._tell(urgent=True)

    def report(self, key: AttemptKey, progress: Progress) -> None:
        """Note how far an attempt has come."""
        if key in self._entries and self._entries[key].progress != progress:
            self._entries[key] = replace(self._entries[key], progress=progress)
            self._tell(urgent=False)

    def close(self, key: AttemptKey) -> None:
        """Note that only records remain of an attempt; its last one may be committed, and the attempt gone, already."""
        if key in self._entries:
            self._entries[key] = replace(self._entries[key], closing=True)
            self._tell(urgent=True)

    def reject(self, key: AttemptKey, *, rejected: bool) -> None:
        """Note whether the collector does not know an attempt."""
        if key in self._entries and self._entries[key].rejected != rejected:
            self._entries[key] = replace(self._entries[key], rejected=rejected)
            self._tell(urgent=False)

    def remove(self, key: AttemptKey) -> None:
        """Let go of an attempt whose log is wholly committed."""
        if self._entries.pop(key, None) is not None:
            self._ended.append(key)
            self._ended_count += 1
            self._tell(urgent=True)

    def wake(self) -> None:
        """Have the collector asked at once, because something outside the roster changed."""
        self._tell(urgent=True)

    def entries(self) -> tuple[Entry, ...]:
        """Every attempt in hand, oldest first."""
        return tuple(self._entries.values())

    def held(self) -> tuple[Held, ...]:
        """The attempts as `reconcile` takes them."""
        return tuple(Held(key=entry.key, closing=entry.closing) for entry in self._entries.values())

    @property
    def running(self) -> AttemptKey | None:
        """The attempt that is being measured."""
        return next((entry.key for entry in self._entries.values() if not entry.closing), None)

    def mark(self) -> int:
        """A moment for `ended_since`; also forgets the changes so far."""
        self.changed.clear()
        self.urgent.clear()
        return self._ended_count

    def ended_since(self, mark: int) -> frozenset[AttemptKey]:
        """The attempts that left after `mark`."""
        count = self._ended_count - mark
        return frozenset(list(self._ended)[-count:] if count else ())

    def _tell(self, *, urgent: bool) -> None:
        self.changed.set()
        if urgent:
            self.urgent.set()
