"""Messages of a worker process: length-prefixed JSON over a pipe of their own.

A worker's libraries may print to stdout; nothing they print can be taken for a message. A message is an object with a
text field `kind`:

    placed       processors, numa_node  what the worker is pinned to; empty and null for nothing (an agent's worker)
    opened       device                 the device is open; an agent's worker adds its state
    header       header                 TrialHeader
    phase        case, phase, budget    case is null outside of cases; budget in seconds
    progress     done, total
    measurement  measurement            Measurement
    result       result                 the trial's result without what was sent before; the last message, with the
                                        device's state from an agent's worker
    failed       outcome, reason        the trial could not be carried out; the last message
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tesserabench.bench.errors import BenchError

LARGEST_FRAME = 64 << 20
_PREFIX = 4

Message = Mapping[str, Any]


class WorkerProtocolError(BenchError):
    """A worker wrote something that is no message."""

    reason = "worker_protocol"


def encode_frame(message: Message) -> bytes:
    """Return the bytes of a message: its length in four bytes, big-endian, then JSON."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > LARGEST_FRAME:
        raise WorkerProtocolError(f"a message has {len(body)} bytes; {LARGEST_FRAME} is the most")
    return len(body).to_bytes(_PREFIX, "big") + body


class FrameDecoder:
    """Puts messages together from bytes that come in pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Return the messages that `data` completes; raise WorkerProtocolError when the bytes are none."""
        self._buffer += data
        while len(self._buffer) >= _PREFIX:
            length = int.from_bytes(self._buffer[:_PREFIX], "big")
            if length > LARGEST_FRAME:
                raise WorkerProtocolError(f"a message claims {length} bytes; {LARGEST_FRAME} is the most")
            if len(self._buffer) < _PREFIX + length:
                return
            body = bytes(self._buffer[_PREFIX : _PREFIX + length])
            del self._buffer[: _PREFIX + length]
            yield _decode(body)


def _decode(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise WorkerProtocolError(f"a message is no JSON: {error}") from None
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise WorkerProtocolError(f"a message has no text field 'kind': {str(message)[:200]}")
    return message
