"""Samples by the block: how many to take at once, what is kept of them, and whether work escaped the timer.

A block is as long as the ear may be deaf: nothing is heard of a cancellation while it runs. It is not shorter than
what makes one replay of a graph worth its start.
"""

import math
import random
from dataclasses import dataclass, field
from statistics import median

from tesserabench.bench.device.protocol import Block, Timing
from tesserabench.bench.errors import CaseFailure
from tesserabench.bench.vocabulary import Backend, Mode, Outcome

LONGEST_SECONDS = 0.25
LEAST_SAMPLES = 16
PAUSE_SECONDS = (0.002, 0.008)
"""Blocks stand apart by a pause of random length between these: what lasts as long as a block (a neighbour's burst, a
clock step, a tick of the system) then differs from block to block and shows in the interval, and no block begins in
step with anything periodic. A device does not lower its clocks in so short a time."""
ESCAPE_FACTOR = 3.0
ESCAPE_PER_LAUNCH_NS = 30_000
"""What the host may need for a launch beside the device's time: three to ten microseconds through Python, with events
and a clock reading on either side; the rest is leeway."""
ESCAPE_PER_BLOCK_NS = 20_000_000


def block_size(wanted: int, blocks: int, sample_ns: float, left_seconds: float) -> int:
    """Return how many samples to take at once so that `wanted` are spread over `blocks`.

    Never longer than a quarter of a second or what is left of the budget, never fewer than 16 within that time.
    """
    longest = max(1, int(min(LONGEST_SECONDS, max(0.0, left_seconds)) * 1e9 / max(1.0, sample_ns)))
    return max(min(LEAST_SAMPLES, longest), min(longest, math.ceil(wanted / max(1, blocks))))


def pause_seconds(rng: random.Random) -> float:
    """Return how long to wait before the next block."""
    return rng.uniform(*PAUSE_SECONDS)


@dataclass(slots=True, kw_only=True)
class Columns:
    """The samples of a case, for one launch, and the columns beside them."""

    iterations: int
    samples: list[int] = field(default_factory=list)
    clock_mhz: list[float] = field(default_factory=list)
    begin_ns: list[int] = field(default_factory=list)
    block: list[int] = field(default_factory=list)
    blocks: int = 0
    device_ns: int = 0
    escapes: list[bool] = field(default_factory=list)

    def append(self, block: Block, *, judged: bool) -> None:
        """Keep a block; raise CaseFailure(implausible) when a sample took no time at all."""
        for total_ns in block.total_ns:
            if total_ns <= 0:
                raise CaseFailure(
                    Outcome.IMPLAUSIBLE,
                    f"a sample took {total_ns} ns by the device's timer; "
                    "the work escaped the timed region, or the timer does not run",
                )
        self.samples.extend(max(1, round(total / self.iterations)) for total in block.total_ns)
        self.clock_mhz.extend(clock / 1e6 for clock in block.clock_hz)
        self.begin_ns.extend(block.begin_ns)
        self.block.extend([self.blocks] * len(block.total_ns))
        self.blocks += 1
        self.device_ns += sum(block.total_ns)
        if judged and block.host_ns is not None:
            self.escapes.append(escaped(block, self.iterations))

    @property
    def launches(self) -> int:
        """Launches in all samples."""
        return len(self.samples) * self.iterations

    @property
    def escaped(self) -> bool:
        """Whether the host waited for unseen work in most of the blocks; a single one may have been preempted."""
        return bool(self.escapes) and median(self.escapes) > 0.5

    def clocks(self) -> tuple[float, ...]:
        """Return the clock of each sample in MHz, or nothing where not every block told it."""
        return tuple(self.clock_mhz) if len(self.clock_mhz) == len(self.samples) else ()

    def offsets(self) -> tuple[float, ...]:
        """Return the begin of each sample after the first one's in microseconds, or nothing."""
        if len(self.begin_ns) != len(self.samples):
            return ()
        return tuple((begin - self.begin_ns[0]) / 1000 for begin in self.begin_ns)


def judges_escape(mode: Mode, timing: Timing) -> bool:
    """Tell whether the host's time says anything: sweeps and the host's own clock leave nothing to compare."""
    return mode not in {Mode.COLD, Mode.HOST} and timing.backend is not Backend.HOST


def escaped(block: Block, iterations: int) -> bool:
    """Tell whether the host waited far longer than the timed regions and its own calls explain."""
    assert block.host_ns is not None, "only a told time can be compared"
    launches = len(block.total_ns) * iterations
    explained = ESCAPE_FACTOR * sum(block.total_ns) + ESCAPE_PER_LAUNCH_NS * launches + ESCAPE_PER_BLOCK_NS
    return block.host_ns > explained
