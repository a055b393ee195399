"""When nearly everything moves one way by a little, the machine moved and not the code.

A commit makes some benchmarks slower; a lower clock, a warmer room or a busy neighbour makes all of them a little
slower. A detector that finds regressions and never improvements is broken in the same way.
"""

import math
import statistics
from collections.abc import Sequence

from tesserabench.analysis.judgement import Judgement
from tesserabench.analysis.wording import percent

_FEWEST = 8
"""Fewer series all moving one way prove little: all of eight do so by chance once in 128 times."""
_CHANCE = 0.001
_SMALL = 0.05
_MOVED = 0.001
"""Less than a tenth of a per cent is no movement."""


def one_sided(judgements: Sequence[Judgement]) -> str | None:
    """A sentence when nearly all series moved one way by a little; None when they did not."""
    sizes = [judgement.worsening for judgement in judgements if judgement.worsening is not None]
    moved = [size for size in sizes if abs(size) >= _MOVED]
    worse = sum(size > 0 for size in moved)
    most = max(worse, len(moved) - worse)
    if len(moved) < _FEWEST or _sign_test(most, len(moved)) > _CHANCE:
        return None
    middle = statistics.median(sizes)
    if abs(middle) >= _SMALL or abs(middle) < _MOVED:
        return None
    way = "slower or otherwise worse" if worse == most else "faster or otherwise better"
    return (
        f"{most} of {len(moved)} series became {way}, by {percent(abs(middle)).lstrip('+')} in the middle: when nearly "
        "everything moves one way by a little, suspect the machine (clocks, power limit, heat, neighbours) before "
        "the code, and measure the base again beside the head."
    )


def _sign_test(most: int, count: int) -> float:
    """The probability of so many on one side, either one, when both are equally likely."""
    ways: int = sum(math.comb(count, number) for number in range(most, count + 1))
    return min(1.0, 2 * ways / float(2**count))
