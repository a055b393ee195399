"""Change points in the history of a series: levels, steps between them, drifts and excursions.

`analyse` takes a whole history apart; `Tail` does it point by point and says the same.
"""

from tesserabench.analysis.changepoints.analysis import analyse, analyse_many
from tesserabench.analysis.changepoints.model import (
    ChangePoint,
    Drift,
    HostMove,
    Kind,
    NoiseClass,
    Segment,
    SeriesAnalysis,
    Settings,
    Status,
    Transient,
)
from tesserabench.analysis.changepoints.tail import Tail, extend_many
from tesserabench.analysis.changepoints.windows import FEWEST

__all__ = [
    "FEWEST",
    "ChangePoint",
    "Drift",
    "HostMove",
    "Kind",
    "NoiseClass",
    "Segment",
    "SeriesAnalysis",
    "Settings",
    "Status",
    "Tail",
    "Transient",
    "analyse",
    "analyse_many",
    "extend_many",
]
