"""Many comparisons at once: the share of false findings is bounded, not the chance of any."""

from collections.abc import Sequence


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The adjusted p values, in the order given: of those at or below q, a share of at most q is false.

    Benjamini and Hochberg 1995; holds under independence and positive dependence, which is what benchmarks of one
    machine show.
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda index: p_values[index], reverse=True)
    adjusted = [1.0] * count
    smallest = 1.0
    for position, index in enumerate(order):
        smallest = min(smallest, p_values[index] * count / (count - position))
        adjusted[index] = smallest
    return adjusted
