"""The work of the collectives suite: this process is rank 0, the group's other processes follow it."""

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from tesserabench.bench.case import Params
from tesserabench.bench.collective.group import NCCL, Group, Limits
from tesserabench.bench.collective.operation import bus_factor, shape_of
from tesserabench.bench.collective.supervision import Stage
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.metric import ALGORITHM_BANDWIDTH, BUS_BANDWIDTH, MetricValue
from tesserabench.bench.vocabulary import Outcome
from tesserabench.bench.workloads.told import Told, tell

if TYPE_CHECKING:
    from tesserabench.bench.device.protocol import HostArrays
    from tesserabench.bench.timing.statistics import Statistics

_GROUPS: "weakref.WeakKeyDictionary[ArrayDevice, Group]" = weakref.WeakKeyDictionary()
"""The group that serves a device case after case: forming one takes seconds."""


def devices_of(own: int, ranks: int, count: int) -> tuple[int, ...]:
    """Return the device of every rank: this process's own first, then the next ones in a circle.

    Raises CaseFailure(unsupported) with the remedy when the process sees too few.
    """
    if ranks > count:
        raise CaseFailure(
            Outcome.UNSUPPORTED,
            f"ranks is {ranks}, but this process sees {count} device(s); run on a machine with more, show this process "
            "more through CUDA_VISIBLE_DEVICES, or choose fewer ranks",
        )
    return tuple((own + rank) % count for rank in range(ranks))


def group_for(device: ArrayDevice, ranks: int, *, transport: str, limits: Limits) -> Group:
    """Return the group of this many ranks, the one of the case before where it fits, is well and is free.

    Two arms of a comparison are there at once: the second one gets a group of its own, for itself alone.
    """
    runtime = device.xp.cuda.runtime
    devices = devices_of(runtime.getDevice(), ranks, runtime.getDeviceCount())
    before = _GROUPS.get(device)
    if before is not None and before.stage is Stage.READY and before.ranks == ranks:
        return before
    busy = before is not None and before.stage is Stage.WORKING
    if before is not None and not busy:
        before.close()
        del _GROUPS[device]
    group = Group(devices, transport=transport, limits=limits)
    if not busy:
        _GROUPS[device] = group
    # Also when the process ends: ranks that wait for orders must not outlive it.
    weakref.finalize(device, group.close)
    return group


class CollectiveWork:
    """One collective on every rank of a group."""

    capturable = False
    """The other ranks follow launch by launch; a graph would launch on rank 0 alone."""

    def __init__(
        self,
        device: ArrayDevice,
        operation: str,
        params: Params,
        seed: int,
        *,
        transport: str = NCCL,
        limits: Limits | None = None,
    ) -> None:
        ranks, size = params.integer("ranks"), params.integer("size")
        self._shape = shape_of(operation, ranks, params.text("dtype"), size)
        self._group = group_for(device, ranks, transport=transport, limits=limits or Limits())
        self._is_shared = _GROUPS.get(device) is self._group
        try:
            self._share = self._group.prepare(self._shape, size, seed)
        except BaseException:
            if not self._is_shared:
                self._group.close()
            raise

    def launch(self) -> None:
        """Launch on every rank."""
        self._group.launch(self._share)

    def poison(self) -> None:
        """Poison the outputs of every rank."""
        self._group.poison(self._share)

    def outputs(self) -> "HostArrays":
        """Return how many elements are wrong, by rank."""
        return {"wrong": np.array(self._group.wrong(self._share), dtype=np.float64)}

    def reference(self) -> "HostArrays":
        """Return none for every rank."""
        return {"wrong": np.zeros(self._shape.ranks)}

    def metrics(self, statistics: "Statistics") -> Iterable[MetricValue]:
        """Return algorithm and bus bandwidth."""
        payload = self._shape.payload_bytes
        factor = bus_factor(self._shape.operation, self._shape.ranks)
        told = (
            Told(metric=ALGORITHM_BANDWIDTH, amount=payload),
            Told(metric=BUS_BANDWIDTH, amount=payload * factor),
        )
        return tell(told, statistics)

    def close(self) -> None:
        """Give the buffers of every rank back; the group stays for the next case, unless it was this work's alone."""
        if self._is_shared:
            self._group.release()
        else:
            self._group.close()
        del self._share
