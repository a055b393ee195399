"""What the gate says about one series."""

from dataclasses import dataclass, replace

from tesserabench.analysis.looks import LookSeen
from tesserabench.analysis.words import CauseHint, Reason, Severity, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the gate says about one series. Fractions: 0.1 is 10 %; absent is unknown."""

    verdict: Verdict
    reason: Reason | None = None
    severity: Severity | None = None
    explanation: str
    recommendation: str = ""
    minimum_effect: float
    change: float | None = None
    """Head over base minus one: positive is larger, not necessarily worse."""
    change_low: float | None = None
    change_high: float | None = None
    worsening: float | None = None
    """How much worse, in either direction of the metric: a time that doubles and a rate that halves are both 1."""
    p_value: float | None = None
    """Probability of a difference this large, in either direction, between two measurements of the same code."""
    q_value: float | None = None
    """The same among as many comparisons: the share of false findings if everything up to here were called one."""
    confirmed: bool = False
    """The whole interval lies beyond the smallest change that matters, not the estimate alone."""
    smallest_visible_change: float | None = None
    """Smallest worsening that data like this shows four times in five."""
    launches_to_settle: int | None = None
    looks: tuple[LookSeen, ...] = ()
    """What each look showed, when it was measured more than once."""
    notes: tuple[str, ...] = ()
    """What else a reader should know: two modes, noise that had to be assumed, what moved with it. Sentences."""
    cause_hint: CauseHint | None = None
    """What the evidence beside the change points at."""
    points_at_host: bool = False
    """Seen on some hosts again and again, and never on others: the machine rather than the code."""


def answer(
    measured: Judgement,
    verdict: Verdict,
    sentences: tuple[str, str],
    *,
    severity: Severity | None = None,
    reason: Reason | None = None,
) -> Judgement:
    """What was measured, with a verdict and the sentences (explanation, recommendation) for it."""
    explanation, recommendation = sentences
    return replace(
        measured,
        verdict=verdict,
        severity=severity,
        reason=reason,
        explanation=explanation,
        recommendation=recommendation,
    )
