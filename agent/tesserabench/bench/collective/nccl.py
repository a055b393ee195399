"""NCCL through CuPy as a transport."""

import importlib
from typing import Any

from tesserabench.bench.collective.operation import Operation, Shape
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

_STREAMS: list[Any] = []
"""Streams of this process that stay in use: CuPy does not keep the current one alive."""


def load_nccl() -> Any:
    """Return CuPy's binding of NCCL; raise CaseFailure(unsupported) with the remedy where it cannot be used."""
    try:
        nccl = importlib.import_module("cupy.cuda.nccl")
    except ImportError as error:
        raise _missing(str(error)) from None
    if not getattr(nccl, "available", False):
        raise _missing("CuPy finds no libnccl")
    return nccl


def _missing(why: str) -> CaseFailure:
    return CaseFailure(Outcome.UNSUPPORTED, f"NCCL cannot be used here: {why}; install tesserabench[collectives]")


def unique_id() -> bytes:
    """Return a new group's id."""
    return bytes(load_nccl().get_unique_id())


def take_device(device: int) -> None:
    """Open a device, with a stream of its own that stays the current one."""
    load_nccl()
    cupy = importlib.import_module("cupy")
    cupy.cuda.Device(device).use()
    _STREAMS.append(cupy.cuda.Stream(non_blocking=True).use())


def open_rank(*, rank: int, ranks: int, group_id: bytes) -> "NcclCommunicator":
    """Join the group with the current device and stream."""
    nccl = load_nccl()
    cupy = importlib.import_module("cupy")
    return NcclCommunicator(cupy, nccl, nccl.NcclCommunicator(ranks, group_id, rank), rank)


class NcclCommunicator:
    """One rank of an NCCL communicator, on the current stream."""

    def __init__(self, cupy: Any, nccl: Any, communicator: Any, rank: int) -> None:
        self.xp = cupy
        self._nccl, self._communicator, self._rank = nccl, communicator, rank
        self._stream: Any = cupy.cuda.get_current_stream()
        self._types = {
            "float16": nccl.NCCL_FLOAT16,
            "float32": nccl.NCCL_FLOAT32,
            "float64": nccl.NCCL_FLOAT64,
            "int32": nccl.NCCL_INT32,
        }
        self._aborted = False

    def enqueue(self, shape: Shape, send: Any, receive: Any) -> None:
        """Enqueue the collective on the stream."""
        comm, stream, kind = self._communicator, self._stream.ptr, self._types[shape.dtype]
        source, target, part = send.data.ptr, receive.data.ptr, shape.part
        match shape.operation:
            case Operation.ALL_REDUCE:
                comm.allReduce(source, target, part, kind, self._nccl.NCCL_SUM, stream)
            case Operation.ALL_GATHER:
                comm.allGather(source, target, part, kind, stream)
            case Operation.REDUCE_SCATTER:
                comm.reduceScatter(source, target, part, kind, self._nccl.NCCL_SUM, stream)
            case Operation.BROADCAST:
                comm.broadcast(source, target, part, kind, 0, stream)
            case Operation.SEND_RECV:
                after, before = (self._rank + 1) % shape.ranks, (self._rank - 1) % shape.ranks
                self._exchange([(source, after, target, before)], part, kind)
            case Operation.ALL_TO_ALL:
                step = part * send.itemsize
                pairs = [(source + peer * step, peer, target + peer * step, peer) for peer in range(shape.ranks)]
                self._exchange(pairs, part, kind)

    def synchronize(self) -> None:
        """Wait for the stream, and raise what NCCL found out meanwhile."""
        self._stream.synchronize()
        if not self._aborted:
            self._communicator.check_async_error()

    def free_bytes(self) -> int | None:
        """Return the free memory of the device."""
        free, _ = self.xp.cuda.runtime.memGetInfo()
        return int(free)

    def abort(self) -> None:
        """Make the kernels under way return."""
        self._aborted = True
        self._communicator.abort()

    def close(self) -> None:
        """Destroy the communicator; an aborted one is gone already."""
        if not self._aborted:
            self._stream.synchronize()
            self._communicator.destroy()

    def _exchange(self, pairs: list[tuple[int, int, int, int]], count: int, kind: int) -> None:
        """Send to and receive from several ranks as one operation, so that the order does not matter."""
        stream = self._stream.ptr
        self._nccl.groupStart()
        try:
            for source, receiver, target, sender in pairs:
                self._communicator.send(source, count, kind, receiver, stream)
                self._communicator.recv(target, count, kind, sender, stream)
        finally:
            self._nccl.groupEnd()
