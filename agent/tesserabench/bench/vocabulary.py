"""The fixed words of measuring: outcomes, stop reasons, phases, modes, tiers and kinds of device.

Their values are stored and travel over the wire, so they only ever grow.
"""

from enum import StrEnum


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
    HOST = "host"
    """Host time around one launch and its synchronisation: what a caller waits."""


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
