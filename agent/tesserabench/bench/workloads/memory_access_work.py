"""Work of random accesses and of the pointer chase."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum, uniform
from tesserabench.bench.metric import ITEM_TIME, MetricValue
from tesserabench.bench.timing.statistics import Statistics
from tesserabench.bench.workloads.arrays import WHOLE_ELEMENTS, checked_indices, pick, poison, to_host
from tesserabench.bench.workloads.memory_cuda import THREADS, grid_of
from tesserabench.bench.workloads.told import Told, tell

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays

LINE_BYTES = 128
"""Distance of two entries of the chase: one line of the cache."""
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_KEY_FACTOR = 0xD1342543DE82EF95


def key_of(seed: int) -> "np.uint64":
    """Return where the sequence of a seed begins."""
    return np.uint64((seed * _KEY_FACTOR + _GOLDEN) % 2**64)


def entries(count: int, table: int, key: "np.uint64") -> "Iterator[npt.NDArray[np.int64]]":
    """Return which of `table` entries (a power of two) each access goes to, in runs: what `random.cu` computes."""
    for start in range(0, count, WHOLE_ELEMENTS):
        z = np.arange(start, min(count, start + WHOLE_ELEMENTS), dtype=np.uint64)
        z *= np.uint64(_GOLDEN)
        z += key
        for shift, factor in ((30, _FIRST), (27, _SECOND)):
            z ^= z >> np.uint64(shift)
            z *= np.uint64(factor)
        z ^= z >> np.uint64(31)
        z &= np.uint64(table - 1)
        yield z.view(np.int64)


class RandomGather:
    """The exclusive or of randomly chosen entries."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        self.entries, self.accesses = params.integer("entries"), params.integer("accesses")
        self.key = key_of(seed)
        self.table: Any = uniform(self.xp, self.entries, "float64", seed=seed).view("uint64")
        self.partial: Any = self.xp.empty(1, dtype="uint64")

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.table)

    def poison(self) -> None:
        """Fill the result with 0xFF."""
        poison(self.partial)

    def outputs(self) -> "HostArrays":
        """Return the exclusive or in pieces that float64 holds exactly."""
        return {"xor": _quarters(np.bitwise_xor.reduce(to_host(self.partial)))}

    def reference(self) -> "HostArrays":
        """Return the same, of the entries that the sequence names."""
        table, seen = to_host(self.table), np.uint64(0)
        for chosen in entries(self.accesses, self.entries, self.key):
            seen ^= np.bitwise_xor.reduce(table[chosen])
        return {"xor": _quarters(seen).astype(np.float64)}


class CpuGather(RandomGather):
    """One `take` over indices computed beforehand; their reading is part of the cost."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._chosen = np.concatenate(list(entries(self.accesses, self.entries, self.key)))
        self.partial = np.empty(self.accesses, dtype=np.uint64)

    def launch(self) -> None:
        """Gather once; mode clip is the one that needs no buffer."""
        np.take(self.table, self._chosen, out=self.partial, mode="clip")


class CudaGather(RandomGather):
    """Eight independent loads of a thread in flight; indices are computed on the way."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._kernel: Any = device.kernel("random", "gather", defines={})
        self._grid = grid_of(device)
        self.partial = self.xp.empty(self._grid[0], dtype="uint64")
        self._tail = (np.uint64(self.accesses), self.key, np.uint64(self.entries - 1))

    def launch(self) -> None:
        """Enqueue all loads."""
        self._kernel(self._grid, (THREADS,), (self.table, self.partial, *self._tail))


class RandomUpdate:
    """Randomly chosen entries counted up.

    The table is its own output and keeps what earlier launches did, so what is compared is the count of each entry in
    one launch: all counts since the last poisoning, divided by the number of launches that their sum tells.
    """

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        self.entries, self.accesses = params.integer("entries"), params.integer("accesses")
        self.key = key_of(seed)
        self.table: Any = self.xp.empty(self.entries, dtype="int64")
        self.poison()

    def poison(self) -> None:
        """Fill the table with 0xFF, which is minus one: the counts begin there."""
        poison(self.table)

    def outputs(self) -> "HostArrays":
        """Return the checked counts of one launch; not a number when the sum is that of no whole launch."""
        total = int(self.table.sum()) + self.entries
        counts = (pick(self.xp, self.table) + 1).astype(np.float64)
        launches, rest = divmod(total, self.accesses)
        return {"counts": counts / launches if launches > 0 and rest == 0 else np.full_like(counts, np.nan)}

    def reference(self) -> "HostArrays":
        """Return how often the sequence names each checked entry."""
        counts = np.zeros(self.entries, dtype=np.uint32)
        for chosen in entries(self.accesses, self.entries, self.key):
            np.add.at(counts, chosen, np.uint32(1))
        return {"counts": counts[checked_indices(self.entries)].astype(np.float64)}


class CpuUpdate(RandomUpdate):
    """One `add.at` over indices computed beforehand."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._chosen = np.concatenate(list(entries(self.accesses, self.entries, self.key)))

    def launch(self) -> None:
        """Count once."""
        np.add.at(self.table, self._chosen, 1)


class CudaUpdate(RandomUpdate):
    """One atomic addition for each access; none waits for its result."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        super().__init__(device, params, seed)
        self._kernel: Any = device.kernel("random", "update", defines={})
        self._grid = grid_of(device)
        self._tail = (np.uint64(self.accesses), self.key, np.uint64(self.entries - 1))

    def launch(self) -> None:
        """Enqueue all additions."""
        self._kernel(self._grid, (THREADS,), (self.table, *self._tail))


class CudaChase:
    """One thread goes round a random cycle through all lines of an array, on from where the last launch ended."""

    def __init__(self, device: ArrayDevice, params: Params, seed: int) -> None:
        self.xp = device.xp
        self.hops = params.integer("hops")
        self.lines = params.integer("size") // LINE_BYTES
        words = LINE_BYTES // 4
        keys = uniform(self.xp, self.lines, "float64", seed=seed)
        order = to_host(self.xp.argsort(keys, kind="stable")).astype(np.uint32)
        self.cycle: npt.NDArray[np.uint32] = np.roll(order, -int(np.argmin(order))) * np.uint32(words)
        self.next: Any = self.xp.zeros(self.lines * words, dtype="uint32")
        self.next[self.xp.asarray(self.cycle)] = self.xp.asarray(np.roll(self.cycle, -1))
        self.state: Any = self.xp.empty(2, dtype="uint32")
        self._kernel: Any = device.kernel("chase", "chase", defines={})
        self._tail = (np.uint32(self.hops), np.uint32(self.next.size))
        self.poison()

    def launch(self) -> None:
        """Enqueue one walk."""
        self._kernel((1,), (1,), (self.next, self.state, *self._tail))

    def checksum(self) -> str:
        """Return a digest of the inputs."""
        return checksum(self.xp, self.next)

    def poison(self) -> None:
        """Fill the state with 0xFF: the walk begins anew, and the count of launches at minus one."""
        poison(self.state)

    def outputs(self) -> "HostArrays":
        """Return by how many entries of the cycle the last launch went on; not a number where none can have been."""
        at, count = (int(value) for value in to_host(self.state))
        launches = (count + 1) % 2**32
        (found,) = np.nonzero(self.cycle == at)
        if launches == 0 or found.size != 1:
            return {"advanced": np.array([np.nan])}
        before = (launches - 1) * self.hops
        return {"advanced": np.array([1 + (int(found[0]) - before) % self.lines], dtype=np.float64)}

    def reference(self) -> "HostArrays":
        """Return the number of hops, as far as the cycle tells it."""
        return {"advanced": np.array([1 + self.hops % self.lines], dtype=np.float64)}

    def metrics(self, statistics: Statistics) -> Iterable[MetricValue]:
        """Return the time of one hop."""
        return tell((Told(metric=ITEM_TIME, amount=self.hops, per_item=True),), statistics)


def _quarters(word: "np.uint64") -> "npt.NDArray[np.uint16]":
    return np.array([word], dtype=np.uint64).view(np.uint16)
