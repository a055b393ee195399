"""How long to wait after a failure."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

Random = Callable[[], float]


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Exponential back-off with full jitter: each wait is uniform between zero and a bound that doubles.

    Full jitter spreads a fleet that lost its collector at the same moment (Brooker, "Exponential Backoff And Jitter").
    """

    first_seconds: float
    largest_seconds: float
    random: Random = field(default=random.random)
    failures: int = 0

    def next_seconds(self) -> float:
        """The wait after one more failure, in seconds."""
        # Beyond 2^30 the bound is the largest anyway, and the power would overflow some day.
        bound = min(self.largest_seconds, self.first_seconds * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return bound * self.random()

    def reset(self) -> None:
        """Begin again after a success."""
        self.failures = 0
