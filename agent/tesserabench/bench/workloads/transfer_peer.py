"""Copies between two devices of one process."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from tesserabench.bench.device.protocol import ArrayDevice, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Outcome
from tesserabench.bench.workloads.transfer_work import (
    MEMORY_FRACTION,
    WORD,
    Copies,
    address,
    digest,
    fill_words,
    require_fit,
    require_words,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def peer_of(own: int, distance: int, count: int) -> int:
    """Return the index of the device `distance` places further on among `count`, the first one after the last.

    Raises CaseFailure(unsupported) with the remedy when that would be no other device.
    """
    if distance >= count:
        raise CaseFailure(
            Outcome.UNSUPPORTED,
            f"distance is {distance}, but this process sees {count} device(s): copies between devices need at least "
            f"{distance + 1}; run on a machine with more, or show this process more through CUDA_VISIBLE_DEVICES",
        )
    return (own + distance) % count


class PeerLane:
    """A copy from device `source` to device `target`, started by the device that the work runs on."""

    def __init__(self, device: ArrayDevice, *, source: int, target: int, size: int, seed: int) -> None:
        self._cuda: Any = device.xp.cuda
        self.xp: Any = device.xp
        self.size = size
        self._source_index, self._target_index = source, target
        self._source, self._target = self._words(source), self._words(target)
        with self._on(source):
            fill_words(self.xp, self._source, seed)

    def enqueue(self, stream: Any) -> None:
        """Enqueue the copy."""
        self._cuda.runtime.memcpyPeerAsync(
            address(self._target),
            self._target_index,
            address(self._source),
            self._source_index,
            self.size,
            stream.ptr,
        )

    def poison(self) -> None:
        """Fill the target with 0xFF bytes, and wait: the copy runs on the stream of another device."""
        with self._on(self._target_index):
            self._target.view("uint8").fill(0xFF)

    def received(self) -> "npt.NDArray[np.float64]":
        """Return the digest of the target."""
        with self._on(self._target_index):
            return digest(self.xp, self._target)

    def sent(self) -> "npt.NDArray[np.float64]":
        """Return the digest of the source."""
        with self._on(self._source_index):
            return digest(self.xp, self._source)

    def _words(self, index: int) -> Any:
        with self._on(index):
            return self.xp.empty(self.size // WORD, dtype="uint32")

    def _on(self, index: int) -> AbstractContextManager[None]:
        return _visiting(self._cuda, index)


@contextmanager
def _visiting(cuda: Any, index: int) -> Iterator[None]:
    """Work on a device from its own current stream; everything there is done when it is left."""
    with cuda.Device(index):
        try:
            yield
        finally:
            cuda.runtime.deviceSynchronize()


def peer_copy(device: ArrayDevice, direction: str, distance: int, size: int, *, seed: int) -> Workload:
    """Return copies to (`write`), from (`read`) or to and from (`both`) the device `distance` places further on.

    Raises CaseFailure(unsupported) where there is none, or where the two have no direct way to each other's memory:
    copies through the host are what the other benchmarks of the suite measure.
    """
    require_words(size)
    runtime = device.xp.cuda.runtime
    own = runtime.getDevice()
    peer = peer_of(own, distance, runtime.getDeviceCount())
    for here, there in ((own, peer), (peer, own)):
        _enable(device, here, there)
    directions = {"write": ((own, peer),), "read": ((peer, own),), "both": ((own, peer), (peer, own))}
    lanes = directions[direction]
    for index in (own, peer):
        with _visiting(device.xp.cuda, index):
            free, _ = runtime.memGetInfo()
        require_fit(f"device {index}'s memory", size * len(lanes), int(free * MEMORY_FRACTION))
    return Copies(
        device,
        [
            PeerLane(device, source=source, target=target, size=size, seed=seed + index)
            for index, (source, target) in enumerate(lanes)
        ],
    )


def _enable(device: ArrayDevice, here: int, there: int) -> None:
    runtime = device.xp.cuda.runtime
    if not runtime.deviceCanAccessPeer(here, there):
        raise CaseFailure(
            Outcome.UNSUPPORTED,
            f"device {here} cannot reach the memory of device {there}; look at the topology (nvidia-smi topo -p2p r) "
            "and at whether the machine's IOMMU or a virtual machine forbids it",
        )
    with _visiting(device.xp.cuda, here):
        # CuPy's own way also clears the error that CUDA keeps when access was enabled before: otherwise the next
        # launch would be blamed for it.
        runtime._deviceEnsurePeerAccess(there)  # noqa: SLF001 - the public call leaves that error behind
