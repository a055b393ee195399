"""Several sets of inputs and outputs, so many that no launch finds its own in the cache."""

import math
from dataclasses import dataclass

from tesserabench.bench.case import Case
from tesserabench.bench.definition import Benchmark
from tesserabench.bench.device.protocol import ClosableWork, Device, Workload
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Mode, Outcome

CACHE_MULTIPLE = 5
"""All sets together hold so many times the cache: its replacement is not quite that of the least recently used."""
LEAST_MULTIPLE = 2
"""With less than this nothing is known of what the cache holds."""
MOST_SETS = 64
"""More are not prepared: a graph of one turn stays small, and so does the time it takes."""
ASSUMED_CACHE_BYTES = 64 << 20
MEMORY_SHARE = 0.8
"""Part of the free memory that all sets may fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sets:
    """The sets of a case; one in every mode but rotating."""

    workloads: tuple[Workload, ...]
    wanted: int
    """How many sets the cache asks for."""
    bytes: int | None
    """Bytes of all sets together; None where the benchmark has no formula."""
    cache_bytes: int

    @property
    def short(self) -> bool:
        """Whether there are fewer than there should be."""
        return len(self.workloads) < self.wanted

    @property
    def cached(self) -> bool:
        """Whether the sets may find themselves in the cache."""
        too_small = self.bytes is None or self.bytes < LEAST_MULTIPLE * self.cache_bytes
        return self.wanted > 1 and (too_small or len(self.workloads) < 2)


_METHODS = ("launch", "poison", "outputs", "reference")


def _complete(workload: Workload, benchmark: Benchmark) -> Workload:
    """Return the work, unless it lacks what makes it one: a `return` that was forgotten is told where it is missing."""
    missing = [name for name in _METHODS if not callable(getattr(workload, name, None))]
    if missing:
        raise CaseFailure(
            Outcome.HARNESS_ERROR,
            f"{benchmark.name} gave {type(workload).__name__} without {', '.join(missing)}; its function must return "
            f"an object with {', '.join(_METHODS)}",
        )
    return workload


def sets_wanted(touched_bytes: int | None, cache_bytes: int) -> int:
    """Return ceil(5 cache / bytes of one launch) + 1; two where the bytes are unknown."""
    return 2 if not touched_bytes else math.ceil(CACHE_MULTIPLE * cache_bytes / touched_bytes) + 1


def prepare_sets(device: Device, benchmark: Benchmark, case: Case, seed: int, mode: Mode) -> Sets:
    """Prepare the work, in mode rotating as often as the cache asks for and the memory allows.

    Every set has inputs of its own, from the seeds `seed`, `seed` + 1, ...
    """
    cache = device.info.cache_bytes or ASSUMED_CACHE_BYTES
    touched = benchmark.bytes(case.params) if benchmark.bytes else None
    wanted = sets_wanted(touched, cache) if mode is Mode.ROTATING else 1
    found = [_complete(device.prepare(benchmark, case, seed), benchmark)]
    allowed = min(wanted, MOST_SETS, _fitting(device, touched))
    try:
        while len(found) < allowed:
            found.append(device.prepare(benchmark, case, seed + len(found)))
    except CaseFailure as failure:
        if failure.outcome is not Outcome.OUT_OF_MEMORY or failure.fatal:
            close_all(tuple(found))
            raise
    return Sets(
        workloads=tuple(found),
        wanted=wanted,
        bytes=None if touched is None else touched * len(found),
        cache_bytes=cache,
    )


def _fitting(device: Device, touched: int | None) -> int:
    """Return how many sets fit, the first of which is there already."""
    free = device.state().memory_free_bytes
    if free is None or not touched:
        return MOST_SETS
    return 1 + int(MEMORY_SHARE * free / touched)


def close_all(workloads: tuple[Workload, ...]) -> None:
    """Close every workload that holds more than arrays."""
    for workload in workloads:
        if isinstance(workload, ClosableWork):
            workload.close()
