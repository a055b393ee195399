"""Floor and step of the timer, for each way of timing, read by that same way."""

import itertools
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from tesserabench.bench.device.cuda.flight import HoldExpired, Refused
from tesserabench.bench.device.cuda.lineup import Lineup
from tesserabench.bench.device.cuda.ways import WAYS
from tesserabench.bench.device.protocol import Timer, TimingOrder
from tesserabench.bench.vocabulary import Backend, Flag, Mode

if TYPE_CHECKING:
    from tesserabench.bench.device.cuda.device import CudaDevice
    from tesserabench.bench.device.protocol import HostArrays

EMPTY_SAMPLES = 120
SPIN_NS = tuple(range(2000, 4000, 61))
"""Durations whose readings show the timer's step: a count that has no factor in common with any likely one."""
SPIN_SAMPLES = 4 * len(SPIN_NS)
STEP_UNSEEN_NS = 500.0
"""Documented resolution of an event, for a timer that never gave two different readings."""
HOST_READS = 2000
NAMES = {
    Backend.GRAPH: "cuda_event_node",
    Backend.BLOCKED: "cuda_event",
    Backend.EVENTS: "cuda_event",
    Backend.HOST: "perf_counter_ns",
}


class Call:
    """Work that is one call, for calibration only."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.launch = call

    def poison(self) -> None:
        """Nothing to poison."""

    def outputs(self) -> "HostArrays":
        """Return nothing."""
        return {}

    def reference(self) -> "HostArrays":
        """Return nothing."""
        return {}


def calibrate(device: "CudaDevice", backend: Backend) -> Timer:
    """Return the timer of a way of timing; raise Refused where the device does not have that way."""
    if backend is Backend.HOST:
        return _host_timer(device)
    nothing = device.service("hold", "nothing")
    spin = device.service("spin", "spin")
    empty = read(device, backend, [Call(lambda: None)], EMPTY_SAMPLES)
    launch = read(device, backend, [Call(lambda: nothing((1,), (1,), ()))], EMPTY_SAMPLES)
    arguments = [(np.uint64(duration),) for duration in SPIN_NS]
    spins = [Call(lambda given=given: spin((1,), (1,), given)) for given in arguments]  # type: ignore[misc]
    seen = (*empty, *launch, *read(device, backend, spins, SPIN_SAMPLES))
    return Timer(
        name=NAMES[backend],
        quantum_ns=step(seen, STEP_UNSEEN_NS),
        floor_ns=float(median(empty)),
        launch_floor_ns=float(median(launch)),
    )


def read(device: "CudaDevice", backend: Backend, calls: Sequence[Call], samples: int) -> list[int]:
    """Return what a way of timing reads for calls that it launches in turn, in nanoseconds."""
    lineup = Lineup(device, calls, TimingOrder(mode=Mode.HOT))
    lineup.warm()
    way = WAYS[backend](device, lineup)
    found: list[int] = []
    try:
        while len(found) < samples:
            flight = way.start(samples - len(found), 0)
            way.land(flight)
            now = device.now_ns()
            found.extend(
                flight.slots.read(flight.samples, began_ns=flight.began_ns, stamped_ns=now, done_ns=now).total_ns
            )
    except HoldExpired:
        raise Refused(Flag.HOLD_REFUSED, "the host is too slow to queue anything before a hold expires") from None
    finally:
        way.close()
    return found


def step(readings: Sequence[int], unseen: float) -> float:
    """Return the smallest difference between two different readings."""
    distinct = sorted(set(readings))
    return float(min((later - earlier for earlier, later in itertools.pairwise(distinct)), default=unseen))


def _host_timer(device: "CudaDevice") -> Timer:
    reads = [device.now_ns() for _ in range(HOST_READS)]
    device.synchronize()
    waits: list[int] = []
    for _ in range(EMPTY_SAMPLES):
        begin = device.now_ns()
        device.synchronize()
        waits.append(device.now_ns() - begin)
    return Timer(name=NAMES[Backend.HOST], quantum_ns=step(reads, 1.0), floor_ns=float(median(waits)))
