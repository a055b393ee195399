"""Counters that the processes of a group share: rank 0 says how many launches there are, the others how far they are.

Each counter has one writer and is one aligned 64-bit word; readers only ever wait for it to grow.
"""

import mmap
import os

import numpy as np

_ISSUED, _ENDED, _DONE = 0, 1, 2


class Board:
    """A page of counters, in memory that is inherited by its file descriptor."""

    def __init__(self, descriptor: int, ranks: int) -> None:
        self._memory = mmap.mmap(descriptor, (_DONE + ranks) * 8)
        self._words = np.frombuffer(self._memory, dtype=np.int64)
        self.descriptor = descriptor

    @classmethod
    def create(cls, ranks: int) -> "Board":
        """Return a new board of zeros."""
        descriptor = os.memfd_create("tesserabench-collective")
        os.ftruncate(descriptor, (_DONE + ranks) * 8)
        return cls(descriptor, ranks)

    @property
    def issued(self) -> int:
        """Launches that rank 0 has begun."""
        return int(self._words[_ISSUED])

    def issue(self) -> None:
        """Count one more launch."""
        self._words[_ISSUED] += 1

    @property
    def ended(self) -> bool:
        """Whether the group was given up."""
        return bool(self._words[_ENDED])

    def end(self) -> None:
        """Give the group up."""
        self._words[_ENDED] = 1

    def done(self, rank: int) -> int:
        """Launches that a rank has followed."""
        return int(self._words[_DONE + rank])

    def follow(self, rank: int, launches: int) -> None:
        """Say how many launches a rank has followed."""
        self._words[_DONE + rank] = launches

    def close(self) -> None:
        """Give the memory back."""
        del self._words
        self._memory.close()
        os.close(self.descriptor)
