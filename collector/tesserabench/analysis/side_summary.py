"""What people are shown of one side of one series."""

import math
import statistics
from dataclasses import dataclass

from tesserabench.analysis.results import ResultSet, SeriesResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSummary:
    """One side in a few numbers; absent is unknown."""

    run: str = ""
    commit: str = ""
    host: str = ""
    """Hosts that measured it, joined by a comma."""
    value: float | None = None
    """Median over launches, in the unit of the metric."""
    launches: int = 0
    samples: int = 0
    launch_noise: float | None = None
    """Relative standard deviation between launches."""
    comparability: str = ""


def summarise(series: SeriesResult | None, results: ResultSet) -> SideSummary:
    """The summary of one series of a set of results; empty but for the run when the set does not have it."""
    if series is None:
        return SideSummary(run=results.run, commit=results.commit)
    launches = [launch for launch in series.side.launches if launch.value is not None and not launch.failed]
    values = [launch.value for launch in launches if launch.value is not None and math.isfinite(launch.value)]
    classes = sorted({launch.comparability for launch in launches})
    return SideSummary(
        run=results.run,
        commit=results.commit,
        host=", ".join(series.hosts),
        value=statistics.median(values) if values else None,
        launches=len(launches),
        samples=sum(launch.samples for launch in launches),
        launch_noise=_noise(values),
        comparability=classes[0] if len(classes) == 1 else "",
    )


def _noise(values: list[float]) -> float | None:
    if len(values) < 2 or any(value <= 0 for value in values):
        return None
    return statistics.stdev(values) / statistics.fmean(values)
