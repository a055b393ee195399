"""The second look at suspected regressions, from launches made afresh for it.

Repeats within the first session share whatever made the first look err; a second run of fresh processes does not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from tesserabench.analysis import wording
from tesserabench.analysis.gate import judge
from tesserabench.analysis.history import RunNoise
from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.launch import Side
from tesserabench.analysis.policy import Policy
from tesserabench.analysis.results import ResultSet, SeriesKey, SeriesResult, by_key, failures_by_case
from tesserabench.analysis.words import Reason, Verdict


class Answer(StrEnum):
    """What the second look says about a suspicion."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not_reproduced"
    NOT_CONFIRMED = "not_confirmed"
    SETTLED = "settled"
    """Nothing was suspected: it was undecided, and now it passes or is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The second look at one series; the judgement rests on the launches of both looks when it was reproduced."""

    answer: Answer
    judgement: Judgement


def confirm(
    base: ResultSet,
    head: ResultSet,
    confirming: ResultSet,
    suspected: Iterable[SeriesKey],
    *,
    policy: Policy,
    history: Mapping[SeriesKey, RunNoise] | None = None,
) -> dict[SeriesKey, Confirmation]:
    """The second look at each suspected series that base and head have.

    Args:
        base: What both looks are compared with.
        head: The first look.
        confirming: The second look.
        suspected: Series that the first look called regressed.
        policy: What counts as a change.
        history: Noise between runs, for the series whose history is long enough.
    """
    ours, theirs = by_key(base), by_key(head)
    return {
        key: _second_look(ours[key], theirs[key], _side(confirming, theirs[key]), policy, (history or {}).get(key))
        for key in suspected
        if key in ours and key in theirs
    }


def _side(results: ResultSet, like: SeriesResult) -> Side | None:
    found = by_key(results).get(like.key)
    if found is not None:
        return found.side
    failed = failures_by_case(results).get(like.key.identity[:2])
    return replace(like.side, launches=failed) if failed else None


def _second_look(
    base: SeriesResult, head: SeriesResult, again: Side | None, policy: Policy, noise: RunNoise | None
) -> Confirmation:
    first = judge(base.side, head.side, policy, primary=head.primary, history=noise)
    second = judge(base.side, again, policy, primary=head.primary, history=noise)
    if first.worsening is None:
        return Confirmation(answer=Answer.NOT_CONFIRMED, judgement=first)
    if second.worsening is None or again is None:
        return _open(first, second.explanation)
    both = judge(
        base.side,
        replace(head.side, launches=head.side.launches + again.launches),
        policy,
        primary=head.primary,
        history=noise,
    )
    if second.verdict is Verdict.REGRESSED:
        evidence = both if both.verdict is Verdict.REGRESSED else second
        return Confirmation(answer=Answer.REPRODUCED, judgement=evidence)
    if second.worsening < second.minimum_effect:
        return _gone(first, second)
    if both.verdict is Verdict.REGRESSED and _stands_by_itself(second):
        return Confirmation(answer=Answer.REPRODUCED, judgement=both)
    return _open(first, f"The second measurement does not settle it: {second.explanation}")


def _stands_by_itself(judgement: Judgement) -> bool:
    """Whether the interval leaves zero out: launches of a restless session count for nothing beside quiet ones."""
    low, high = judgement.change_low, judgement.change_high
    return low is not None and high is not None and (low > 0 or high < 0)


def _gone(first: Judgement, second: Judgement) -> Confirmation:
    explanation, recommendation = wording.not_reproduced(first, second)
    judgement = _inconclusive(first, Reason.NOT_REPRODUCED, explanation, recommendation)
    return Confirmation(answer=Answer.NOT_REPRODUCED, judgement=judgement)


def _open(first: Judgement, why: str) -> Confirmation:
    return Confirmation(answer=Answer.NOT_CONFIRMED, judgement=unconfirmed(first, why))


def unconfirmed(first: Judgement, why: str) -> Judgement:
    """A regression of the first look that no second look could settle, with the reason as a sentence."""
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
