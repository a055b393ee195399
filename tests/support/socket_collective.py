"""A transport that moves NumPy data over Unix sockets between real processes, in NCCL's place.

`TESSERABENCH_TEST_FAULT` plants a fault, as `rank:launch:what`; `what` is `exit`, `kill`, `hang`, `wrong` or
`short`; launch 0 is the forming of the group.
"""

import os
import signal
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from tesserabench.bench.collective.operation import Operation, Shape
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

_CONNECT_TRIES = 2000


def unique_id() -> bytes:
    """Return the folder in which the ranks meet."""
    return tempfile.mkdtemp(prefix="collective-").encode()


def take_device(device: int) -> None:
    """Open nothing; refuse a device that a test says is missing."""
    if os.environ.get("TESSERABENCH_TEST_MISSING") == str(device):
        raise CaseFailure(Outcome.UNSUPPORTED, f"device {device} is missing")


def open_rank(*, rank: int, ranks: int, group_id: bytes) -> "SocketCommunicator":
    """Connect to every other rank; returns when all are there."""
    return SocketCommunicator(rank, ranks, Path(group_id.decode()))


class SocketCommunicator:
    """One rank, connected to all others."""

    xp = np

    def __init__(self, rank: int, ranks: int, folder: Path) -> None:
        self._rank, self._ranks = rank, ranks
        self._launches = 0
        self._fault = _fault_of(rank)
        self._strike()
        self._peers: dict[int, socket.socket] = {}
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                self._meet(listener, folder)
        except OSError:
            self.close()
            raise

    def _meet(self, listener: socket.socket, folder: Path) -> None:
        """Connect to the ranks below and let those above connect."""
        rank = self._rank
        listener.bind(str(folder / f".{rank}"))
        listener.listen(self._ranks)
        (folder / f".{rank}").rename(folder / str(rank))
        # Rank 0 does not wait for ever for the others; nor does NCCL.
        listener.settimeout(float(os.environ.get("TESSERABENCH_TEST_JOIN_SECONDS", "10")))
        for peer in range(rank):
            connection = self._peers[peer] = socket.socket(socket.AF_UNIX)
            _connect(connection, str(folder / str(peer)))
            connection.sendall(bytes([rank]))
        for _ in range(self._ranks - rank - 1):
            connection, _address = listener.accept()
            connection.settimeout(None)
            self._peers[connection.recv(1)[0]] = connection
        (folder / str(rank)).unlink()

    def enqueue(self, shape: Shape, send: Any, receive: Any) -> None:
        """Do the collective now."""
        self._launches += 1
        short = self._strike()
        part = shape.part
        whole = dict.fromkeys(range(shape.ranks), send[:part])
        split = {peer: send[peer * part : (peer + 1) * part] for peer in range(shape.ranks)} if len(send) > part else {}
        nothing = send[:0]
        match shape.operation:
            case Operation.ALL_REDUCE:
                receive[:] = sum(self._swap(whole, short=short).values())
            case Operation.ALL_GATHER:
                receive[:] = np.concatenate([piece for _, piece in sorted(self._swap(whole, short=short).items())])
            case Operation.REDUCE_SCATTER:
                receive[:] = sum(self._swap(split, short=short).values())
            case Operation.ALL_TO_ALL:
                receive[:] = np.concatenate([piece for _, piece in sorted(self._swap(split, short=short).items())])
            case Operation.BROADCAST:
                receive[:] = self._swap(whole if self._rank == 0 else dict.fromkeys(whole, nothing), short=short)[0]
            case Operation.SEND_RECV:
                after, before = (self._rank + 1) % shape.ranks, (self._rank - 1) % shape.ranks
                receive[:] = self._swap(dict.fromkeys(whole, nothing) | {after: whole[after]}, short=short)[before]
        if self._fault == (self._launches, "wrong"):
            receive[-1] += 1

    def synchronize(self) -> None:
        """Nothing is ever under way."""

    def free_bytes(self) -> int | None:
        """Return the memory that a test allows."""
        limit = os.environ.get("TESSERABENCH_TEST_FREE")
        return int(limit) if limit else None

    def abort(self) -> None:
        """Break every connection."""
        for connection in self._peers.values():
            connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Leave."""
        for connection in self._peers.values():
            connection.close()

    def _swap(self, parts: dict[int, Any], *, short: bool) -> dict[int, Any]:
        """Give every rank its part and return what each gave; data is framed by its length."""
        received: dict[int, Any] = {self._rank: parts[self._rank]}
        for step in range(1, self._ranks):
            to, of = (self._rank + step) % self._ranks, (self._rank - step) % self._ranks
            data = np.ascontiguousarray(parts[to]).tobytes()
            data = data[: len(data) // 2] if short else data
            sender = threading.Thread(target=_send, args=(self._peers[to], data), daemon=True)
            sender.start()
            length = int.from_bytes(self._exactly(of, 8), "little")
            body = self._exactly(of, length)
            sender.join()
            received[of] = np.frombuffer(body, dtype=parts[to].dtype)
        return received

    def _exactly(self, peer: int, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._peers[peer].recv(count - len(parts))
            if not part:
                raise ConnectionError(f"rank {peer} closed its connection")
            parts += part
        return bytes(parts)

    def _strike(self) -> bool:
        """Let the fault happen whose launch has come; tell whether data is to be cut short."""
        if self._fault is None or self._fault[0] != self._launches:
            return False
        match self._fault[1]:
            case "exit":
                os.write(2, b"the fault exit was planted\n")
                os._exit(3)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                threading.Event().wait()
        return self._fault[1] == "short"


def _fault_of(rank: int) -> tuple[int, str] | None:
    planted = os.environ.get("TESSERABENCH_TEST_FAULT", "")
    if not planted:
        return None
    where, launch, what = planted.split(":")
    return (int(launch), what) if int(where) == rank else None


def _connect(connection: socket.socket, path: str) -> None:
    pause = threading.Event()
    for _ in range(_CONNECT_TRIES):
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            pause.wait(0.01)
        else:
            return
    raise TimeoutError(path)


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(len(data).to_bytes(8, "little") + data)
    except OSError:
        return
