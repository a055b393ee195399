"""What the spool gives out: values, never rows or cursors."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AttemptKey:
    """Identity of an attempt: `runs/{run}/attempts/{attempt}` and how often it has been handed out."""

    name: str
    epoch: int

    def __str__(self) -> str:
        return f"{self.name} (epoch {self.epoch})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledAttempt:
    """An attempt that the spool holds.

    `last_sequence` and `committed_sequence` are 0 before the first record. `open_trial` is the trial whose end has not
    been written. `closed` tells that the closing record is in the log.
    """

    key: AttemptKey
    last_sequence: int
    committed_sequence: int
    open_trial: int | None
    closed: bool

    @property
    def pending(self) -> int:
        """Records that are not committed."""
        return self.last_sequence - self.committed_sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """A record as it lies on disk: `body` is a serialised `tesserabench.v1.Record`."""

    key: AttemptKey
    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """What was ever written and committed of an attempt; kept after the attempt itself has left the spool."""

    key: AttemptKey
    records_written: int
    records_committed: int
    cases_written: int
    cases_committed: int
    outcome: str
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSize:
    """What waits to be sent. `oldest_age_seconds` is absent when nothing waits."""

    pending_bytes: int
    pending_records: int
    oldest_age_seconds: float | None
    full: bool
