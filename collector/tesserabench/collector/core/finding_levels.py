"""How a comparison stands to the levels that a finding has shown: pure, on entries and on their JSON."""

import math
from collections.abc import Mapping
from typing import Any

from tesserabench.analysis.compare import Entry
from tesserabench.analysis.words import Better, Verdict


def has_level(value: float | None, shown: Mapping[str, Any]) -> bool:
    """Whether a value is nearer, in logarithms, to the worse level that was found than to the one before it."""
    before, after = (shown.get(side, {}).get("value") for side in ("base", "head"))
    if not (value and before and after) or min(value, before, after) <= 0:
        return False
    return abs(math.log(value / after)) < abs(math.log(value / before))


def is_no_worse(shown: Mapping[str, Any], entry: Entry) -> bool:
    """Whether an entry got worse by no more than what was found, as far as that matters."""
    before, after = (shown.get(side, {}).get("value") for side in ("base", "head"))
    ends = (entry.judgement.change_low, entry.judgement.change_high)
    if not (before and after) or min(before, after) <= 0 or None in ends:
        return False
    surely = min(abs(math.log1p(end)) for end in ends if end is not None)
    return surely <= abs(math.log(after / before)) + math.log1p(entry.judgement.minimum_effect)


def is_likely_worse(entry: Entry) -> bool:
    """Whether an undecided primary result is worse by what matters, and surely not better."""
    one, better = entry.judgement, entry.series.side.better
    if not entry.series.primary or one.verdict is not Verdict.INCONCLUSIVE or one.worsening is None:
        return False
    near_end = one.change_low if better is Better.LOWER else one.change_high
    if near_end is None or one.worsening < one.minimum_effect:
        return False
    return near_end > 0 if better is Better.LOWER else near_end < 0
