"""How far two runs may be apart when nothing tells: one run a side, and no history.

Launches of one run say how much launches differ, and nothing of what a run adds to all of them: another hour, other
clocks, another neighbour. What is usual (`policy.noise_floor`) makes the interval that is shown. A finding needs more
there: it must hold also when runs differ by as much as they do on machines that nobody has tuned.
"""

import math
from dataclasses import dataclass

from tesserabench.analysis.policy import NoiseFloor, Policy
from tesserabench.analysis.student import quantile

RUNS_MAY_DIFFER = 0.01
"""Standard deviation of runs that must be reckoned with, however well launches agree..."""
RUN_TO_LAUNCH_AT_MOST = 3.0
"""...but for machines whose launches agree far better: there, so many times what launches differ by."""
AS_MUCH_AS_LAUNCHES = 0.025
"""Runs may differ by as much as launches do where that is more, up to here: where launches of a busy machine scatter by
ten per cent and more, its runs differ by less than they do."""
_WORTH = 3.0
"""Degrees of freedom that all of this counts for, beside what several runs of one side show."""
_SPENT = 0.8
"""Of the error of a look: what is assumed here is exact for no machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The error of a difference between two runs, when runs differ by as much as they may."""

    variance: float
    """Beyond what is assumed to be usual."""
    error: float
    """Standard error of the difference, all told."""
    degrees: float

    def reach(self, policy: Policy) -> float:
        """How far two runs of the same code may be apart, in log units."""
        return quantile(1 - policy.false_alarm * _SPENT / 2, self.degrees) * self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the launches of one run a side say."""

    launch_variance: float
    """Of a single launch."""
    sampling: float
    """Variance of the difference from launches."""
    degrees: float
    """Degrees of freedom of both; infinite where they were assumed."""
    between_runs: float
    """Variance of the difference from runs that differ as is usual."""
    unshared: float = 2.0
    """How many times the variance of a run is in the difference: 2 for one a side, less for several."""
    shown: float = 0.0
    """Variance between runs, from several of one side..."""
    shown_degrees: float = 0.0
    """...and its degrees of freedom; 0 with one a side."""


def doubt_of(seen: Seen, floor: NoiseFloor) -> Doubt:
    """The error of the difference when runs differ by as much as they may.

    What follows from the scatter of a few launches is as uncertain as that (Satterthwaite 1946), and is taken larger
    for few of them: the ratio of runs to launches is assumed besides.
    """
    launch = math.sqrt(seen.launch_variance)
    known = max(floor.run, min(RUN_TO_LAUNCH_AT_MOST * launch, RUNS_MAY_DIFFER))
    as_launches = (1 + 1 / seen.degrees) * launch
    if as_launches > AS_MUCH_AS_LAUNCHES:
        known = max(known, AS_MUCH_AS_LAUNCHES)
    run = max(known, min(as_launches, AS_MUCH_AS_LAUNCHES))
    # Several runs that agree lessen it. Several that do not are in what is usual already.
    shown = min(seen.shown, run**2)
    variance = (run**2 * _WORTH + shown * seen.shown_degrees) / (_WORTH + seen.shown_degrees)
    between = max(seen.between_runs, seen.unshared * variance)
    total = seen.sampling + between
    estimated = seen.sampling + max(0.0, between - seen.unshared * known**2)
    return Doubt(
        variance=between - seen.between_runs,
        error=math.sqrt(total),
        degrees=seen.degrees * (total / estimated) ** 2,
    )
