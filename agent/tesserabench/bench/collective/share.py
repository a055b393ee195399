"""One rank's part of a collective: its buffers, its launches, its check."""

from typing import Any

from tesserabench.bench.collective.operation import Shape, count_wrong, fill
from tesserabench.bench.collective.transport import Communicator
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

MEMORY_FRACTION = 0.9


class Share:
    """Input and output of one rank."""

    def __init__(self, communicator: Communicator, shape: Shape, *, rank: int, seed: int) -> None:
        free = communicator.free_bytes()
        if free is not None and shape.buffer_bytes > free * MEMORY_FRACTION:
            raise CaseFailure(
                Outcome.OUT_OF_MEMORY,
                f"rank {rank} needs {shape.buffer_bytes} bytes of the {free} free ones of its device; "
                "choose a smaller size or free memory",
            )
        self.shape, self._rank, self._seed = shape, rank, seed
        self._communicator = communicator
        xp = communicator.xp
        self._send: Any = xp.empty(shape.send_count, dtype=shape.dtype)
        self._receive: Any = xp.empty(shape.receive_count, dtype=shape.dtype)
        fill(xp, self._send, seed, rank)
        communicator.synchronize()

    def launch(self) -> None:
        """Enqueue the collective once."""
        self._communicator.enqueue(self.shape, self._send, self._receive)

    def poison(self) -> None:
        """Fill the output with 0xFF bytes, once nothing is under way any more."""
        self._communicator.synchronize()
        self._receive.view("uint8").fill(0xFF)
        self._communicator.synchronize()

    def wrong(self) -> int:
        """Return how many elements of the output are wrong, once nothing is under way any more."""
        self._communicator.synchronize()
        return count_wrong(self._communicator.xp, self.shape, self._receive, self._seed, self._rank)
