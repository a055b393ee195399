"""What launches of similar benchmarks differ by: a family's spread, which few launches of one benchmark are shrunk to.

Three launches say little about how much the next one may differ; forty benchmarks of three launches each say a lot
about what is usual. Variances of a family are taken to scatter as inverse chi-squared ones, whose centre and width are
estimated from all of them; each series is then given the mean of its own variance and the family's, weighted by their
degrees of freedom (Smyth 2004, moderated t statistics).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tesserabench.analysis.student import variance_ratio_quantile

FEWEST = 5
"""Fewer benchmarks are no family."""
MOST_DEGREES = 30.0
"""However alike a family is, one of its members may be of another kind."""

_OF_ANOTHER_KIND = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The usual variance between launches, in squared log units."""

    variance: float
    degrees: float
    """How much it is worth beside a series' own."""

    def moderated(self, variance: float, degrees: float) -> tuple[float, float]:
        """A series' own variance shrunk to the family's, and the degrees of freedom that it then has.

        One that stands far out of its family is of another kind (two modes, say) and keeps its own.
        """
        if variance > self.variance * variance_ratio_quantile(_OF_ANOTHER_KIND, degrees, self.degrees):
            return variance, degrees
        together = degrees + self.degrees
        return (degrees * variance + self.degrees * self.variance) / together, together


def family_of(members: Iterable[tuple[float, float]]) -> Family | None:
    """The family of series with these variances and degrees of freedom; None when they are too few or too unlike.

    The moments of log variances: a scaled chi-squared one with d degrees has mean digamma(d/2) - log(d/2) and variance
    trigamma(d/2), and what they scatter beyond that is the family's own width.
    """
    known = [(variance, degrees) for variance, degrees in members if variance > 0 and degrees > 0]
    if len(known) < FEWEST:
        return None
    from scipy.special import digamma, polygamma  # noqa: PLC0415 - slow to import, and seldom needed

    halves = [degrees / 2 for _, degrees in known]
    centred = [
        math.log(variance) - float(digamma(half)) + math.log(half)
        for (variance, _), half in zip(known, halves, strict=True)
    ]
    middle = math.fsum(centred) / len(centred)
    scatter = math.fsum((value - middle) ** 2 for value in centred) / (len(centred) - 1)
    beyond = scatter - math.fsum(float(polygamma(1, half)) for half in halves) / len(halves)
    half = _inverse_trigamma(beyond) if beyond > 0 else MOST_DEGREES / 2
    half = min(half, MOST_DEGREES / 2)
    return Family(variance=math.exp(middle + float(digamma(half)) - math.log(half)), degrees=2 * half)


def _inverse_trigamma(value: float) -> float:
    """The x with trigamma(x) = value, by Newton's method from Smyth's starting point."""
    from scipy.special import polygamma  # noqa: PLC0415 - slow to import, and seldom needed

    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x


def pooled_variance(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Variance within groups and its degrees of freedom; (0, 0) when no group has two values."""
    squares, degrees = 0.0, 0
    for group in groups:
        if len(group) > 1:
            middle = math.fsum(group) / len(group)
            squares += math.fsum((value - middle) ** 2 for value in group)
            degrees += len(group) - 1
    return (squares / degrees, float(degrees)) if degrees else (0.0, 0.0)
