"""What a comparison is made of: launches. A launch is one worker process, and the unit of replication.

Samples of one launch share its memory layout, clocks and neighbours, so that they say little about the next launch:
rules that treat them as independent call 40-72 % of identical pairs different on a busy machine.
"""

import math
from dataclasses import dataclass

from tesserabench.analysis.words import Better

OK = "ok"
THROTTLED = "throttled"

_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One case and metric in one worker process."""

    value: float | None
    """Median in the unit of the metric; None when the launch gave none."""
    samples: int = 0
    """How many samples it stands on."""
    log_error: float | None = None
    """Standard error of the logarithm of `value` from this launch's own samples; None when not known."""
    place: str = ""
    """Device that it ran on, unique in the fleet; launches are compared with those of the same place."""
    session: str = ""
    """Run that it is of; launches of one run share what that run adds. Empty: one run a side."""
    comparability: str = ""
    """Environments compare when this is equal."""
    outcome: str = OK
    """`ok`, `throttled`, or how it failed."""
    reason: str = ""
    """What the measuring side said about an outcome other than ok."""

    @property
    def failed(self) -> bool:
        """Whether the launch gave no result that may be used."""
        return self.outcome not in {OK, THROTTLED}

    @property
    def has_level(self) -> bool:
        """Whether the value has a logarithm."""
        return self.value is not None and math.isfinite(self.value) and self.value > 0

    @property
    def level(self) -> float:
        """The logarithm of the value.

        Raises:
            ValueError: there is no positive finite value.
        """
        if self.value is None or not self.has_level:
            raise ValueError(f"a launch's value must be positive and finite to be compared, not {self.value}")
        return math.log(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One series on one side of a comparison."""

    launches: tuple[Launch, ...]
    better: Better
    device_kind: str = ""
    """`cuda`, `cpu` or `simulated`: which noise to expect when too little is known."""


def log_error_of_interval(low: float, high: float) -> float | None:
    """The standard error of a logarithm whose 95 % interval is (log low, log high); None when that makes no sense."""
    if not (0 < low <= high and math.isfinite(high)):
        return None
    return (math.log(high) - math.log(low)) / (2 * _Z95)
