"""Messages between rank 0 and the others: JSON objects with their length before them, over pipes."""

import json
import os
import select
import struct
import time
from typing import Any

_HEADER = struct.Struct("<I")
LARGEST = 1 << 20


class PeerGone(Exception):  # noqa: N818 - read as a state of the other side
    """The other side has closed its end."""


def send(descriptor: int, message: dict[str, Any]) -> None:
    """Write one message; raise PeerGone when nobody reads any more."""
    body = json.dumps(message).encode()
    rest = memoryview(_HEADER.pack(len(body)) + body)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BrokenPipeError:
        raise PeerGone from None


def receive(descriptor: int, seconds: float | None) -> dict[str, Any]:
    """Read one message; raise PeerGone at the end of the pipe and TimeoutError when it does not come in time."""
    deadline = None if seconds is None else time.monotonic() + seconds
    (length,) = _HEADER.unpack(_read(descriptor, _HEADER.size, deadline))
    if length > LARGEST:
        raise PeerGone
    message = json.loads(_read(descriptor, length, deadline))
    if not isinstance(message, dict):
        raise PeerGone
    return message


def waiting(descriptor: int, seconds: float) -> bool:
    """Tell whether a message, or the end, has come; wait at most so long for it."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


def _read(descriptor: int, count: int, deadline: float | None) -> bytes:
    parts = b""
    while len(parts) < count:
        if deadline is not None and not waiting(descriptor, max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        part = os.read(descriptor, count - len(parts))
        if not part:
            raise PeerGone
        parts += part
    return parts
