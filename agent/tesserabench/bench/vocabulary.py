"""The fixed words of measuring: outcomes, stop reasons, phases, modes, tiers and kinds of device.

Their values are stored and travel over the wire, so they only ever grow.
"""

from enum import IntFlag, StrEnum


class Outcome(StrEnum):
    """How a case or a trial ended."""

    OK = "ok"
    INCORRECT = "incorrect"
    IMPLAUSIBLE = "implausible"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_ERROR = "device_error"
    DEVICE_LOST = "device_lost"
    BUSY = "busy"
    THROTTLED = "throttled"
    UNSUPPORTED = "unsupported"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    HARNESS_ERROR = "harness_error"


class StopReason(StrEnum):
    """Why sampling ended."""

    CONVERGED = "converged"
    BUDGET_EXHAUSTED = "budget_exhausted"
    MAX_SAMPLES = "max_samples"
    NOISE_FLOOR = "noise_floor"
    RESOLUTION_LIMITED = "resolution_limited"
    DRIFTING = "drifting"


class Phase(StrEnum):
    """What a trial is doing; each phase has its own time budget."""

    CEILING = "ceiling"
    PREPARE = "prepare"
    VERIFY = "verify"
    WARMUP = "warmup"
    MEASURE = "measure"


class Mode(StrEnum):
    """What is timed; part of a series' identity, because the numbers of two modes are never comparable."""

    HOT = "hot"
    """Launches back to back over the same inputs; caches stay warm."""
    COLD = "cold"
    """The last-level cache is swept before every launch; only the launch is timed."""
    ROTATING = "rotating"
    """Launches back to back over several sets of inputs and outputs that together exceed the cache."""
    SUSTAINED = "sustained"
    """Launches without a pause at the equilibrium of power and temperature; energy is measured here."""
    HOST = "host"
    """Host time around one launch and its synchronisation: what a caller waits."""


class Backend(StrEnum):
    """How launches were timed, best first. It decides what gaps and floors a time contains."""

    GRAPH = "graph"
    """A CUDA graph with event-record nodes around every launch: no launch gaps, sweeps left out."""
    BLOCKED = "blocked"
    """A stream held back until everything was queued, events around every sample."""
    EVENTS = "events"
    """Events recorded while the host runs ahead of the device."""
    HOST = "host"
    """The host's clock."""
    VIRTUAL = "virtual"
    """The clock of a simulated device."""


class CacheKind(StrEnum):
    """What the last-level cache held when a launch began."""

    WARM = "warm"
    """Whatever the launch before left there."""
    READ_SWEEP = "read_sweep"
    """Clean lines of a buffer larger than the cache."""
    WRITE_SWEEP = "write_sweep"
    """Dirty lines of a buffer larger than the cache."""
    ROTATION = "rotation"
    """Other inputs: every launch works on the set that was used longest ago."""
    UNKNOWN = "unknown"
    """Not sure: a set of the rotation was not visited, or the buffers were smaller than the cache."""


class Tier(StrEnum):
    """How much of a suite runs, in growing order."""

    SMOKE = "smoke"
    REGRESSION = "regression"
    FULL = "full"
    NIGHTLY = "nightly"

    @property
    def chain(self) -> "tuple[Tier, ...]":
        """This tier and every smaller one, smallest first."""
        tiers = tuple(Tier)
        return tiers[: tiers.index(self) + 1]


class DeviceKind(StrEnum):
    """What a device is."""

    CPU = "cpu"
    CUDA = "cuda"
    SIMULATED = "simulated"


class Better(StrEnum):
    """Which direction of a metric is an improvement; direction is data, so no reader guesses."""

    LOWER = "lower"
    HIGHER = "higher"


class SampleFlag(IntFlag):
    """What is remarkable about one sample. Nothing is left out because of it."""

    LOW_CLOCK = 1
    """Its clock was more than one per cent below the median clock."""
    AFTER_RETRY = 2
    """Taken after an earlier try was thrown away for throttling."""
    MILD_OUTLIER = 4
    """More than 1.5 interquartile ranges outside the quartiles (Tukey, Exploratory Data Analysis, 1977)."""
    SEVERE_OUTLIER = 8
    """More than 3 interquartile ranges outside the quartiles."""
