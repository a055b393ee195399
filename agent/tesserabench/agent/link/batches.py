"""Cutting a log into batches, and following which of them are committed: pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tesserabench.agent.spool.views import StoredRecord
from tesserabench.v1.ingest_service_pb2 import Record, RecordBatch, UploadRequest
from tesserabench.wire import MAX_MESSAGE_BYTES

# The collector's own limit on a message stands well above what the agent is told to send.
LARGEST_BATCH_BYTES = MAX_MESSAGE_BYTES // 2
DEFAULT_BATCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Consecutive records of one attempt: `first` to `last`, both included."""

    first: int
    last: int
    request: UploadRequest


def make_batch(records: Sequence[StoredRecord]) -> Batch:
    """The batch of some stored records, which follow one another."""
    parsed = [Record.FromString(record.body) for record in records]
    return Batch(
        first=records[0].sequence,
        last=records[-1].sequence,
        request=UploadRequest(batch=RecordBatch(records=parsed)),
    )


def batch_limit(asked_bytes: int) -> int:
    """Largest batch in bytes, given what the collector asked for; 0 means that it did not."""
    return min(asked_bytes or DEFAULT_BATCH_BYTES, LARGEST_BATCH_BYTES)


class WindowError(Exception):
    """The collector's answer does not continue what was sent; the stream has to begin again."""


@dataclass(slots=True)
class Window:
    """Batches that were sent and not yet answered. Answers come one for each batch, in order."""

    size: int
    committed: int
    _sent: deque[Batch] = field(default_factory=deque)

    @property
    def open(self) -> bool:
        """Whether another batch may be sent ahead."""
        return len(self._sent) < self.size

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._sent)

    @property
    def sent_until(self) -> int:
        """Last sequence that was sent, or is committed."""
        return self._sent[-1].last if self._sent else self.committed

    def send(self, batch: Batch) -> None:
        """Note a batch as sent."""
        assert batch.first == self.sent_until + 1
        self._sent.append(batch)

    def answer(self, committed_sequence: int) -> int:
        """Take the answer to the oldest batch and return what is now committed.

        Raises:
            WindowError: the batch was not applied; `committed` tells where to go on from.
        """
        if not self._sent:
            raise WindowError(f"an answer ({committed_sequence}) came without a question")
        sent_until = self.sent_until
        batch = self._sent.popleft()
        self.committed = committed_sequence
        if committed_sequence > sent_until:
            raise WindowError(f"record {committed_sequence} is committed, but only {sent_until} were sent")
        if committed_sequence < batch.last:
            raise WindowError(f"records {batch.first} to {batch.last} were not applied after {committed_sequence}")
        return committed_sequence
