"""The sentences of an interleaved comparison: what was found, and what to do next."""

from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.wording import Sentences, percent


def _change(judgement: Judgement) -> str:
    assert judgement.change is not None
    assert judgement.change_low is not None
    assert judgement.change_high is not None
    return f"{percent(judgement.change)} (interval {percent(judgement.change_low)} to {percent(judgement.change_high)})"


def _limit(judgement: Judgement) -> str:
    return f"{100 * judgement.minimum_effect:.3g} %"


def regressed(judgement: Judgement) -> Sentences:
    """B is worse."""
    return (
        f"B is worse: {_change(judgement)}; changes from {_limit(judgement)} on count.",
        "Look at what differs between the two arms; to be sure, compare them once more with the arms exchanged.",
    )


def improved(judgement: Judgement) -> Sentences:
    """B is better."""
    return f"B is better: {_change(judgement)}.", ""


def same(judgement: Judgement) -> Sentences:
    """The two are equal for all that matters."""
    return f"The same: {_change(judgement)} lies within {_limit(judgement)} to either side.", ""


def undecided(judgement: Judgement) -> Sentences:
    """Noise hides the answer."""
    if judgement.launches_to_settle is None:
        remedy = "More workers do not settle it: quieten the host, or ask for a larger smallest effect."
    else:
        more = judgement.launches_to_settle
        remedy = f"About {more} more worker{'' if more == 1 else 's'} would settle it."
    return f"Cannot be told: {_change(judgement)}; changes from {_limit(judgement)} on count.", remedy


def among_many(judgement: Judgement, q_value: float, compared: int) -> Sentences:
    """A change that may be one of many comparisons' false findings."""
    return (
        (
            f"Cannot be told: {_change(judgement)} stands out alone, but among {compared} comparisons such a one is "
            f"expected by chance (adjusted p {q_value:.2g})."
        ),
        "Compare this pair once more by itself.",
    )


def too_few(count: int) -> Sentences:
    """Fewer workers than an interval needs."""
    found = "no worker gave" if count == 0 else f"only {count} worker gave"
    return f"Cannot be told: {found} a result of both arms.", "Use five workers or more."


def failed(arm: str, outcome: str, reason: str) -> Sentences:
    """An arm gave nothing that may be compared."""
    because = f": {reason}" if reason else ""
    return (
        f"Arm {arm.upper()} gave no valid result ({outcome.replace('_', ' ')}{because}).",
        "Mend the case; its speed means nothing before.",
    )


def advisory(judgement: Judgement) -> Sentences:
    """A finding that the null control takes the weight from."""
    return (
        f"Not concluded: {_change(judgement)} was seen, but on this machine A differed from itself too.",
        "Find out what disturbs the host, then compare again.",
    )


def control(judgement: Judgement, *, failed: bool) -> str:
    """What A against A gave."""
    if failed:
        return f"A differs from itself: {_change(judgement)}; the verdicts of this comparison are advice."
    return f"A against A: {_change(judgement)}."
