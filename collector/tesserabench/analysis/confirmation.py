"""What further looks say of a suspicion: see `sequential` for how they come to it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from tesserabench.analysis import wording
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.words import Reason, Verdict


class Answer(StrEnum):
    """What further looks say about a suspicion."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not_reproduced"
    NOT_CONFIRMED = "not_confirmed"
    SETTLED = "settled"
    """Nothing was suspected: it was undecided, and now it passes or is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The further looks at one series; the judgement rests on the launches of all of them when it was reproduced."""

    answer: Answer
    judgement: Judgement


def unconfirmed(first: Judgement, why: str) -> Judgement:
    """A regression of the first look that no further look could settle, with the reason as a sentence."""
    return _inconclusive(first, Reason.NOT_CONFIRMED, *wording.not_confirmed(first, why))


def _inconclusive(judgement: Judgement, reason: Reason, explanation: str, recommendation: str) -> Judgement:
    return replace(
        judgement,
        verdict=Verdict.INCONCLUSIVE,
        severity=None,
        reason=reason,
        explanation=explanation,
        recommendation=recommendation,
    )
