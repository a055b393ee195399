"""A distribution-free confidence interval for the median from order statistics."""

import math
from collections.abc import Sequence
from functools import cache

CONFIDENCE = 0.95


@cache
def median_rank(count: int, confidence: float = CONFIDENCE) -> int | None:
    """Return the 1-based rank k for which the k-th smallest and k-th largest of `count` values enclose the median.

    The largest k with P(Binomial(n, 1/2) < k) <= (1 - confidence) / 2, so the coverage is at least `confidence` for
    every continuous distribution (David and Nagaraja, Order Statistics, section 7.1). None when there are too few
    values (fewer than 6 at 95 %).
    """
    tail = (1 - confidence) / 2
    cumulative = 0.0
    rank = 0
    while rank < count:
        log_term = math.lgamma(count + 1) - math.lgamma(rank + 1) - math.lgamma(count - rank + 1)
        cumulative += math.exp(log_term - count * math.log(2))
        if cumulative > tail:
            break
        rank += 1
    return rank or None


def median_interval(ordered: Sequence[float], effective_count: float | None = None) -> tuple[float, float] | None:
    """Return the 95 % interval of the median of sorted values, or None when there are too few.

    Correlated samples carry less information than their number: with `effective_count` below the number of values the
    ranks are those that many independent values would have, spread over the values at hand.
    """
    count = len(ordered)
    independent = min(count, int(effective_count)) if effective_count is not None else count
    rank = median_rank(independent)
    if rank is None:
        return None
    position = math.floor((rank - 1) / (independent - 1) * (count - 1)) if independent > 1 else 0
    return ordered[position], ordered[count - 1 - position]
