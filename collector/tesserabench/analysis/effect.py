"""How much worse one side is than the other, and how surely."""

import math
from dataclasses import dataclass, replace

from tesserabench.analysis.doubt import Doubt
from tesserabench.analysis.student import quantile
from tesserabench.analysis.words import Better

_MOST_LAUNCHES = 100
"""More than this many launches a side are never recommended."""

_TRIMMED = 1.3
"""A trimmed mean of many launches may be known worse than their plain mean, by so much of its variance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A change in log units, positive for worse."""

    worsening: float
    error: float
    """Standard error of `worsening`."""
    degrees: float
    """Degrees of freedom of `error`."""
    launch_variance: float
    """Part of the variance that shrinks with more launches, times the launches a side."""
    fixed_variance: float
    """Part of the variance that more launches in the same two runs do not shrink."""
    elsewhere: bool = False
    """The two sides have no device in common."""
    error_share: float = 1.0
    """What part of the error that a look may spend this noise may: less where it is not the noise that tests assume."""
    least: float = 0.0
    """A change smaller than this was seen between earlier runs of unchanged code."""
    against_level: float | None = None
    """How much worse the head is than the level of the history, when the base is not at that level itself."""
    assumed: bool = False
    """How much runs differ was assumed: there is one run a side, and no history."""
    doubt: Doubt | None = None
    """How far runs may be apart, where nothing tells how much they differ."""
    without_history: bool = False
    """The launches that are compared are all that the noise is known from."""

    def towards_worse(self, better: Better) -> "Effect":
        """The effect of a difference that is positive for larger, made positive for worse."""
        if better is Better.LOWER:
            return self
        against = None if self.against_level is None else -self.against_level
        return replace(self, worsening=-self.worsening, against_level=against)

    def half_width(self, confidence: float) -> float:
        """Half the width of the interval of `worsening`."""
        return quantile((1 + confidence) / 2, self.degrees) * self.error

    def launches_to_reach(self, half_width: float, confidence: float) -> int | None:
        """Launches a side that make the interval this narrow; None when no sensible number does."""
        if half_width <= 0:
            return None
        for launches in range(2, _MOST_LAUNCHES + 1):
            variance = _TRIMMED * self.launch_variance / launches + self.fixed_variance
            if quantile((1 + confidence) / 2, 2.0 * (launches - 1)) * math.sqrt(variance) <= half_width:
                return launches
        return None
