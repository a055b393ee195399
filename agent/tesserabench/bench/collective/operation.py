"""The collectives: who sends how much to whom, what must arrive, and what a time means in bytes a second.

Sizes and factors are those of NCCL's own tests, so that numbers can be compared: for all-gather and reduce-scatter the
size is that of the whole, for all-to-all that of what one rank sends altogether.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tesserabench.bench.dtypes import ITEMSIZE
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome

CHUNK = 1 << 22
"""Elements generated or compared at a time."""
VALUES = 4
"""Elements are 1 to this: sums over up to 64 ranks are exact in every type, whatever the order of addition."""
MOST_RANKS = 64
_ITEMSIZE = {**{name: ITEMSIZE[name] for name in ("float16", "float32", "float64")}, "int32": 4}
DTYPES = tuple(_ITEMSIZE)


class Operation(StrEnum):
    """What is done together."""

    ALL_REDUCE = "all_reduce"
    ALL_GATHER = "all_gather"
    REDUCE_SCATTER = "reduce_scatter"
    BROADCAST = "broadcast"
    ALL_TO_ALL = "all_to_all"
    SEND_RECV = "send_recv"
    """Every rank sends to the next one and receives from the one before."""


_SPLIT = {Operation.ALL_GATHER, Operation.REDUCE_SCATTER, Operation.ALL_TO_ALL}
"""Operations whose size is divided among the ranks."""


def bus_factor(operation: Operation, ranks: int) -> float:
    """Return what the algorithm bandwidth is multiplied by to give the load of a link.

    The factors of NCCL's tests (doc/PERFORMANCE.md): 2 (n - 1) / n for all-reduce, (n - 1) / n for all-gather,
    reduce-scatter and all-to-all, 1 for broadcast and send-receive.
    """
    if operation is Operation.ALL_REDUCE:
        return 2 * (ranks - 1) / ranks
    return (ranks - 1) / ranks if operation in _SPLIT else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One collective with its sizes; `part` is the number of elements that belong to one rank."""

    operation: Operation
    ranks: int
    dtype: str
    part: int

    @property
    def send_count(self) -> int:
        """Elements of a rank's input."""
        whole = self.operation in {Operation.REDUCE_SCATTER, Operation.ALL_TO_ALL}
        return self.part * self.ranks if whole else self.part

    @property
    def receive_count(self) -> int:
        """Elements of a rank's output."""
        whole = self.operation in {Operation.ALL_GATHER, Operation.ALL_TO_ALL}
        return self.part * self.ranks if whole else self.part

    @property
    def payload_bytes(self) -> int:
        """The size that bandwidths count."""
        return max(self.send_count, self.receive_count) * _ITEMSIZE[self.dtype]

    @property
    def buffer_bytes(self) -> int:
        """Memory that input and output take on one rank."""
        return (self.send_count + self.receive_count) * _ITEMSIZE[self.dtype]


def shape_of(operation: str, ranks: int, dtype: str, size: int) -> Shape:
    """Return the collective of about `size` bytes: rounded down to what divides evenly, at least one element a rank.

    Raises CaseFailure(unsupported) naming what cannot be had.
    """
    if not 2 <= ranks <= MOST_RANKS:
        raise CaseFailure(Outcome.UNSUPPORTED, f"ranks is {ranks}; it must be 2 to {MOST_RANKS}")
    if dtype not in _ITEMSIZE:
        raise CaseFailure(Outcome.UNSUPPORTED, f"dtype is {dtype!r}; it must be one of: {', '.join(_ITEMSIZE)}")
    chosen = Operation(operation)
    elements = size // _ITEMSIZE[dtype]
    part = max(1, elements // ranks if chosen in _SPLIT else elements)
    return Shape(operation=chosen, ranks=ranks, dtype=dtype, part=part)


def fill(xp: Any, array: Any, seed: int, rank: int) -> None:
    """Fill a rank's input with its values."""
    for start, stop in _chunks(array.size):
        array[start:stop] = _values(xp, seed, rank, start, stop).astype(array.dtype)


def count_wrong(xp: Any, shape: Shape, received: Any, seed: int, rank: int) -> int:
    """Return how many elements of a rank's output are not exactly what they must be."""
    wrong = 0
    for begin, end, senders, offset in _pieces(shape, rank):
        for start, stop in _chunks(end - begin):
            exact = sum(_values(xp, seed, sender, offset + start, offset + stop) for sender in senders)
            found = received[begin + start : begin + stop]
            # A NaN, which poisoned floats are, equals nothing.
            wrong += int(xp.count_nonzero(found != exact.astype(received.dtype)))
    return wrong


def _pieces(shape: Shape, rank: int) -> Iterator[tuple[int, int, tuple[int, ...], int]]:
    """Yield, for each piece of a rank's output, its bounds, whose inputs are added up there, and from which element."""
    part, ranks = shape.part, shape.ranks
    everybody = tuple(range(ranks))
    match shape.operation:
        case Operation.ALL_REDUCE:
            yield 0, part, everybody, 0
        case Operation.REDUCE_SCATTER:
            yield 0, part, everybody, rank * part
        case Operation.BROADCAST:
            yield 0, part, (0,), 0
        case Operation.SEND_RECV:
            yield 0, part, ((rank - 1) % ranks,), 0
        case Operation.ALL_GATHER | Operation.ALL_TO_ALL:
            offset = rank * part if shape.operation is Operation.ALL_TO_ALL else 0
            for sender in everybody:
                yield sender * part, (sender + 1) * part, (sender,), offset


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(count, start + CHUNK)) for start in range(0, count, CHUNK))


def _values(xp: Any, seed: int, rank: int, start: int, stop: int) -> Any:
    """Return elements `start` to `stop` of a rank's input as 64-bit integers: a mixed counter, 1 to VALUES."""
    words = xp.arange(start, stop, dtype=xp.uint64)
    words += xp.uint64((seed * 1_000_003 + rank * 7_919 + 1) % (1 << 62))
    words *= xp.uint64(0x9E3779B97F4A7C15)
    return ((words >> xp.uint64(40)) % xp.uint64(VALUES)).astype(xp.int64) + 1
