"""What moves the data of a collective; a transport is a module with these two functions."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tesserabench.bench.collective.operation import Shape


class Communicator(Protocol):
    """One rank's membership in a group. `abort` may be called from another thread, everything else from one."""

    xp: Any
    """The array module of the buffers."""

    def enqueue(self, shape: "Shape", send: Any, receive: Any) -> None:
        """Enqueue the collective once."""

    def synchronize(self) -> None:
        """Wait until everything that was enqueued is done."""

    def free_bytes(self) -> int | None:
        """Return the memory that buffers may be taken from, or None."""

    def abort(self) -> None:
        """End whatever is under way, here; the group cannot be used any more."""

    def close(self) -> None:
        """Leave the group."""


class Transport(Protocol):
    """A module such as `tesserabench.bench.collective.nccl`."""

    def unique_id(self) -> bytes:
        """Return a new group's id, made by rank 0 and given to all."""

    def take_device(self, device: int) -> None:
        """Open the device of this index, in a process that is one rank's alone; raise CaseFailure when it cannot."""

    def open_rank(self, *, rank: int, ranks: int, group_id: bytes) -> Communicator:
        """Join the group as `rank` with the device that is open; returns when all have joined."""
