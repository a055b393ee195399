"""Copies between host and device with contents that are checked, one way or both ways at once."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.environment import memory_bytes
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.metric import PAYLOAD_BANDWIDTH, MetricValue
from tesserabench.bench.vocabulary import Outcome
from tesserabench.bench.workloads.arrays import pick
from tesserabench.bench.workloads.told import Told, tell

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays
    from tesserabench.bench.timing.statistics import Statistics

WORD = 4
MEMORY_FRACTION = 0.9
HOST_FRACTION = 0.25
"""Part of the host's memory that copies may use: page-locked memory is taken from everybody else."""
_CHUNK = 1 << 22
_MODULUS = 1 << 31


class Lane(Protocol):
    """One copy of `size` bytes with its source and target."""

    size: int

    def enqueue(self, stream: Any) -> None:
        """Enqueue the copy on a stream."""

    def poison(self) -> None:
        """Fill the target with 0xFF bytes."""

    def received(self) -> "npt.NDArray[np.float64]":
        """Return checked words of the target, then a sum over all of them."""

    def sent(self) -> "npt.NDArray[np.float64]":
        """Return the same of the source."""


class Copies:
    """Copies that begin together and are over when the last one is."""

    capturable = False

    def __init__(self, device: ArrayDevice, lanes: Sequence[Lane]) -> None:
        cuda = device.xp.cuda
        self._lanes = tuple(lanes)
        self._stream: Any = cuda.get_current_stream()
        self._beside = [(lane, cuda.Stream(non_blocking=True)) for lane in self._lanes[1:]]
        self._fork: Any = cuda.Event(disable_timing=True)
        self._joins = [cuda.Event(disable_timing=True) for _ in self._beside]

    def launch(self) -> None:
        """Enqueue every copy; those beside the first wait for what came before, and what follows waits for them."""
        if self._beside:
            self._fork.record(self._stream)
        for lane, stream in self._beside:
            stream.wait_event(self._fork)
            lane.enqueue(stream)
        self._lanes[0].enqueue(self._stream)
        for (_, stream), join in zip(self._beside, self._joins, strict=True):
            join.record(stream)
            self._stream.wait_event(join)

    def poison(self) -> None:
        """Fill every target with 0xFF bytes."""
        for lane in self._lanes:
            lane.poison()

    def outputs(self) -> "HostArrays":
        """Return what arrived."""
        return {f"lane{index}": lane.received() for index, lane in enumerate(self._lanes)}

    def reference(self) -> "HostArrays":
        """Return what was sent."""
        return {f"lane{index}": lane.sent() for index, lane in enumerate(self._lanes)}

    def metrics(self, statistics: "Statistics") -> Iterable[MetricValue]:
        """Return the payload of all copies over the time."""
        payload = sum(lane.size for lane in self._lanes)
        return tell((Told(metric=PAYLOAD_BANDWIDTH, amount=payload),), statistics)

    def close(self) -> None:
        """Let the arrays go, page-locked memory with them."""
        self._lanes, self._beside = (), []


class HostLane:
    """A copy between an array on the host and one on the device."""

    def __init__(self, device: ArrayDevice, *, upwards: bool, size: int, pinned: bool, seed: int) -> None:
        self.xp: Any = device.xp
        self.size = size
        self._upwards = upwards
        runtime = self.xp.cuda.runtime
        self._kind: int = runtime.memcpyHostToDevice if upwards else runtime.memcpyDeviceToHost
        self._copy: Any = runtime.memcpyAsync
        self._host: Any = _host_words(self.xp, size, pinned=pinned)
        self._device: Any = self.xp.empty(size // WORD, dtype="uint32")
        source = self._host if upwards else self._device
        fill_words(np if upwards else self.xp, source, seed)
        self._target: Any = self._device if upwards else self._host
        self._source: Any = source
        self._addresses = (address(self._target), address(self._source))

    def enqueue(self, stream: Any) -> None:
        """Enqueue the copy."""
        self._copy(*self._addresses, self.size, self._kind, stream.ptr)

    def poison(self) -> None:
        """Fill the target with 0xFF bytes."""
        self._target.view("uint8").fill(0xFF)

    def received(self) -> "npt.NDArray[np.float64]":
        """Return the digest of the target."""
        return digest(self.xp if self._upwards else np, self._target)

    def sent(self) -> "npt.NDArray[np.float64]":
        """Return the digest of the source."""
        return digest(np if self._upwards else self.xp, self._source)


def host_copy(device: ArrayDevice, direction: str, size: int, *, pinned: bool, seed: int) -> Workload:
    """Return copies `h2d`, `d2h`, or `both` ways at once, of `size` bytes each."""
    lanes = {"h2d": (True,), "d2h": (False,), "both": (True, False)}[direction]
    require_words(size)
    free = device.state().memory_free_bytes
    require_fit("device memory", size * len(lanes), None if free is None else int(free * MEMORY_FRACTION))
    total = memory_bytes()
    require_fit("host memory", size * len(lanes), None if total is None else int(total * HOST_FRACTION))
    return Copies(
        device,
        [
            HostLane(device, upwards=upwards, size=size, pinned=pinned, seed=seed + index)
            for index, upwards in enumerate(lanes)
        ],
    )


def require_words(size: int) -> None:
    """Raise CaseFailure(unsupported) unless `size` is a multiple of four bytes."""
    if size % WORD:
        raise CaseFailure(Outcome.UNSUPPORTED, f"size is {size}; it must be a multiple of {WORD} bytes")


def require_fit(place: str, needed: int, allowed: int | None) -> None:
    """Raise CaseFailure(out_of_memory) when more is needed than may be used; nothing where that is unknown."""
    if allowed is not None and needed > allowed:
        raise CaseFailure(
            Outcome.OUT_OF_MEMORY,
            f"the copies need {needed} bytes of {place}; {allowed} may be used: choose a smaller size or free memory",
        )


def fill_words(xp: Any, array: Any, seed: int) -> None:
    """Fill a `uint32` array with a mixed counter: no two neighbours are alike and no word is 0xFFFFFFFF everywhere."""
    for start in range(0, array.size, _CHUNK):
        stop = min(array.size, start + _CHUNK)
        words = xp.arange(start, stop, dtype=xp.uint64)
        words += xp.uint64((seed * 0x9E3779B97F4A7C15 + 1) % (1 << 63))
        words *= xp.uint64(0xBF58476D1CE4E5B9)
        array[start:stop] = (words >> xp.uint64(32)).astype(xp.uint32)


def digest(xp: Any, array: Any) -> "npt.NDArray[np.float64]":
    """Return checked words of a `uint32` array, then the sum of all words weighted by their place, exact in float64.

    The weights notice words that were swapped; the sum is taken modulo 2**31.
    """
    total = 0
    for start in range(0, array.size, _CHUNK):
        words = array[start : start + _CHUNK].astype(xp.uint64)
        places = xp.arange(start, start + words.size, dtype=xp.uint64) % xp.uint64(127) + xp.uint64(1)
        total = (total + int((words * places).sum())) % _MODULUS
    return np.append(pick(xp, array).astype(np.float64), float(total))


def _host_words(xp: Any, size: int, *, pinned: bool) -> "npt.NDArray[np.uint32]":
    if not pinned:
        # Written at once: pages that nobody touched would be faulted in during the first copy.
        return np.full(size // WORD, 1, dtype=np.uint32)
    memory = xp.cuda.PinnedMemoryPointer(xp.cuda.PinnedMemory(size), 0)
    return np.frombuffer(memory, dtype=np.uint32, count=size // WORD)


def address(array: Any) -> int:
    """Return where the first element of an array of NumPy or CuPy lies."""
    return int(array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr)
