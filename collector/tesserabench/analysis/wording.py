"""The sentences of a judgement: each function gives what was found, and what to do next."""

import math
from collections import Counter

from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.launch import Launch, Side
from tesserabench.analysis.modes import Modes

Sentences = tuple[str, str]


def percent(fraction: float) -> str:
    """A signed percentage with three figures that matter: `+12.3 %`."""
    value = 100 * fraction
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 1 else 2
    # Adding zero takes the sign off a zero.
    return f"{round(value, digits) + 0.0:+.{digits}f} %"


def _unsigned(fraction: float) -> str:
    return percent(abs(fraction)).lstrip("+-")


def _change(judgement: Judgement) -> str:
    assert judgement.change is not None
    assert judgement.change_low is not None
    assert judgement.change_high is not None
    return (
        f"{percent(judgement.change)} (95 % interval {percent(judgement.change_low)} to "
        f"{percent(judgement.change_high)})"
    )


def regressed(judgement: Judgement) -> Sentences:
    """Worse, surely."""
    limit = f"the smallest change that matters ({100 * judgement.minimum_effect:g} %)"
    return (
        (
            f"Worse: {_change(judgement)}, wholly beyond {limit}."
            if judgement.confirmed
            else f"Worse: {_change(judgement)}; surely worse, and by the estimate more than {limit}."
        ),
        "Look at what changed between the two commits; if the change is wanted, move the baseline to this run.",
    )


def improved(judgement: Judgement) -> Sentences:
    """Better, surely."""
    return f"Better: {_change(judgement)}.", ""


def passed(judgement: Judgement) -> Sentences:
    """No change worth speaking of."""
    assert judgement.smallest_visible_change is not None
    return (
        (
            f"No change that matters: {_change(judgement)}. "
            f"A worsening of {_unsigned(judgement.smallest_visible_change)} would have been seen."
        ),
        "",
    )


def identical() -> Sentences:
    """The same number everywhere."""
    return "The same value in every launch of both sides.", ""


def too_noisy(judgement: Judgement, *, elsewhere: bool) -> Sentences:
    """The noise hides the answer."""
    assert judgement.smallest_visible_change is not None
    explanation = (
        f"Cannot be told: {_change(judgement)}. "
        f"Only a worsening of {_unsigned(judgement.smallest_visible_change)} would surely have been seen."
    )
    if elsewhere:
        return explanation, "Measure both on the same device: the two sides have none in common."
    if judgement.launches_to_settle is None:
        return (
            explanation,
            "More launches do not settle it: quieten the host, or measure both sides one after the other on it.",
        )
    return explanation, f"About {judgement.launches_to_settle} launches a side would settle it."


def base_off_its_level(judgement: Judgement, worsening: float, against_level: float) -> Sentences:
    """The change is seen against the base alone; the base is not where earlier runs are. Both changes are log units."""
    assert judgement.change is not None
    sign = 1.0 if (judgement.change > 0) == (worsening > 0) else -1.0
    return (
        (
            f"Cannot be told: {_change(judgement)} against this base, and "
            f"{percent(math.expm1(sign * against_level))} against the level of its history, which the base is off."
        ),
        "Measure the base again, or compare with another run of it.",
    )


def not_significant(judgement: Judgement, q_value: float, compared: int) -> Sentences:
    """A change that may well be one of many comparisons' false findings."""
    return (
        (
            f"Cannot be told: {_change(judgement)} stands out alone, but among {compared} comparisons such a one is "
            f"expected by chance (adjusted p {q_value:.2g})."
        ),
        "Measure it once more by itself, with more launches.",
    )


def two_modes(modes: Modes) -> str:
    """That the values are in two clusters, and how many in which."""
    return (
        f"Two modes {_unsigned(math.expm1(modes.gap))} apart: the slower or larger one in {modes.base_upper} of "
        f"{modes.base_count} of the base and {modes.head_upper} of {modes.head_count} of the head. Each is compared "
        "with itself."
    )


def mix_changed(modes: Modes) -> Sentences:
    """The modes are where they were, and one of them has become more frequent."""
    before, after = modes.base_upper / modes.base_count, modes.head_upper / modes.head_count
    return (
        (
            f"The mix of its two modes changed: the upper one, {_unsigned(math.expm1(modes.gap))} above the lower, "
            f"took {100 * before:.0f} % of the base and {100 * after:.0f} % of the head, and neither of them moved."
        ),
        "Find out what picks the mode (alignment, clocks, an autotuner's choice, placement) and pin it; then compare.",
    )


def runs_assumed() -> str:
    """That there is one run a side and no history."""
    return "How much runs differ is assumed: there is one run a side, and too little history."


def base_measured_once(judgement: Judgement, bound: float) -> Sentences:
    """More than launches differ by, and no more than two runs may."""
    assert judgement.worsening is not None
    word = "Worse" if judgement.worsening > 0 else "Better"
    return (
        (
            f"{word}: {_change(judgement)}, more than launches explain. But the base was measured once, and nothing "
            f"tells how much runs differ here: two runs of the same code may be {_unsigned(bound)} apart."
        ),
        (
            "Look again (`tbctl run trigger --confirm 3`), or measure the base on other occasions: with eight runs of "
            "it this is known."
        ),
    )


def runs_unknown(base: int, head: int, history: int) -> Sentences:
    """Nothing says how much runs differ."""
    return (
        (
            f"Nobody can tell how much runs differ: {base} of the base, {head} of the new side, {history} older. "
            "Samples of one run share what made that run fast or slow."
        ),
        "Give three runs a side, or five older runs as the history.",
    )


def missing() -> Sentences:
    """The head has no such case."""
    return "The base has it and the head was not measured on it.", "Check whether the case was removed on purpose."


def nothing_measured() -> Sentences:
    """Neither side has a value."""
    return "Neither the base nor the new side has a sample.", "Give at least one run with samples a side."


def no_baseline() -> Sentences:
    """The base has no such case."""
    return "There is nothing to compare with.", "A later run can be compared with this one."


def failed(launch: Launch, count: int, of: int, side: str) -> Sentences:
    """A case failed."""
    where = "in every launch" if count == of else f"in {count} of {of} launches"
    reason = f": {launch.reason}" if launch.reason else ""
    owner = "" if side == "head" else " of the base"
    return (
        f"The case{owner} gave no valid result {where} ({launch.outcome.replace('_', ' ')}{reason}).",
        "Mend the case; its speed means nothing before." if side == "head" else "Measure the base again.",
    )


def throttled(side: str, measured: Side) -> Sentences:
    """The device throttled."""
    counts = Counter(launch.outcome for launch in measured.launches)
    return (
        f"The device throttled in {counts['throttled']} of {len(measured.launches)} launches of the {side}.",
        "Look at the host's cooling and power limit, then measure again.",
    )


def mismatch() -> Sentences:
    """Environments differ."""
    return (
        "The two sides were measured in environments that do not compare.",
        "Measure both sides on the same device and software.",
    )


def mismatch_of(facts: list[str]) -> Sentences:
    """Environments differ, and it is known in what."""
    shown = "; ".join(facts[:5]) + (f"; and {len(facts) - 5} more" if len(facts) > 5 else "")
    return (
        f"The two sides were measured in environments that do not compare: {shown}.",
        "Measure both sides on the same device and software.",
    )


def no_positive_value(side: str) -> Sentences:
    """A value without a logarithm."""
    return (
        f"A value of the {side} is zero, negative or not finite, so that no ratio exists.",
        "Check how the metric is computed.",
    )


def too_few_samples(side: str, samples: int, needed: int) -> Sentences:
    """Not enough samples."""
    return (
        f"The {side} has {samples} sample{'' if samples == 1 else 's'}; {needed} are needed.",
        "Measure with more trials or a longer budget.",
    )


def not_reproduced(first: Judgement, second: Judgement) -> Sentences:
    """A second measurement did not show it."""
    return (
        f"Seen once and not again: {_change(first)} at first, then {_change(second)}.",
        "Nothing to do; if this happens often, the host is restless.",
    )


def not_confirmed(first: Judgement, why: str) -> Sentences:
    """A second measurement could not settle it."""
    return (
        f"Suspected and not confirmed: {_change(first)}. {why}",
        "Measure it once more; it stays suspected until a run shows its level.",
    )
