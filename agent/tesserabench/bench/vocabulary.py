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


class Flag(StrEnum):
    """Remarks that a measurement may carry: each says what to keep in mind when its numbers are read."""

    DRILL = "drill"
    """Slowed down on purpose, to test the alarm."""
    WARMUP_INCOMPLETE = "warmup_incomplete"
    """The warm-up ended at its cap, before the times were stationary."""
    DRIFTING = "drifting"
    """The times still moved when sampling ended."""
    BIMODAL = "bimodal"
    """The samples cluster at two levels or more: the median may jump from one to the other."""
    LOW_CLOCK = "low_clock"
    """More than one sample in twenty ran at a clock that was more than one per cent below the median clock."""
    BELOW_FLOOR = "below_floor"
    """A sample is so short that the timer's own floor is a large part of it."""
    ESCAPED_WORK = "escaped_work"
    """The host waited much longer than the timed regions lasted: work went on where the timer did not look."""
    CACHE_UNKNOWN = "cache_unknown"
    """Not every set of the rotation was used, or all of them together fit into the cache."""
    ROTATION_SHORT = "rotation_short"
    """The rotation has fewer sets than it should have: memory, or the most sets that are prepared, ran out."""
    UNCHECKED = "unchecked"
    """There is no reference: nothing says that the work was done right, or at all."""
    RETRIED = "retried"
    """Throttled at the first try; the numbers are those of a second one after a pause."""
    POWER_LIMITED = "power_limited"
    """The power cap held the clocks down: the numbers are those of another regime than with power to spare."""
    NONDETERMINISTIC = "nondeterministic"
    """Repeated launches over the same inputs gave different bits."""
    GRAPH_REFUSED = "graph_refused"
    """The work could not be captured into a CUDA graph: it was timed by the next best way."""
    HOLD_REFUSED = "hold_refused"
    """The stream could not be held back until everything was queued: the times may contain launch gaps."""
    ALLOCATES = "allocates"
    """A launch allocates memory: its time contains what that takes, and varies with what the pool holds."""


class TrialFlag(StrEnum):
    """Remarks on a whole trial."""

    ENVIRONMENT_DRIFT = "environment_drift"
    """A ceiling was another one after the last case than before the first: something beside the work changed."""
