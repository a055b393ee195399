"""Shares of counts, and how well they are known."""

import math

Z95 = 1.959963984540054
_RARE = 0.025


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson (1927): sound for few trials and for shares near 0 and 1.

    Raises:
        ValueError: there were no trials, of which nothing is known.
    """
    if trials <= 0:
        raise ValueError("no trials: nothing is known of the share")
    share, square = hits / trials, Z95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z95 / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    return low, 1.0 if hits == trials else min(1.0, middle + half)


def surely_above(hits: int, trials: int, share: float) -> bool:
    """Whether so many hits would be rarer than one in forty if the share were this one: the exact binomial test.

    For few hits it is stricter than the lower end of Wilson's interval, which is too high then.
    """
    if hits <= 0 or trials <= 0:
        return False
    term = math.exp(trials * math.log1p(-share))
    fewer = 0.0
    for count in range(hits):
        fewer += term
        term *= (trials - count) / (count + 1) * share / (1 - share)
    return 1 - fewer < _RARE
