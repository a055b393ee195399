"""Absolute limits: a value that must not be below or above something, whatever it was before.

They ask no statistics: the median over launches is within a limit or beyond it. What was not measured is unknown, and
counts neither way. The score is the share of the limits that hold, by weight.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from tesserabench.analysis.results import SeriesResult


class QualityAnswer(StrEnum):
    """How a value stands to its limits."""

    PASS = "pass"  # noqa: S105 - an answer, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimit:
    """Limits of one metric, in the unit in which it is measured."""

    minimum: float | None = None
    maximum: float | None = None
    weight: float = 1.0
    """What it counts in the score, against the other limits."""


QualityLimits = Callable[[SeriesResult], QualityLimit | None]
"""The absolute limits of each series; None where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLine:
    """One limit and whether it holds."""

    limit: QualityLimit
    value: float | None
    answer: QualityAnswer
    rule: str = ""
    """The rule of the policy that limits it."""


def quality_line(value: float | None, limit: QualityLimit) -> QualityLine:
    """Whether a value is within its limits; a value that is absent or not finite is unknown."""
    if value is None or not math.isfinite(value):
        return QualityLine(limit=limit, value=None, answer=QualityAnswer.UNKNOWN)
    low = limit.minimum is None or value >= limit.minimum
    high = limit.maximum is None or value <= limit.maximum
    return QualityLine(limit=limit, value=value, answer=QualityAnswer.PASS if low and high else QualityAnswer.FAIL)


def quality_score(lines: Iterable[QualityLine]) -> float | None:
    """The share of the limits that hold, by weight, 0 to 1; None when nothing is known or nothing weighs anything."""
    known = [line for line in lines if line.answer is not QualityAnswer.UNKNOWN]
    weight = math.fsum(line.limit.weight for line in known)
    if weight <= 0:
        return None
    return math.fsum(line.limit.weight for line in known if line.answer is QualityAnswer.PASS) / weight
