"""Why a series moved: code, host, environment or unknown, with the evidence for it.

Pure functions of values: `attribute` ranks causes for change points, `siblings` finds the device that differs from
others of its model. What is believed beforehand and how it is weighed stands in `likelihood`.
"""

from tesserabench.analysis.attribution.attribute import attribute
from tesserabench.analysis.attribution.evidence import (
    Attribution,
    Candidate,
    Cause,
    Change,
    CommitRange,
    Evidence,
    FieldChange,
    SiblingScore,
    Track,
    Visit,
)

__all__ = [
    "Attribution",
    "Candidate",
    "Cause",
    "Change",
    "CommitRange",
    "Evidence",
    "FieldChange",
    "SiblingScore",
    "Track",
    "Visit",
    "attribute",
]
