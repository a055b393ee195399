"""Clocks of the multiprocessors and begins of samples, from readings before and after each sample."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Times = npt.NDArray[np.int64]

WINDOW_STEPS = 500
"""A clock is taken over at least this many steps of the device's nanosecond counter: an error of at most 0.4 %."""
TIMER_READINGS = 4096
LEAST_STEPS = 200
_THREADS = 32
_BLOCKS_EACH = 2
"""Blocks are spread over the multiprocessors before any gets a second one; twice as many miss none of them."""
_CYCLES, _NANOSECONDS = 0, 1


class Told(NamedTuple):
    """What the stamps of a block say; empty where the device gave no stamps."""

    clock_hz: tuple[float, ...] = ()
    begin_ns: tuple[int, ...] = ()
    """Begins of the samples in the time of the host."""
    span_ns: tuple[int, ...] = ()
    """From the stamp before each sample to the one after it."""


class Stamps:
    """Room for two rows of stamps for each of `capacity` samples."""

    def __init__(self, device: Any, capacity: int) -> None:
        self._runtime, self._stream = device.xp.cuda.runtime, device.stream
        # Numbers of multiprocessors may have holes where some are switched off.
        self._slots = 2 * (device.info.processors or 1)
        self._rows = device.xp.zeros((2 * capacity, self._slots, 2), dtype="uint64")
        self._copy = device.xp.cuda.alloc_pinned_memory(int(self._rows.nbytes))
        self._kernel, self._grid = device.service("stamp", "stamp"), (_BLOCKS_EACH * (device.info.processors or 1),)
        self._step_ns = device.timer_step_ns
        address, size = int(self._rows.data.ptr), self._slots * 16
        slots = np.uint32(self._slots)
        self._arguments = [(np.uint64(address + row * size), slots) for row in range(2 * capacity)]

    def clear(self, samples: int) -> None:
        """Enqueue that the rows of the first samples hold nothing."""
        size = 2 * samples * self._slots * 16
        self._runtime.memsetAsync(int(self._rows.data.ptr), 0, size, self._stream.ptr)

    def enqueue(self, row: int) -> None:
        """Enqueue the stamp of a row: twice a sample's number before it, one more after it."""
        self._kernel(self._grid, (_THREADS,), self._arguments[row])

    def collect(self, samples: int) -> None:
        """Enqueue the copy of the first samples' rows into host memory.

        It takes its place on the stream before what is enqueued later, which a copy at the time of reading would not.
        """
        size = 2 * samples * self._slots * 16
        kind = self._runtime.memcpyDeviceToHost
        self._runtime.memcpyAsync(int(self._copy.ptr), int(self._rows.data.ptr), size, kind, self._stream.ptr)

    def read(self, samples: int, done_ns: int) -> Told:
        """Return what the collected rows say; `done_ns` is the host's time when the last stamp was taken."""
        rows = np.frombuffer(self._copy, dtype=np.uint64, count=2 * samples * self._slots * 2)
        return interpret(rows.reshape(samples, 2, self._slots, 2), self._step_ns, done_ns)


def interpret(rows: "npt.NDArray[np.uint64]", step_ns: float, done_ns: int) -> Told:
    """Return clocks, begins and spans from stamps of the shape (samples, 2, slots, 2).

    The last axis holds cycles and nanoseconds, 0 where a multiprocessor was not stamped. A sample shorter than
    WINDOW_STEPS steps of the nanosecond counter gets the clock of a window around it that is as long; there are no
    clocks when all samples together are shorter than LEAST_STEPS.
    """
    kept = rows.astype(np.int64)
    stamped = kept[..., _NANOSECONDS] != 0
    if not stamped.any(axis=-1).all():
        return Told()
    never = np.iinfo(np.int64).max
    begins = np.where(stamped[:, 0], kept[:, 0, :, _NANOSECONDS], never).min(axis=1)
    ends = kept[:, 1, :, _NANOSECONDS].max(axis=1)
    first, last = _windows(begins, ends, WINDOW_STEPS * step_ns)
    good = (ends[last] - begins[first] >= LEAST_STEPS * step_ns).all()
    return Told(
        clock_hz=_clocks(kept[first, 0], kept[last, 1]) if good else (),
        begin_ns=tuple(int(begin) for begin in done_ns - (ends[-1] - begins)),
        span_ns=tuple(int(span) for span in ends - begins),
    )


def _windows(begins: "Times", ends: "Times", least_ns: float) -> "tuple[Times, Times]":
    """Return the first and the last sample of each one's window: itself, or as many around it as last long enough."""
    samples = len(begins)
    first, last = np.arange(samples), np.arange(samples)
    for _ in range(samples):
        short = ends[last] - begins[first] < least_ns
        if not short.any():
            break
        first = np.where(short, np.maximum(first - 1, 0), first)
        last = np.where(short, np.minimum(last + 1, samples - 1), last)
    return first, last


def _clocks(begin: "Times", end: "Times") -> tuple[float, ...]:
    """Return each sample's clock in Hz, the median over the multiprocessors that were stamped on both sides.

    Nothing when there is a sample without such a multiprocessor.
    """
    both = (begin[..., _NANOSECONDS] != 0) & (end[..., _NANOSECONDS] > begin[..., _NANOSECONDS])
    both &= end[..., _CYCLES] > begin[..., _CYCLES]
    if not both.any(axis=-1).all():
        return ()
    difference = (end - begin).astype(np.float64)
    rates = [
        float(np.median(sample[seen, _CYCLES] / sample[seen, _NANOSECONDS]))
        for sample, seen in zip(difference, both, strict=True)
    ]
    return tuple(1e9 * rate for rate in rates)


def measure_step_ns(device: Any) -> float:
    """Return the smallest step of the device's nanosecond counter that a thread sees."""
    readings = device.xp.zeros(TIMER_READINGS, dtype="uint64")
    device.service("stamp", "timer_steps")((1,), (1,), (readings, np.uint32(TIMER_READINGS)))
    steps = np.diff(readings.get().astype(np.int64))
    positive = steps[steps > 0]
    return float(positive.min()) if positive.size else 1.0
